"""More crashes at chosen moments, and consumers without protection, which `verify` must catch."""

import re
import shutil
from pathlib import Path

import pytest

from crashing import let_consumer_die, start_patched_consumer
from lag import (
    checkpoint,
    consumer_lag,
    source_ends,
    stop_job_between_batches,
    wait_for_consumer,
)
from pipeline import DEADLINE_SEC, Pipeline
from waiting import eventually

pytestmark = pytest.mark.services

COMMIT_FIRST = """
def commit_first(self):
    self.commit()
    die()

patch("loader.Loader.flush", if_rows(commit_first)).start()
"""
AUTO_COMMIT = """
import topic
KafkaConsumer = topic.KafkaConsumer

def with_auto_commit(*names, **settings):
    changes = {"enable_auto_commit": True, "auto_commit_interval_ms": 100}
    return KafkaConsumer(*names, **{**settings, **changes})

patch("topic.KafkaConsumer", with_auto_commit).start()
patch("loader.Loader.flush", if_rows(die)).start()
"""


@pytest.mark.parametrize("patch", [COMMIT_FIRST, AUTO_COMMIT], ids=["commit-first", "auto-commit"])
def test_rows_lost_by_a_consumer_without_protection_are_found_and_restored_by_a_new_job(
    pipeline: Pipeline, patch: str
) -> None:
    let_consumer_die(pipeline, patch, FLUSH_INTERVAL_SEC="5")
    assert consumer_lag(pipeline) == 0
    pipeline.stack.start("clickhouse-consumer")
    assert re.search(r"(missing|wrong) +\d{4}-", pipeline.differences())
    # The raw topic still has every record: a job that starts over restores the table.
    pipeline.stack.stop("spark-job")
    shutil.rmtree(checkpoint(pipeline))
    pipeline.stack.start("spark-job")
    pipeline.verify()


KILL_CLICKHOUSE_MID_INSERT = """
def kill(self):
    os.kill({pid}, signal.SIGKILL)
    raise EOFError("the answer never came")

def kill_during_first(self):
    flushing.stop()
    with patch("clickhouse_driver.Client.receive_end_of_insert_query", kill):
        self.flush()

flushing = patch("loader.Loader.flush", if_rows(kill_during_first))
flushing.start()
"""


def test_an_insert_whose_acknowledgement_was_lost_is_repeated(pipeline: Pipeline) -> None:
    wait_for_consumer(pipeline)
    pipeline.stack.stop("clickhouse-consumer")
    pipeline.produce(2000)
    patch = KILL_CLICKHOUSE_MID_INSERT.format(pid=pipeline.pid("clickhouse-server"))
    survivor = start_patched_consumer(pipeline, patch)
    try:
        pipeline.verify()
        # The rows may already have been stored. The commit shows that the insert was repeated.
        wait_for_consumer(pipeline)
        survivor.terminate()
        _, log = survivor.communicate(timeout=DEADLINE_SEC)
    finally:
        survivor.kill()  # it still runs if the table was not right
    assert survivor.returncode == 0, log
    assert "did not acknowledge" in log
    assert "ClickHouse is back" in log


def test_a_batch_that_was_written_and_not_committed_is_written_again(pipeline: Pipeline) -> None:
    pipeline.produce(2000)
    pipeline.verify()
    last = stop_job_between_batches(pipeline)
    offsets, commits = checkpoint(pipeline) / "offsets", checkpoint(pipeline) / "commits"

    def forget(log: Path) -> None:
        (log / str(last)).unlink()
        (log / f".{last}.crc").unlink(missing_ok=True)

    # After the last records comes a batch without any, which only moves the watermark.
    while source_ends(offsets / str(last)) == source_ends(offsets / str(last - 1)):
        forget(offsets)
        forget(commits)
        last -= 1
    forget(commits)
    written = pipeline.topic_size("transactions_agg")
    pipeline.stack.start("spark-job")
    eventually((commits / str(last)).exists, "the batch is committed again")
    assert pipeline.topic_size("transactions_agg") > written
    pipeline.produce(500)
    pipeline.verify()


def test_a_damaged_checkpoint_ends_the_job_with_one_line_of_advice(pipeline: Pipeline) -> None:
    pipeline.produce(2000)
    pipeline.verify()
    last = stop_job_between_batches(pipeline)
    for partition in ("0", "1"):
        state = checkpoint(pipeline) / "state" / "0" / partition / f"{last + 1}.delta"
        state.write_bytes(state.read_bytes()[:20])
    pipeline.produce(500)
    pipeline.stack.start("spark-job")
    pipeline.wait_for_log("spark-job", "set CHECKPOINT_LOCATION to a new folder")
    pipeline.stack.stop("spark-job")
    shutil.rmtree(checkpoint(pipeline))
    pipeline.stack.start("spark-job")
    pipeline.verify()
