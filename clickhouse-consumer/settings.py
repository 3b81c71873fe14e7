"""Settings of the consumer, each from the environment variable of the same name in capitals."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

import kafka_access
from kafka_access import ReadableFile, check_certificates
from metrics_server import ServiceSettings


def in_existing_folder(path: Path | None) -> Path | None:
    if path and not path.parent.is_dir():
        raise ValueError("no such folder")
    return path


# Each type has a pattern or range, and a title that describes it in the error message.
Topic = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", title="a name of letters, digits and ._-")
]
Name = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", title="a name of letters, digits and _")
]
Port = Annotated[int, Field(ge=1, le=65535, title="a port from 1 to 65535")]
Rows = Annotated[int, Field(ge=1, le=1_000_000, title="a whole number from 1 to 1000000")]
Seconds = Annotated[float, Field(ge=0, le=60, title="a number of seconds from 0 to 60")]
Flag = Annotated[bool, Field(title="true or false")]
HealthFile = Annotated[
    Path | None,
    AfterValidator(in_existing_folder),
    Field(title="a file in a folder that exists"),
]


class Settings(ServiceSettings):
    agg_topic: Topic = "transactions_agg"
    """Topic to read."""
    consumer_group: str = "clickhouse-consumer"
    """Consumers in the same group share the partitions."""
    max_batch_rows: Rows = 10_000
    """Maximum number of rows per insert."""
    flush_interval_sec: Seconds = 0.1
    """Maximum time that the first row of a batch waits for more rows."""
    clickhouse_host: str = "127.0.0.1"
    """Host of the ClickHouse server."""
    clickhouse_port: Port = 9000
    """Port of its native protocol."""
    clickhouse_user: str = "consumer"
    """User with the right to insert into the table."""
    clickhouse_password: SecretStr = SecretStr("MySecret")
    """Password of that user, never logged. In Docker, set `CONSUMER_PASSWORD` instead."""
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
    """Table to insert into."""
    health_file: HealthFile = None
    """Touched about every second, except while ClickHouse does not accept rows."""

    @model_validator(mode="after")
    def check_clickhouse(self) -> Self:
        if self.clickhouse_cafile and not self.clickhouse_secure:
            raise ValueError("CLICKHOUSE_CAFILE requires CLICKHOUSE_SECURE=true")
        check_certificates("CLICKHOUSE", self.clickhouse_cafile)
        return self


def load() -> Settings:
    """Read and check the environment. Raises SettingsError."""
    return kafka_access.load(Settings)
