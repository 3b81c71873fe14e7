"""Settings of the producer, each an environment variable in capitals and a --flag."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

import kafka_access
from kafka_access import SettingsError
from metrics_server import ServiceSettings

# Each type has a pattern or range, and a title that describes it in the error message.
Topic = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", title="a name of letters, digits and ._-")
]
Rate = Annotated[float, Field(ge=0, le=1e6, title="a number from 0 (no limit) to 1000000")]
Count = Annotated[int, Field(ge=0, title="a whole number, 0 for endless")]
Seconds = Annotated[float, Field(ge=0, le=1e9, title="a number from 0 (endless) to 1000000000")]
Seed = Annotated[int | None, Field(title="a whole number, or empty")]
Share = Annotated[float, Field(ge=0, le=1, title="a number from 0 to 1")]
Processes = Annotated[int, Field(ge=1, le=100, title="a whole number from 1 to 100")]


class Settings(ServiceSettings):
    """Send endless random purchase transactions to Kafka."""

    model_config = SettingsConfigDict(
        cli_prog_name="producer.py",
        cli_kebab_case=True,
        cli_hide_none_type=True,
    )

    raw_topic: Topic = "transactions_raw"
    """Topic to write to."""
    rate: Rate = 100
    """Records per second. 0: as fast as possible."""
    count: Count = 0
    """Number of records to send. 0: no limit."""
    duration_sec: Seconds = 0
    """Stop after this many seconds. 0: no limit."""
    seed: Seed = None
    """The same seed gives the same records, except for their times. Empty: a random seed."""
    invalid_share: Share = 0.02
    """Share of deliberately invalid records."""
    late_share: Share = 0.01
    """Share of records that are 1 to 5 minutes late."""
    processes: Processes = 1
    """Processes that share `RATE` and `COUNT`. Use more when one core cannot reach `RATE`."""


def load(arguments: Sequence[str]) -> Settings:
    """Read and check flags and environment; flags win, an empty variable counts as not set.

    Raises SettingsError; for an unknown flag or --help, SystemExit, as argparse does.
    """
    if any(each.split("=")[0] == "--kafka-sasl-password" for each in arguments):
        raise SettingsError(
            "KAFKA_SASL_PASSWORD must not be a flag, which every user of this machine can read;"
            " set the variable, or --kafka-sasl-password-file"
        )
    return kafka_access.load(Settings, _cli_parse_args=list(arguments))
