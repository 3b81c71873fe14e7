"""Settings that do not fit Kafka are refused in one line, before any connection."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from kafka_access import KafkaSettings, SettingsError, load, security_options
from wrong_settings import LOGIN, WRONG, without

PROJECT = Path(__file__).resolve().parents[2]
FOLDERS = ("producer", "spark-job", "clickhouse-consumer", "verify")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that WRONG and RIGHT name, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path("ca.pem")
    for name in ("shop", "other"):
        certificate = authority.issue_cert(common_name=name)
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
        Path(f"{name}.crt").write_bytes(certificate.cert_chain_pems[0].bytes())
        Path(f"{name}.key").write_bytes(pem(key, serialization.PrivateFormat.PKCS8))
    Path("old.key").write_bytes(pem(key, serialization.PrivateFormat.TraditionalOpenSSL))
    passphrase = serialization.BestAvailableEncryption(b"x")
    Path("passphrase.key").write_bytes(pem(key, serialization.PrivateFormat.PKCS8, passphrase))
    Path("empty").write_text("")
    Path("password").write_text("two\nlines\n")


def pem(
    key: PrivateKeyTypes,
    form: serialization.PrivateFormat,
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption(),  # noqa: B008
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def settings(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> KafkaSettings:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    return load(KafkaSettings)


@pytest.mark.parametrize(("environment", "line"), WRONG)
def test_settings_that_do_not_fit_are_refused_in_one_line(
    environment: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(monkeypatch, environment)
    assert str(refused.value) == line


def test_at_least_20_wrong_settings_are_known() -> None:
    assert len({line for _, line in WRONG}) >= 20


def test_settings_that_fit_reach_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "KAFKA_SSL_CAFILE": "ca.pem",
        "KAFKA_SSL_CERTFILE": "shop.crt",
        "KAFKA_SSL_KEYFILE": "shop.key",
    }
    options = security_options(settings(monkeypatch, LOGIN | files))
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "shop",
        "sasl_plain_password": "s3cret",
        "ssl_cafile": Path("ca.pem"),
        "ssl_certfile": Path("shop.crt"),
        "ssl_keyfile": Path("shop.key"),
        "reconnect_backoff_ms": 1000,
    }


def test_a_password_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = without("KAFKA_SASL_PASSWORD") | {"KAFKA_SASL_PASSWORD_FILE": "password"}
    options = security_options(settings(monkeypatch, environment))
    assert options["sasl_plain_password"] == "two\nlines"  # without the line end of an editor


def test_what_a_service_logs_has_no_secret_and_nothing_that_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert str(settings(monkeypatch, LOGIN)) == (
        "kafka_bootstrap_servers='localhost:9092' kafka_security_protocol='SASL_SSL'"
        " kafka_sasl_mechanism='PLAIN' kafka_sasl_username='shop'"
        " kafka_sasl_password=SecretStr('**********')"
    )


@pytest.mark.parametrize("name", ["kafka_access.py", "refusals.py"])
def test_the_copies_are_equal(name: str) -> None:
    copies = [(PROJECT / folder / name).read_bytes() for folder in FOLDERS]
    assert copies == copies[:1] * len(FOLDERS)
