"""The one line that a failure is reported with."""

from pathlib import Path

import pytest
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.errors import AnalysisException, PySparkRuntimeError, StreamingQueryException

from advice import advice, first_line, is_failure_of_kafka
from known_topics import DamagedCheckpoint
from settings import Settings

START_OVER = (
    "delete /data/checkpoints, or set CHECKPOINT_LOCATION to a new folder;"
    " the job then starts over from the earliest offset"
)


class JavaError(Py4JJavaError):  # type: ignore[misc]
    """An error of Java with its text; a real one asks the JVM for it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA] Streaming stateful...",
            "the checkpoint /data/checkpoints was written by another version of this query:"
            f" {START_OVER}. If fewer records count now, rebuild the table, too"
            " (docs/production.md)",
        ),
        (
            "[STREAM_FAILED] Query terminated: [STATE_STORE_KEY_SCHEMA_NOT_COMPATIBLE] Provided...",
            "the checkpoint /data/checkpoints was written by another version of this query:"
            f" {START_OVER}. If fewer records count now, rebuild the table, too"
            " (docs/production.md)",
        ),
        (
            "[STREAM_FAILED] Query terminated: [CANNOT_LOAD_STATE_STORE.UNCATEGORIZED] An error...",
            "the state in the checkpoint /data/checkpoints cannot be read;"
            f" if it is damaged, {START_OVER}",
        ),
        (
            "[STREAM_FAILED] Query terminated with exception: Some data may have been lost because"
            " they are not available in Kafka any more;\neither the data was aged out by Kafka...",
            "Kafka has deleted records of raw that this job had not read;"
            f" to go on without them, {START_OVER}",
        ),
        (
            "[STREAM_FAILED] Query terminated with exception: Some data may have been lost because"
            " they are not available in Kafka any more;\neither...\nReason:\n"
            "Partition raw-2 offset was changed from 17 to 9.\nThis could be either...",
            "Kafka has lost records that this job had already counted: raw-2 now ends at offset 9,"
            f" and the job had read up to 17. To count all that Kafka still has, {START_OVER};"
            " windows that had counted the lost records keep them (docs/production.md)",
        ),
        (
            "[STREAM_FAILED] Query terminated with exception: Checksum error:"
            " file:/data/checkpoints/offsets/57 at 1024 exp: 1082229673 got: -5161528 SQLSTATE: X",
            f"the checkpoint is damaged (file:/data/checkpoints/offsets/57): {START_OVER}",
        ),
        (
            "[STREAM_FAILED] Query terminated: Task failed\n\tat Executor.run",
            "the query failed: [STREAM_FAILED] Query terminated: Task failed",
        ),
    ],
    ids=["operators", "schema", "state", "deleted", "lost", "damaged", "other"],
)
def test_each_failure_of_the_query_has_its_advice(text: str, line: str) -> None:
    settings = Settings(checkpoint_location="/data/checkpoints", raw_topic="raw")
    assert advice(StreamingQueryException(text), settings) == line


def test_a_checkpoint_with_an_empty_file_needs_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "0" / "1" / "_metadata"
    folder.mkdir(parents=True)
    schema = folder / "schema"
    schema.write_text("content")
    (folder / ".schema.crc").touch()  # Spark does without
    failure = StreamingQueryException("[STREAM_FAILED] Query terminated with exception:  SQLSTATE")
    for location in (str(tmp_path), f"file://{tmp_path}"):
        schema.write_text("content")
        settings = Settings(checkpoint_location=location)
        assert advice(failure, settings).startswith("the query failed: [STREAM_FAILED]")
        schema.write_text("")
        assert advice(failure, settings) == (
            f"the checkpoint is damaged, as by a power failure: {schema} is empty; delete"
            f" {location}, or set CHECKPOINT_LOCATION to a new folder; the job then starts over"
            " from the earliest offset"
        )
    elsewhere = Settings(checkpoint_location=f"hdfs://namenode{tmp_path}")
    assert advice(failure, elsewhere).startswith("the query failed")


def test_a_file_of_the_job_that_is_damaged_is_named() -> None:
    settings = Settings(checkpoint_location="hdfs://namenode/checkpoints")
    error = DamagedCheckpoint("hdfs://namenode/checkpoints/counted.json")
    assert advice(error, settings).startswith(
        "the checkpoint is damaged (hdfs://namenode/checkpoints/counted.json): delete hdfs:"
    )


def test_a_full_disk_is_named() -> None:
    settings = Settings(checkpoint_location="/data/checkpoints")
    error = StreamingQueryException("[STREAM_FAILED] Query: [CANNOT_WRITE_STATE_STORE] Error...")
    no_space = "Caused by: java.io.IOException: No space left on device"
    error._stackTrace = f"{no_space}\n\tat CheckpointFileManager$RenameBased.close"
    assert advice(error, settings) == (
        "no space left on the disk of the checkpoint /data/checkpoints:"
        " make room; the job then continues by itself"
    )
    error._stackTrace = f"{no_space}\n\tat DiskBlockManager.getFile"
    assert advice(error, settings) == (
        "no space left on the disk of Spark's temporary files"
        " (SPARK_LOCAL_DIRS, and the worker's folder): make room; the job then continues by itself"
    )


def test_a_java_that_does_not_start_has_said_why() -> None:
    error = PySparkRuntimeError("[JAVA_GATEWAY_EXITED] Java gateway process exited before...")
    assert advice(error, Settings(), "cannot start a Spark session") == (
        "cannot start a Spark session: Java did not start; the lines above are its own, and say why"
    )


@pytest.mark.parametrize(
    "error", [Py4JNetworkError("empty"), Py4JError(), ConnectionRefusedError()]
)
def test_no_answer_from_java_means_that_the_jvm_has_exited(error: Exception) -> None:
    assert advice(error, Settings()) == "the Spark driver's JVM has exited; restart the job"


def test_an_error_of_java_is_not_taken_for_the_end_of_the_jvm() -> None:
    error = JavaError(
        "An error occurred while calling o1.start.\n: java.io.IOException: /x\n\tat y"
    )
    assert advice(error, Settings()) == "the query failed: java.io.IOException: /x"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            JavaError("An error occurred\n: java.io.IOException: no space"),
            "java.io.IOException: no space",
        ),
        (JavaError("An error occurred"), "An error occurred"),
        (AnalysisException("[NO_SUCH] first\nsecond"), "[NO_SUCH] first"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_first_line_says_what_went_wrong(error: Exception, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("error", "of_kafka"),
    [
        (StreamingQueryException("x\norg.apache.kafka.common.errors.TimeoutException: y"), True),
        (StreamingQueryException("[STREAM_FAILED] Query terminated"), False),
        (AnalysisException("org.apache.kafka.common.errors.TimeoutException"), False),
    ],
)
def test_only_a_running_query_can_fail_because_of_kafka(error: Exception, of_kafka: bool) -> None:
    assert is_failure_of_kafka(error) is of_kafka


def test_a_damaged_batch_of_records_is_no_failure_that_ends_by_itself() -> None:
    error = StreamingQueryException(
        "[STREAM_FAILED] Query terminated with exception: Job aborted: Task 0 failed:"
        " org.apache.kafka.common.KafkaException: Received exception when fetching the next record"
        " from raw-0. If needed, please seek past the record to continue consumption.\n\tat x"
    )
    assert not is_failure_of_kafka(error)
    assert advice(error, Settings()) == (
        "Kafka has a damaged batch of records in raw-0, which nobody can read; to go on without it,"
        " cut it out (docs/troubleshooting.md)"
    )
