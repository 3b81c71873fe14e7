"""Settings of the recomputation, each from the environment variable of the same name in capitals.

Those that the job or the consumer has, too, must have the same values there.
"""

import re
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

import kafka_access
from kafka_access import KafkaSettings, ReadableFile, check_certificates

DURATION = re.compile(r"([0-9]{1,6}) (millisecond|second|minute|hour|day)s?", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """A duration as Spark writes it. Raises ValueError."""
    match = DURATION.fullmatch(text)
    if not match:
        raise ValueError("no duration")
    count, unit = match.groups()
    return timedelta(**{f"{unit}s": int(count)})


def to_timedelta(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


# Each type has a pattern or range, and a title that describes it in the error message.
Topic = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", title="a name of letters, digits and ._-")
]
Name = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", title="a name of letters, digits and _")
]
Port = Annotated[int, Field(ge=1, le=65535, title="a port from 1 to 65535")]
Duration = Annotated[
    timedelta, BeforeValidator(to_timedelta), Field(title="a duration such as '10 minutes'")
]
Flag = Annotated[bool, Field(title="true or false")]


class Settings(KafkaSettings):
    raw_topic: Topic = "transactions_raw"
    """Topic to recompute the windows from."""
    watermark: Duration = timedelta(minutes=10)
    """How late a record may be and still count. Must match the job."""
    deduplicate_orders: Flag = False
    """Count each `order_id` only once. Must match the job."""
    clickhouse_host: str = "127.0.0.1"
    """Host of the ClickHouse server."""
    clickhouse_port: Port = 9000
    """Port of its native protocol."""
    clickhouse_user: str = "consumer"
    """User with the right to read the table."""
    clickhouse_password: SecretStr = SecretStr("MySecret")
    """Password of that user, never logged."""
    clickhouse_password_file: ReadableFile = None
    """File with that password, instead."""
    clickhouse_secure: Flag = False
    """Encrypt the connection (TLS). The server's port for that is usually 9440."""
    clickhouse_cafile: ReadableFile = None
    """Authorities (PEM) that may have signed the server's certificate. Empty: those of the
    system."""
    clickhouse_database: Name = "default"
    """Database of the table."""
    clickhouse_table: Name = "aggregated_analytics"
    """Table to compare with."""

    @model_validator(mode="after")
    def check_clickhouse(self) -> Self:
        if self.clickhouse_cafile and not self.clickhouse_secure:
            raise ValueError("CLICKHOUSE_CAFILE requires CLICKHOUSE_SECURE=true")
        check_certificates("CLICKHOUSE", self.clickhouse_cafile)
        return self


def load() -> Settings:
    """Read and check the environment. Raises SettingsError."""
    return kafka_access.load(Settings)
