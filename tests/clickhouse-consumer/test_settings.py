"""The settings, and what main() does with a wrong one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

import consumer
from kafka_access import SettingsError
from settings import Settings, load


def test_the_defaults_fit_the_local_stack() -> None:
    assert load().model_dump(exclude_none=True) == {
        "kafka_bootstrap_servers": "localhost:9092",
        "kafka_security_protocol": "PLAINTEXT",
        "metrics_host": "127.0.0.1",
        "agg_topic": "transactions_agg",
        "consumer_group": "clickhouse-consumer",
        "max_batch_rows": 10_000,
        "flush_interval_sec": 0.1,
        "clickhouse_host": "127.0.0.1",
        "clickhouse_port": 9000,
        "clickhouse_user": "consumer",
        "clickhouse_password": SecretStr("MySecret"),
        "clickhouse_secure": False,
        "clickhouse_database": "default",
        "clickhouse_table": "aggregated_analytics",
    }


@pytest.mark.parametrize("variable", [name.upper() for name in Settings.model_fields])
def test_an_empty_variable_counts_as_not_set(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = load()
    monkeypatch.setenv(variable, "")
    assert load() == default


def test_every_setting_comes_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka-1:29092,kafka-2:29092",
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "METRICS_PORT": "9102",
        "METRICS_HOST": "0.0.0.0",
        "AGG_TOPIC": "agg.v2",
        "CONSUMER_GROUP": "other group",
        "MAX_BATCH_ROWS": "1",
        "FLUSH_INTERVAL_SEC": "2.5",
        "CLICKHOUSE_HOST": "clickhouse-server",
        "CLICKHOUSE_PORT": "19000",
        "CLICKHOUSE_USER": "u",
        "CLICKHOUSE_PASSWORD": "p",
        "CLICKHOUSE_SECURE": "True",
        "CLICKHOUSE_DATABASE": "d",
        "CLICKHOUSE_TABLE": "_t1",
        "HEALTH_FILE": str(tmp_path / "health"),
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    found = load()
    assert found.clickhouse_password.get_secret_value() == "p"
    found = found.model_copy(update={"clickhouse_password": "p"})
    values = {name.upper(): str(value) for name, value in found if value is not None}
    assert values == environment


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port[,host:port]"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2", "host:port[,host:port]"),
        ("AGG_TOPIC", "a topic", "a name of letters, digits and ._-"),
        ("MAX_BATCH_ROWS", "0", "a whole number from 1 to 1000000"),
        ("MAX_BATCH_ROWS", "1000001", "a whole number from 1 to 1000000"),
        ("MAX_BATCH_ROWS", "1.5", "a whole number from 1 to 1000000"),
        ("FLUSH_INTERVAL_SEC", "-1", "a number of seconds from 0 to 60"),
        ("FLUSH_INTERVAL_SEC", "nan", "a number of seconds from 0 to 60"),
        ("FLUSH_INTERVAL_SEC", "soon", "a number of seconds from 0 to 60"),
        ("CLICKHOUSE_PORT", "0", "a port from 1 to 65535"),
        ("CLICKHOUSE_PORT", "65536", "a port from 1 to 65535"),
        ("CLICKHOUSE_DATABASE", "1db", "a name of letters, digits and _"),
        ("CLICKHOUSE_TABLE", "t` VALUES (1) --", "a name of letters, digits and _"),
        ("CLICKHOUSE_TABLE", "täble", "a name of letters, digits and _"),
        ("CLICKHOUSE_TABLE", "t\n", "a name of letters, digits and _"),
        ("HEALTH_FILE", "/does/not/exist/health", "a file in a folder that exists"),
    ],
)
def test_a_wrong_setting_names_the_variable_and_what_is_allowed(
    variable: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value) == f"{variable} must be {allowed}, not {value!r}"


def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    result = subprocess.run(
        [sys.executable, consumer.__file__],
        env={**os.environ, "MAX_BATCH_ROWS": "many"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR MAX_BATCH_ROWS must be a whole number"
        r" from 1 to 1000000, not 'many'\n",
        result.stderr,
    )
