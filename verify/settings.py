"""Settings of the recomputation, each from the environment variable of the same name in capitals.

Those that the job or the consumer has, too, must have the same values there.
"""

import re
import reprlib
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

DURATION = re.compile(r"([0-9]{1,6}) (millisecond|second|minute|hour|day)s?", re.ASCII)


class SettingsError(ValueError):
    """A setting has a wrong value; the text is one line that names it and what is allowed."""


def to_timedelta(value: object) -> object:
    """The job's setting is a duration as Spark writes it."""
    if not isinstance(value, str):
        return value
    match = DURATION.fullmatch(value)
    if not match:
        raise ValueError("no duration")
    count, unit = match.groups()
    return timedelta(**{f"{unit}s": int(count)})


# Each type has a pattern or range, and a title that describes it in the error message.
Servers = Annotated[
    str, Field(pattern=r"^[^\s,]+:[0-9]+(,[^\s,]+:[0-9]+)*$", title="host:port[,host:port]")
]
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


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    kafka_bootstrap_servers: Servers = "localhost:9092"
    """Kafka brokers, separated by commas."""
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
    clickhouse_database: Name = "default"
    """Database of the table."""
    clickhouse_table: Name = "aggregated_analytics"
    """Table to compare with."""


def load() -> Settings:
    """Read and check the environment; an empty variable counts as not set. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(in_one_line(error)) from None


def in_one_line(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = str(problem["loc"][0])
    allowed = Settings.model_fields[name].title
    return f"{name.upper()} must be {allowed}, not {reprlib.repr(problem['input'])}"
