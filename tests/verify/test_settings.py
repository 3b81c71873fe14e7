"""The settings of the recomputation."""

from datetime import timedelta

import pytest

from kafka_access import SettingsError
from settings import Settings, load


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10 minutes", timedelta(minutes=10)),
        ("1 minute", timedelta(minutes=1)),
        ("90 seconds", timedelta(seconds=90)),
        ("1500 milliseconds", timedelta(seconds=1.5)),
        ("2 hours", timedelta(hours=2)),
        ("1 day", timedelta(days=1)),
        ("999999 days", timedelta(days=999_999)),
        ("0 seconds", timedelta()),
        ("", timedelta(minutes=10)),  # an empty variable counts as not set
    ],
)
def test_the_watermark_is_a_duration_as_spark_writes_it(
    monkeypatch: pytest.MonkeyPatch, text: str, duration: timedelta
) -> None:
    monkeypatch.setenv("WATERMARK", text)
    assert load().watermark == duration


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("WATERMARK", "10", "WATERMARK must be a duration such as '10 minutes', not '10'"),
        (
            "WATERMARK",
            "9 days ",
            "WATERMARK must be a duration such as '10 minutes', not '9 days '",
        ),
        ("WATERMARK", "-1 day", "WATERMARK must be a duration such as '10 minutes', not '-1 day'"),
        ("WATERMARK", "PT10M", "WATERMARK must be a duration such as '10 minutes', not 'PT10M'"),
        ("DEDUPLICATE_ORDERS", "maybe", "DEDUPLICATE_ORDERS must be true or false, not 'maybe'"),
        ("CLICKHOUSE_PORT", "0", "CLICKHOUSE_PORT must be a port from 1 to 65535, not '0'"),
        (
            "KAFKA_BOOTSTRAP_SERVERS",
            "kafka",
            "KAFKA_BOOTSTRAP_SERVERS must be host:port[,host:port], not 'kafka'",
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, line: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError) as raised:
        load()
    assert str(raised.value) == line


def test_the_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "do-not-show")
    settings = load()
    assert settings.clickhouse_password.get_secret_value() == "do-not-show"
    assert "do-not-show" not in f"{settings} {settings!r}"


def test_settings_can_be_given_by_name() -> None:
    settings = Settings(deduplicate_orders=True, watermark=timedelta(hours=1))
    assert (settings.deduplicate_orders, settings.watermark) == (True, timedelta(hours=1))
