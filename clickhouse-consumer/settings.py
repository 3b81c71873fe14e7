"""What the consumer can be told: docs/settings.md says what each setting is for."""

import re
import reprlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


class ConfigError(ValueError):
    """A setting has a value that is not allowed; the text names the variable and what is."""


def matching(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.ASCII).fullmatch


NAME = (matching(r"[A-Za-z_]\w*"), "a name of letters, digits and _")
ALLOWED: dict[str, tuple[Callable[[Any], object], str]] = {
    "kafka_bootstrap_servers": (matching(r"[^\s,]+:\d+(,[^\s,]+:\d+)*"), "host:port[,host:port]"),
    "agg_topic": (matching(r"[\w.-]{1,249}"), "a name of letters, digits and ._-"),
    "max_batch_rows": (lambda rows: 1 <= rows <= 1_000_000, "a whole number from 1 to 1000000"),
    "flush_interval_sec": (lambda sec: 0 <= sec <= 60, "a number of seconds from 0 to 60"),
    "clickhouse_port": (lambda port: 1 <= port <= 65535, "a port from 1 to 65535"),
    "clickhouse_database": NAME,
    "clickhouse_table": NAME,
    "health_file": (lambda path: Path(path).parent.is_dir(), "a file in a folder that exists"),
}


@dataclass(frozen=True)
class Config:
    """Settings, each from the environment variable of the same name in capitals."""

    kafka_bootstrap_servers: str = "localhost:9092"
    agg_topic: str = "transactions_agg"
    consumer_group: str = "clickhouse-consumer"
    max_batch_rows: int = 10_000
    flush_interval_sec: float = 0.1
    clickhouse_host: str = "localhost"
    clickhouse_port: int = 9000
    clickhouse_user: str = "consumer"
    clickhouse_password: str = field(default="MySecret", repr=False)
    clickhouse_database: str = "default"
    clickhouse_table: str = "aggregated_analytics"
    health_file: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read and check all settings; an empty variable counts as not set. Raises ConfigError."""
        given = {
            name: checked(name, env[name.upper()], default)
            for name, default in vars(cls()).items()
            if env.get(name.upper())
        }
        return cls(**given)


def checked(name: str, text: str, default: Any) -> Any:
    is_allowed, allowed = ALLOWED.get(name, (bool, "any text"))
    with suppress(ValueError):
        value = type(default)(text)
        if is_allowed(value):
            return value
    raise ConfigError(f"{name.upper()} must be {allowed}, not {reprlib.repr(text)}")
