"""The consumer and the producer are killed at exactly the moments that matter."""

from pathlib import Path

import pytest

from crashing import assert_kills_itself, let_consumer_die, start_patched
from lag import consumer_lag, wait_for_consumer
from pipeline import Pipeline

pytestmark = pytest.mark.services

BEFORE_INSERT = 'patch("loader.Loader.flush", if_rows(die)).start()'
BEFORE_COMMIT = 'patch("loader.Loader.commit", die).start()'
AFTER_COMMIT = """
import loader
commit = loader.Loader.commit
patch("loader.Loader.commit", lambda self: (commit(self), die())).start()
"""


@pytest.mark.parametrize(
    ("patch", "is_committed"),
    [
        pytest.param(BEFORE_INSERT, False, id="before-insert"),
        pytest.param(BEFORE_COMMIT, False, id="before-commit"),
        pytest.param(AFTER_COMMIT, True, id="after-commit"),
    ],
)
def test_a_killed_consumer_neither_loses_nor_doubles_a_row(
    pipeline: Pipeline, patch: str, is_committed: bool
) -> None:
    let_consumer_die(pipeline, patch)
    assert (consumer_lag(pipeline) == 0) is is_committed
    pipeline.stack.start("clickhouse-consumer")
    pipeline.verify()
    wait_for_consumer(pipeline)


DIE_WITH_RECORDS_IN_FLIGHT = """
import sending
acknowledged = open(os.environ["ACKNOWLEDGED"], "a", buffering=1)
count = sending.Delivery.on_acknowledged

def on_acknowledged(self, metadata):
    count(self, metadata)
    acknowledged.write(f"{metadata.partition} {metadata.offset}\\n")
    if self.acknowledged >= 500 and self.in_flight > 0:
        die()

patch("sending.Delivery.on_acknowledged", on_acknowledged).start()
"""


def test_a_killed_producer_loses_nothing_that_was_acknowledged(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    before = pipeline.topic_size()
    listing = tmp_path / "acknowledged"
    settings = {"RATE": "0", "ACKNOWLEDGED": str(listing)}
    patch = DIE_WITH_RECORDS_IN_FLIGHT
    assert_kills_itself(start_patched(pipeline, "producer", "producer", patch, **settings))
    acknowledged = listing.read_text().splitlines()
    assert len(set(acknowledged)) == len(acknowledged) >= 500
    assert pipeline.topic_size() - before >= len(acknowledged)
    pipeline.verify()
