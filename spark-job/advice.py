"""What a failure means for the person who reads the log: one line each."""

import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException, StreamingQueryException

from counted import ENDS_EARLY, RecordsLost
from health import ClockSetBack, NoExecutor
from known_topics import DamagedCheckpoint, TopicReplaced
from refusals import Refused
from settings import Settings

FAILURES = (
    *(PySparkException, Py4JError, ConnectionError, NoExecutor, ClockSetBack),
    *(TopicReplaced, DamagedCheckpoint, RecordsLost, Refused),
)
JVM_EXITED = "the Spark driver's JVM has exited; restart the job"
NO_EXECUTOR = (
    "this job has no Spark executor. Is the Spark master running, and a worker that has enough"
    " free memory and a writable folder? Their logs say more (docs/troubleshooting.md)"
)

NO_SPACE = "No space left on device"
WORK_FILES = "Spark's temporary files (SPARK_LOCAL_DIRS, and the worker's folder)"
# The classes that write to the checkpoint.
CHECKPOINT_WRITERS = re.compile("CheckpointFileManager|HDFSBackedStateStore")
# What Kafka's client says of a batch of records whose checksum is wrong.
DAMAGED_BATCH = re.compile(
    r"(?:Received exception when fetching the next record from"
    r"|Encountered corrupt message when fetching offset [0-9]+ for topic-partition) (\S+[0-9])"
)
DAMAGED_FILE = re.compile(r"Checksum error: (\S+)")  # what Hadoop says of a file of the checkpoint
LOST_OFFSETS = re.compile(r"Partition (\S+) offset was changed from ([0-9]+) to ([0-9]+)")


def is_failure_of_kafka(error: Exception) -> bool:
    """Whether the query has failed because of Kafka, so that it can go on once Kafka answers."""
    text = str(error)
    return (
        isinstance(error, StreamingQueryException)
        and "org.apache.kafka.common." in text
        and not DAMAGED_BATCH.search(text)
    )


def misses_records(error: Exception) -> bool:
    """Whether Kafka does not have the records that Spark wants to read."""
    return "data may have been lost because they are not available in Kafka" in str(error)


def advice(error: Exception, settings: Settings, failure: str = "the query failed") -> str:
    """One line on why the job ends, and what to do where a person has to act.

    `error` is one of FAILURES; `failure` says what it has ended, where the error alone has to do.
    """
    if isinstance(error, Py4JError | ConnectionError) and not isinstance(error, Py4JJavaError):
        return JVM_EXITED
    if isinstance(error, Refused | ClockSetBack):
        return str(error)
    text, checkpoint = str(error), settings.checkpoint_location
    start_over = (
        f"delete {checkpoint}, or set CHECKPOINT_LOCATION to a new folder; the job then starts over"
        " from the earliest offset"
    )
    if isinstance(error, TopicReplaced):
        return (
            f"topic {settings.raw_topic} was deleted and created again; its totals so far stay in"
            f" the table. To count the new topic, {start_over} (docs/troubleshooting.md)"
        )
    if NO_SPACE in (trace := java_trace(error)):
        full = f"the checkpoint {checkpoint}" if CHECKPOINT_WRITERS.search(trace) else WORK_FILES
        return f"no space left on the disk of {full}: make room; the job then continues by itself"
    if isinstance(error, NoExecutor) or "stopped SparkContext" in text:
        return f"{failure}: {NO_EXECUTOR}"
    if match := DAMAGED_BATCH.search(text):
        return (
            f"Kafka has a damaged batch of records in {match[1]}, which nobody can read; to go on"
            " without it, cut it out (docs/troubleshooting.md)"
        )
    if (match := DAMAGED_FILE.search(text)) or isinstance(error, DamagedCheckpoint):
        return f"the checkpoint is damaged ({match[1] if match else text}): {start_over}"
    if match := LOST_OFFSETS.search(text):
        partition, read, end = match.groups()
        text = ENDS_EARLY.format(partition, end, read)
    if match or isinstance(error, RecordsLost):
        return (
            f"Kafka has lost records that this job had already counted: {text}."
            f" To count all that Kafka still has, {start_over}; windows that had counted the lost"
            " records keep them (docs/production.md)"
        )
    if misses_records(error):
        return (
            f"Kafka has deleted records of {settings.raw_topic} that this job had not read;"
            f" to go on without them, {start_over}"
        )
    if re.search(r"\[(STATE_STORE_\w*SCHEMA|STREAMING_STATEFUL_OPERATOR)\w*", text):
        return (
            f"the checkpoint {checkpoint} was written by another version of this query:"
            f" {start_over}. If fewer records count now, rebuild the table, too"
            " (docs/production.md)"
        )
    if "[JAVA_GATEWAY_EXITED]" in text:
        return f"{failure}: Java did not start; the lines above are its own, and say why"
    if "[CANNOT_LOAD_STATE_STORE" in text:
        return (
            f"the state in the checkpoint {checkpoint} cannot be read; if it is damaged,"
            f" {start_over}"
        )
    # Spark's own text may be empty, too.
    if file := empty_file(checkpoint):
        return f"the checkpoint is damaged, as by a power failure: {file} is empty; {start_over}"
    return f"{failure}: {first_line(error)}"


def empty_file(checkpoint: str) -> Path | None:
    """A file of a local checkpoint that has lost its content; none of Spark's files is empty."""
    url = urlsplit(checkpoint)
    if url.scheme not in ("", "file"):
        return None
    files = Path(url.path).rglob("[!.]*")  # not those that are being written
    with suppress(FileNotFoundError):  # an executor may still delete some
        return next((file for file in files if file.is_file() and not file.stat().st_size), None)
    return None


def java_trace(error: Exception) -> str:
    """The error's text with that of its causes, which only an error of Java has."""
    return f"{error}\n{getattr(error, '_stackTrace', '')}"


def first_line(error: Exception) -> str:
    """The first line of the error's text that says what went wrong."""
    lines = str(error).splitlines() or [type(error).__name__]
    # Py4J's own first line only says that a call has failed.
    return lines[1 if isinstance(error, Py4JJavaError) and len(lines) > 1 else 0].lstrip(": ")
