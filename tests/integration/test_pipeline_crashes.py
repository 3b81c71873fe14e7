"""The consumer and the producer are killed at the very moments that matter, on real services."""

from pathlib import Path

import pytest

from pipeline import (
    DIE,
    GROUP,
    Pipeline,
    assert_kills_itself,
    committed_lag,
    consumer_dies,
    eventually,
    start_patched,
)


@pytest.mark.parametrize(
    ("patch", "is_committed"),
    [
        pytest.param(f"consumer.Loader.flush = lambda self: {DIE}", False, id="before-insert"),
        pytest.param(f"consumer.Loader.commit = lambda self: {DIE}", False, id="before-commit"),
        pytest.param(
            f"commit = consumer.Loader.commit\n"
            f"consumer.Loader.commit = lambda self: (commit(self), {DIE})",
            True,
            id="after-commit",
        ),
    ],
)
def test_a_killed_consumer_neither_loses_nor_doubles(
    pipeline: Pipeline, patch: str, is_committed: bool
) -> None:
    consumer_dies(pipeline, patch)
    assert (committed_lag(pipeline) == 0) is is_committed
    pipeline.stack.start(GROUP)
    pipeline.verify()
    eventually(lambda: committed_lag(pipeline) == 0, "the consumer has committed everything")


DIE_WITH_RECORDS_IN_FLIGHT = f"""
acknowledged = open(os.environ["ACKNOWLEDGED"], "a", buffering=1)
count = producer.Delivery.on_acknowledged

def on_acknowledged(self, metadata):
    count(self, metadata)
    acknowledged.write(f"{{metadata.partition}} {{metadata.offset}}\\n")
    if self.acknowledged >= 500 and self.in_flight > 0:
        {DIE}

producer.Delivery.on_acknowledged = on_acknowledged
"""


def test_a_killed_producer_loses_nothing_that_was_acknowledged(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    before = pipeline.raw_records()
    listing = tmp_path / "acknowledged"
    patch = DIE_WITH_RECORDS_IN_FLIGHT
    settings = {"RATE": "0", "ACKNOWLEDGED": str(listing)}
    assert_kills_itself(start_patched(pipeline, "producer/producer", patch, **settings))
    acknowledged = listing.read_text().splitlines()
    assert len(set(acknowledged)) == len(acknowledged) >= 500
    assert pipeline.raw_records() - before >= len(acknowledged)
    pipeline.verify()
