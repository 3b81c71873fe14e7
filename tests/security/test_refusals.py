"""What Kafka refuses: one line, again and again, that names the cause and the setting."""

import time
from math import ceil
from pathlib import Path

import pytest
import trustme

from certificates import write
from relay import relay
from secured_pipeline import SecuredPipeline
from wrong_settings import REFUSED

pytestmark = pytest.mark.services

LOGIN_SETTINGS = ("KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD_FILE")
OBSERVED_SEC = 10
FIRST_CONNECTIONS = 4  # until a program knows that it is refused
CONNECTIONS_PER_SEC = 0.4  # from then on
PROGRAMS = ("producer", "spark-job", "clickhouse-consumer", "verify", "topics")


@pytest.fixture
def variables(pipeline: SecuredPipeline, tmp_path: Path) -> dict[str, dict[str, str]]:
    """The variables of each case of REFUSED."""
    other = trustme.CA()
    other.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    write(tmp_path / "producer", other.issue_cert("producer", common_name="producer"))
    (tmp_path / "password").write_text("wrong")
    login = pipeline.login("producer")
    no_login = dict.fromkeys(LOGIN_SETTINGS, "")
    wrong = {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password")}
    ca = {"KAFKA_SSL_CAFILE": str(tmp_path / "ca.pem")}
    own = {
        "KAFKA_SSL_CERTFILE": str(tmp_path / "producer.crt"),
        "KAFKA_SSL_KEYFILE": str(tmp_path / "producer.key"),
    }
    no_tls = {"KAFKA_SSL_CAFILE": ""}
    plain = {"KAFKA_BOOTSTRAP_SERVERS": pipeline.bootstrap_servers}
    ssl = {"KAFKA_BOOTSTRAP_SERVERS": pipeline.tls()["KAFKA_BOOTSTRAP_SERVERS"]}
    changes = {
        "wrong password, SCRAM": wrong,
        "wrong password, PLAIN": {**wrong, "KAFKA_SASL_MECHANISM": "PLAIN"},
        "unknown user": {"KAFKA_SASL_USERNAME": "nobody"},
        "certificate of another authority": ca,
        "certificate of an authority that the system does not know": no_tls,
        "client certificate of another authority": pipeline.tls(**own, **no_login),
        "PLAINTEXT at a TLS port": {**no_login, **no_tls, "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"},
        "SASL_PLAINTEXT at a TLS port": {**no_tls, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
        "SSL at a port without TLS": {**no_login, **plain, "KAFKA_SECURITY_PROTOCOL": "SSL"},
        "SASL_SSL at a port without TLS": plain,
        "SSL at a port where users log in": {**no_login, "KAFKA_SECURITY_PROTOCOL": "SSL"},
        "SASL_SSL at a port without logins": ssl,
    }
    return {case: {**login, **each} for case, each in changes.items()}


@pytest.mark.parametrize(("case", "cause"), REFUSED.items())
def test_the_cause_is_named(
    pipeline: SecuredPipeline, variables: dict[str, dict[str, str]], case: str, cause: str
) -> None:
    with pipeline.running("producer", variables[case]) as run:
        line = run.wait_for(cause, deadline_sec=60)
        assert "Traceback" not in run.log()
    assert len(line) < 300


def test_a_certificate_of_another_host_is_named(pipeline: SecuredPipeline) -> None:
    with relay(pipeline.stack.kafka_sasl_port, host="127.0.0.2") as elsewhere:
        settings = {**pipeline.login("producer"), "KAFKA_BOOTSTRAP_SERVERS": elsewhere.address}
        with pipeline.running("producer", settings) as run:
            run.wait_for("certificate is not for a host of KAFKA_BOOTSTRAP_SERVERS")
            assert "Traceback" not in run.log()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_password_is_named_and_tried_every_few_seconds_only(
    pipeline: SecuredPipeline, variables: dict[str, dict[str, str]], program: str
) -> None:
    case = "wrong password, SCRAM"
    with relay(pipeline.stack.kafka_sasl_port) as counted:
        settings = {**variables[case], "KAFKA_BOOTSTRAP_SERVERS": counted.address}
        started_at = time.monotonic()
        with pipeline.running(program, settings) as run:
            run.wait_for(REFUSED[case])
            named_at, before = time.monotonic(), counted.connections
            time.sleep(OBSERVED_SEC)
            since, elapsed_sec = counted.connections - before, time.monotonic() - named_at
            # The line may be seen late, so more may have been tried before.
            first = FIRST_CONNECTIONS + CONNECTIONS_PER_SEC * (named_at - started_at)
            assert before <= first and since <= ceil(CONNECTIONS_PER_SEC * elapsed_sec)
            assert "Traceback" not in run.log()
