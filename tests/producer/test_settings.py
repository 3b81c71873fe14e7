"""The settings, as environment variables and as flags."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import producer
from kafka_access import SettingsError
from settings import Settings, load

TEXTS = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:29092,other:9092",
    "RAW_TOPIC": "sales.raw_2-x",
    "RATE": "0.5",
    "COUNT": "10",
    "DURATION_SEC": "1.5",
    "SEED": "42",
    "INVALID_SHARE": "1",
    "LATE_SHARE": "0",
    "PROCESSES": "4",
    "METRICS_PORT": "9100",
    "METRICS_HOST": "0.0.0.0",
}
VALUES = Settings(
    kafka_bootstrap_servers="kafka:29092,other:9092",
    raw_topic="sales.raw_2-x",
    rate=0.5,
    count=10,
    duration_sec=1.5,
    seed=42,
    invalid_share=1.0,
    late_share=0.0,
    processes=4,
    metrics_port=9100,
    metrics_host="0.0.0.0",
)


def flag(name: str) -> str:
    return "--" + name.lower().replace("_", "-")


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)


def test_defaults_are_those_of_the_local_stack() -> None:
    assert load([]) == Settings(
        kafka_bootstrap_servers="localhost:9092",
        raw_topic="transactions_raw",
        rate=100.0,
        count=0,
        duration_sec=0.0,
        seed=None,
        invalid_share=0.02,
        late_share=0.01,
        processes=1,
    )


def test_every_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, TEXTS)
    assert load([]) == VALUES


def test_every_setting_is_a_flag_that_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_environment(monkeypatch, dict.fromkeys(TEXTS, "not even valid"))
    assert load([word for name, text in TEXTS.items() for word in (flag(name), text)]) == VALUES
    assert load([f"{flag(name)}={text}" for name, text in TEXTS.items()]) == VALUES


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    default = load([])
    set_environment(monkeypatch, dict.fromkeys(TEXTS, ""))
    assert load([]) == default


WRONG = [
    ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port[,host:port]"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2", "host:port[,host:port]"),
    ("RAW_TOPIC", "a/b", "a name of letters, digits and ._-"),
    ("RATE", "-1", "a number from 0 (no limit) to 1000000"),
    ("RATE", "1000001", "a number from 0 (no limit) to 1000000"),
    ("RATE", "nan", "a number from 0 (no limit) to 1000000"),
    ("RATE", "fast", "a number from 0 (no limit) to 1000000"),
    ("COUNT", "-1", "a whole number, 0 for endless"),
    ("COUNT", "1.5", "a whole number, 0 for endless"),
    ("DURATION_SEC", "-1", "a number from 0 (endless) to 1000000000"),
    ("DURATION_SEC", "inf", "a number from 0 (endless) to 1000000000"),
    ("SEED", "x", "a whole number, or empty"),
    ("INVALID_SHARE", "1.01", "a number from 0 to 1"),
    ("LATE_SHARE", "-0.01", "a number from 0 to 1"),
    ("PROCESSES", "0", "a whole number from 1 to 100"),
    ("PROCESSES", "101", "a whole number from 1 to 100"),
    ("PROCESSES", "2.5", "a whole number from 1 to 100"),
]


@pytest.mark.parametrize(("name", "text", "allowed"), WRONG)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    name: str, text: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = f"^{re.escape(f'{name} must be {allowed}, not {text!r}')}$"
    with pytest.raises(SettingsError, match=message):
        load([f"{flag(name)}={text}"])
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=message):
        load([])


def start(*flags: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, producer.__file__, *flags]
    env = {**os.environ, "TZ": "TOKYO-9"}  # logs are in UTC wherever the machine is
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_a_wrong_setting_is_one_line_on_stderr_and_exit_code_2() -> None:
    result = start("--rate", "fast")
    time_logged, rest = result.stderr.split(" ", maxsplit=1)
    assert result.returncode == 2
    assert result.stdout == ""
    assert rest == "ERROR RATE must be a number from 0 (no limit) to 1000000, not 'fast'\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time_logged)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(time_logged)) < timedelta(minutes=5)


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        load(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert [name for name in TEXTS if f"\n  {flag(name)}" not in text] == []


def test_an_unknown_flag_is_refused_with_exit_code_2() -> None:
    with pytest.raises(SystemExit) as exit_:
        load(["--speed", "5"])
    assert exit_.value.code == 2


@pytest.mark.parametrize(
    "flags", [["--kafka-sasl-password", "s3cret"], ["--kafka-sasl-password=s3cret"]]
)
def test_a_password_is_no_flag_because_every_user_sees_flags(flags: list[str]) -> None:
    with pytest.raises(SettingsError, match="^KAFKA_SASL_PASSWORD must not be a flag") as refused:
        load(flags)
    assert "s3cret" not in str(refused.value)


def test_the_help_offers_a_file_for_the_password(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(["--help"])
    flags = capsys.readouterr().out.split()
    assert "--kafka-sasl-password-file" in flags
    assert "--kafka-sasl-password" not in flags
