"""Passwords and certificates that change while everything runs."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion

from certificates import write
from ports import HOST
from secured_pipeline import SecuredPipeline
from wrong_settings import NOT_LET_IN

pytestmark = pytest.mark.services


def assert_everything_works(pipeline: SecuredPipeline) -> None:
    pipeline.stack.wait_until_healthy(240)
    with pipeline.running("producer", pipeline.login("producer")) as run:
        assert run.wait_for_end() == 0, run.log()
    pipeline.verify()


def test_a_new_password_is_read_from_its_file_after_a_refusal(pipeline: SecuredPipeline) -> None:
    """Who has logged in stays logged in; who is refused starts again and reads the file."""
    services = ("spark-job", "clickhouse-consumer")
    files = {service: pipeline.security / f"{service}.password" for service in services}
    before = {service: file.read_text() for service, file in files.items()}
    set_passwords(pipeline, dict.fromkeys(services, "new"))
    pipeline.kill_kafka()
    for service, file in files.items():
        pipeline.wait_for_log(service, NOT_LET_IN)
        file.write_text("new")
    assert_everything_works(pipeline)
    set_passwords(pipeline, before)
    for service, file in files.items():
        file.write_text(before[service])


def set_passwords(pipeline: SecuredPipeline, passwords: dict[str, str]) -> None:
    """In Kafka, for the mechanism that the services of the stack use."""
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        admin.alter_user_scram_credentials(
            [
                UserScramCredentialUpsertion(user, "SCRAM-SHA-512", password)
                for user, password in passwords.items()
            ]
        )


def test_an_expired_certificate_is_named_and_a_new_one_is_all_it_takes(
    pipeline: SecuredPipeline,
) -> None:
    authority = trustme.CA.from_pem(
        (pipeline.security / "ca.pem").read_bytes(), (pipeline.security / "ca.key").read_bytes()
    )
    yesterday = datetime.now(UTC) - timedelta(days=1)
    broker = pipeline.security / "broker"
    write(broker, authority.issue_cert("localhost", HOST, not_after=yesterday))
    pipeline.kill_kafka()
    for service in ("spark-job", "clickhouse-consumer"):
        pipeline.wait_for_log(service, "Kafka's certificate has expired")
    write(broker, authority.issue_cert("localhost", HOST))
    pipeline.kill_kafka()
    assert_everything_works(pipeline)
