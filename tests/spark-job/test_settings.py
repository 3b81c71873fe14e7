"""The job's settings, from the environment."""

import reprlib
from pathlib import Path

import pytest

from kafka_access import SettingsError
from settings import Settings, load


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_settings_come_from_the_environment_and_an_empty_variable_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:29092",
        "WATERMARK": "1 hour",
        "MAX_OFFSETS_PER_TRIGGER": "1000",
        "DEDUPLICATE_ORDERS": "true",
        "HEALTH_FILE": str(tmp_path / "healthy"),
        "TRIGGER_INTERVAL": "",
        "UNRELATED": "x",
    }.items():
        monkeypatch.setenv(name, value)
    assert load().model_dump(exclude_none=True) == {
        "kafka_bootstrap_servers": "kafka:29092",
        "kafka_security_protocol": "PLAINTEXT",
        "metrics_host": "127.0.0.1",
        "raw_topic": "transactions_raw",
        "agg_topic": "transactions_agg",
        "checkpoint_location": "/tmp/checkpoints",
        "watermark": "1 hour",
        "trigger_interval": "700 milliseconds",
        "max_offsets_per_trigger": 1000,
        "deduplicate_orders": True,
        "job_group": "spark-job",
        "spark_master": "local[*]",
        "health_file": tmp_path / "healthy",
    }


def test_there_is_no_health_file_by_default() -> None:
    assert load().health_file is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WATERMARK", "ten minutes"),
        ("WATERMARK", "-1 minutes"),
        ("TRIGGER_INTERVAL", "5"),
        ("MAX_OFFSETS_PER_TRIGGER", "0"),
        ("MAX_OFFSETS_PER_TRIGGER", "many"),
        ("DEDUPLICATE_ORDERS", "maybe"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("RAW_TOPIC", "raw topic"),
        ("AGG_TOPIC", "a" * 250),
        ("SPARK_MASTER", "localhost:7077"),
        ("HEALTH_FILE", "/no/such/folder/healthy"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as raised:
        load()
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{variable} must be ")
    assert line.endswith(f", not {reprlib.repr(value)}")
