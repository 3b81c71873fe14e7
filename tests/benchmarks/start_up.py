"""How soon the whole pipeline is ready, from nothing, and the job after it was killed."""

import os
import signal
import time
from functools import partial

from results import Row
from testbed import Testbed
from waiting import eventually

RATE = 100
DEADLINE_SEC = 180
POLL_SEC = 0.05
IN_FLIGHT = 3 * RATE  # more than the killed driver can have sent on its way to the table


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


def recovery(bed: Testbed) -> list[Row]:
    """From the kill of a driver until a `SELECT` counts what only the next driver can have read."""
    bed.run_whole_pipeline()
    seconds = list[float]()
    with bed.producer(RATE):
        for _ in range(bed.sizes.kills):
            bed.run_whole_pipeline()
            wait_for_more_orders(bed)
            begun = time.monotonic()
            os.kill(bed.pipeline.pid("spark-job"), signal.SIGKILL)
            wait_for_more_orders(bed)
            seconds.append(time.monotonic() - begun)
    return [
        Row("a killed driver, median", seconds, "s"),
        Row("a killed driver, the longest", [max(seconds)], "s"),
    ]


def wait_for_more_orders(bed: Testbed) -> None:
    wanted = bed.pipeline.stored_orders() + IN_FLIGHT
    are_counted = partial(is_reached, bed, wanted)
    eventually(are_counted, "more orders are counted", DEADLINE_SEC, POLL_SEC)


def is_reached(bed: Testbed, orders: int) -> bool:
    return bed.pipeline.stored_orders() >= orders
