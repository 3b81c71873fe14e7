"""How soon the whole pipeline is ready, from nothing."""

import time
from functools import partial

from results import Row
from testbed import Testbed
from waiting import eventually

RATE = 100
DEADLINE_SEC = 180
POLL_SEC = 0.05


def start(bed: Testbed) -> list[Row]:
    """From an empty folder until every service answers, and until the table has a row."""
    ready, first_row = list[float](), list[float]()
    for _ in range(bed.sizes.runs):
        bed.end()
        begun = time.monotonic()
        bed.start_from_scratch()
        ready.append(time.monotonic() - begun)
        with bed.producer(RATE):
            row = partial(bed.pipeline.query, "SELECT 1 FROM aggregated_analytics LIMIT 1")
            eventually(row, "the table has a row", DEADLINE_SEC, POLL_SEC)
            first_row.append(time.monotonic() - begun)
    return [
        Row("all parts ready", ready, "s", wanted="<= 20"),
        Row("first row in the table", first_row, "s", wanted="<= 30"),
    ]
