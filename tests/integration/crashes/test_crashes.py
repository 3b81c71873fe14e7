"""More crashes at chosen moments, and services without protection, which the oracle must catch."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline import (
    DEADLINE_SEC,
    DIE,
    GROUP,
    Pipeline,
    committed_lag,
    consumer_dies,
    eventually,
    source_ends,
    start_patched,
)

COMMIT_FIRST = f"""
def commit_first(self):
    self.commit()
    {DIE}

consumer.Loader.flush = commit_first
"""
AUTO_COMMIT = f"""
KafkaConsumer = consumer.KafkaConsumer
consumer.KafkaConsumer = lambda *names, **settings: KafkaConsumer(
    *names, **{{**settings, "enable_auto_commit": True, "auto_commit_interval_ms": 100}}
)
consumer.Loader.flush = lambda self: {DIE}
"""


@pytest.mark.parametrize("patch", [COMMIT_FIRST, AUTO_COMMIT], ids=["commit-first", "auto-commit"])
def test_the_oracle_sees_what_a_consumer_without_protection_loses(
    pipeline: Pipeline, patch: str
) -> None:
    consumer_dies(pipeline, patch, FLUSH_INTERVAL_SEC="5")
    assert committed_lag(pipeline) == 0
    pipeline.stack.start(GROUP)
    assert re.search(r"(missing|wrong) +\d{4}-", pipeline.differences())
    # The raw topic still has it all: a job that starts over heals the table.
    pipeline.stack.stop("spark-job")
    shutil.rmtree(pipeline.stack.directory / "checkpoint")
    pipeline.stack.start("spark-job")
    pipeline.verify()


KILL_CLICKHOUSE_MID_INSERT = """
import clickhouse_driver
receive = clickhouse_driver.Client.receive_end_of_insert_query

def kill_first(self):
    clickhouse_driver.Client.receive_end_of_insert_query = receive
    os.kill({pid}, signal.SIGKILL)
    raise EOFError("the answer never came")

clickhouse_driver.Client.receive_end_of_insert_query = kill_first
"""


def test_an_insert_of_unknown_outcome_is_repeated(pipeline: Pipeline) -> None:
    eventually(lambda: committed_lag(pipeline) == 0, "the consumer has committed everything")
    pipeline.stack.stop(GROUP)
    pipeline.produce(2000)
    patch = KILL_CLICKHOUSE_MID_INSERT.format(pid=pipeline.pid("clickhouse-server"))
    survivor = start_patched(pipeline, "clickhouse-consumer/consumer", patch)
    try:
        pipeline.verify()
        # The rows may all be there already; that the insert is repeated shows in the commit.
        eventually(lambda: committed_lag(pipeline) == 0, "the consumer has committed everything")
        survivor.terminate()
        _, log = survivor.communicate(timeout=DEADLINE_SEC)
    finally:
        survivor.kill()  # if the table was not right
    assert survivor.returncode == 0, log
    assert "did not store" in log
    assert "ClickHouse is back" in log


def test_a_batch_that_was_written_and_not_committed_is_written_again(pipeline: Pipeline) -> None:
    pipeline.produce(2000)
    pipeline.verify()
    last = pipeline.stop_job_between_batches()
    checkpoint = pipeline.stack.directory / "checkpoint"
    offsets, commits = checkpoint / "offsets", checkpoint / "commits"

    def forget(log: Path) -> None:
        (log / str(last)).unlink()
        (log / f".{last}.crc").unlink(missing_ok=True)

    # After the last records comes a batch without any, which only moves the watermark.
    while source_ends(offsets / str(last)) == source_ends(offsets / str(last - 1)):
        forget(offsets)
        forget(commits)
        last -= 1
    forget(commits)
    written = pipeline.raw_records("transactions_agg")
    pipeline.stack.start("spark-job")
    eventually((commits / str(last)).exists, "the batch is committed again")
    assert pipeline.raw_records("transactions_agg") > written
    pipeline.produce(500)
    pipeline.verify()


def test_a_damaged_checkpoint_ends_in_one_clear_line_with_a_way_out(pipeline: Pipeline) -> None:
    pipeline.produce(2000)
    pipeline.verify()
    last = pipeline.stop_job_between_batches()
    checkpoint = pipeline.stack.directory / "checkpoint"
    for partition in ("0", "1"):
        state = checkpoint / "state" / "0" / partition / f"{last + 1}.delta"
        state.write_bytes(state.read_bytes()[:20])
    pipeline.produce(500)
    lines_before = len(pipeline.log("spark-job").splitlines())
    pipeline.stack.start("spark-job")

    def said() -> bool:
        new_lines = pipeline.log("spark-job").splitlines()[lines_before:]
        return any("set CHECKPOINT_LOCATION to a new folder" in line for line in new_lines)

    eventually(said, "the job says what is wrong and what to do")
    pipeline.stack.stop("spark-job")
    shutil.rmtree(checkpoint)
    pipeline.stack.start("spark-job")
    pipeline.verify()
