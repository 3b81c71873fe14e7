"""Settings of the job, each from the environment variable of the same name in capitals."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

import kafka_access
from metrics_server import ServiceSettings


def in_existing_folder(path: Path | None) -> Path | None:
    if path and not path.parent.is_dir():
        raise ValueError("no such folder")
    return path


# Each type has a pattern or range, and a title that describes it in the error message.
Topic = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", title="a name of letters, digits and ._-")
]
Group = Annotated[str, Field(min_length=1, title="a name")]
Duration = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,6} (millisecond|second|minute|hour|day)s?$",
        title="a duration such as '10 minutes'",
    ),
]
Records = Annotated[int, Field(ge=1, lt=10**18, title="a whole number above 0")]
Flag = Annotated[bool, Field(title="true or false")]
Master = Annotated[
    str,
    Field(
        pattern=r"^(local(\[(\*|[1-9][0-9]*)\])?|yarn|(spark|k8s)://.+)$",
        title="spark://host:port or local[*]",
    ),
]
HealthFile = Annotated[
    Path | None,
    AfterValidator(in_existing_folder),
    Field(title="a file in a folder that exists"),
]


class Settings(ServiceSettings):
    raw_topic: Topic = "transactions_raw"
    """Topic to read."""
    agg_topic: Topic = "transactions_agg"
    """Topic to write to."""
    checkpoint_location: str = "/tmp/checkpoints"
    """Folder for offsets and window state. The driver and all executors must share it. A local
    folder, unless it names a file system (`hdfs://...`), whatever `HADOOP_CONF_DIR` says."""
    watermark: Duration = "10 minutes"
    """How late a record may be and still count. Changing it requires a new checkpoint; after
    shortening it, also [rebuild the table](production.md#rebuild-the-table)."""
    trigger_interval: Duration = "700 milliseconds"
    """Time from the start of a micro-batch to the start of the next one. A batch that takes longer
    delays the next one. `0 seconds`: no pause between batches."""
    max_offsets_per_trigger: Records = 500_000
    """Maximum number of records per micro-batch."""
    deduplicate_orders: Flag = False
    """Count each `order_id` only once. A repeat within `WATERMARK` plus 10 minutes never counts; a
    later one may (`make verify` expects every repeat to be dropped). Changing it requires a new
    checkpoint; after enabling it, also [rebuild the table](production.md#rebuild-the-table)."""
    job_group: Group = "spark-job"
    """Consumer group under which Kafka's tools show the lag of the job. For display only: the
    checkpoint decides where the job continues."""
    spark_master: Master = "local[*]"
    """Spark master to run on."""
    health_file: HealthFile = None
    """Touched every second while the query runs and has an executor."""


def load() -> Settings:
    """Read and check the environment. Raises SettingsError."""
    return kafka_access.load(Settings)
