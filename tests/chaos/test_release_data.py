"""Today's code continues on the data that the previous release has left on disk."""

from pathlib import Path

import pytest

from lag import wait_for_consumer, wait_for_job
from metrics_check import job_counts
from pipeline import Pipeline
from polling import eventually_equal
from release_data import rows_of, unpack
from scenarios.soak import deleted_records
from stack import Stack
from stack_fixtures import QUICK_START, READY_SEC

pytestmark = pytest.mark.services

RECORDS = 500


def test_todays_stack_continues_on_the_data_of_the_release(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path / "stack")
    rows = unpack(stack.directory)
    stack.up(QUICK_START, READY_SEC)
    try:
        pipeline = Pipeline(stack)
        assert rows_of(pipeline) == rows
        pipeline.produce(RECORDS)
        wait_for_job(pipeline)
        wait_for_consumer(pipeline)
        pipeline.verify()
        # It has not read those of the release again, and Kafka still has them.
        eventually_equal(lambda: job_counts(stack).total(), RECORDS, "records of the job")
        assert deleted_records(pipeline) == 0
        assert rows_of(pipeline)[: len(rows)] == rows
    finally:
        stack.down()
