"""Each way to secure Kafka, for each program: what the table in docs/security.md claims."""

import os
import re
import signal
from pathlib import Path

import pytest

from secured_pipeline import PROGRAMS, SecuredPipeline
from waiting import eventually

pytestmark = pytest.mark.services

COMBINATIONS = (
    "PLAINTEXT",
    "SSL",
    "mutual TLS",
    "SASL_SSL, PLAIN",
    "SASL_SSL, SCRAM-SHA-256",
    "SASL_SSL, SCRAM-SHA-512",
)


def variables(pipeline: SecuredPipeline, combination: str, user: str) -> dict[str, str]:
    if combination == "PLAINTEXT":
        return {}
    if combination == "SSL":
        return pipeline.tls()
    if combination == "mutual TLS":
        return pipeline.certificate(user)
    mechanism = combination.removeprefix("SASL_SSL, ")
    return {**pipeline.login(user), "KAFKA_SASL_MECHANISM": mechanism}


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_program_connects(
    pipeline: SecuredPipeline, combination: str, tmp_path: Path
) -> None:
    """Beside the services of the stack: the table does not mind a job that counts the same."""
    health_file, checkpoint = tmp_path / "healthy", tmp_path / "checkpoint"
    settings = {user: variables(pipeline, combination, user) for user in PROGRAMS}
    with (
        pipeline.running(
            "clickhouse-consumer", settings["clickhouse-consumer"], HEALTH_FILE=str(health_file)
        ) as consumer,
        pipeline.running(
            "spark-job", settings["spark-job"], CHECKPOINT_LOCATION=str(checkpoint)
        ) as job,
    ):
        for program in ("topics", "producer", "verify"):
            with pipeline.running(program, settings[program]) as run:
                assert run.wait_for_end() == 0, run.log()
        eventually(health_file.exists, "the consumer is in its group")
        eventually((checkpoint / "commits" / "0").exists, "the job has committed a batch")
        for service in (consumer, job):
            service.process.terminate()
            assert service.wait_for_end() == 0, service.log()


def test_the_login_of_verify_lists_the_rejected_records(pipeline: SecuredPipeline) -> None:
    pipeline.send("transactions_raw", [b"{"])
    shown = pipeline.rejected(**pipeline.login("verify"), MAX=1)
    assert re.fullmatch(r"malformed +partition \d offset \d+ \S+ {\n", shown.stdout)


def test_the_numbers_are_exact_after_each_service_was_killed(pipeline: SecuredPipeline) -> None:
    settings = pipeline.login("producer")
    for service in ("kafka", "spark-job", "clickhouse-consumer"):
        with pipeline.running("producer", settings, COUNT="500", RATE="100") as run:
            os.kill(pipeline.pid(service), signal.SIGKILL)
            assert run.wait_for_end() == 0, run.log()
    with pipeline.running("verify", pipeline.login("verify")) as run:
        assert run.wait_for_end() == 0, run.log()
