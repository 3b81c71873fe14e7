"""How soon a transaction is on the live page, in a browser on the same machine."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from statistics import quantiles

from latency import LOOK_SEC, Answer, delays_sec
from live_page import Page, open_browser
from results import Row
from testbed import Testbed
from windows import Row as Window

POLL_SEC = 0.1


def page(bed: Testbed) -> list[Row]:
    """Like `freshness`, but to what a person sees.

    On a new stack, because the page shows only so many windows, and here must show all.
    """
    bed.start_from_scratch()
    answers, ends = list[Answer](), list[datetime]()
    browser = open_browser()
    try:
        page = Page(browser, f"http://127.0.0.1:{bed.stack.clickhouse_http_port}")
        page.resize(1280, 900)
        page.open()
        page.sign_in()
        with bed.producer(bed.sizes.page_rate):
            for seconds in (bed.sizes.page_warm_up_sec, *[bed.sizes.page_sec] * bed.sizes.runs):
                watch(page, seconds, answers)
                ends.append(datetime.now(UTC))
        delays = delays_sec(bed, answers, partial(watch, page, LOOK_SEC, answers))
    finally:
        browser.quit()
    runs = [[delay for arrival, delay in delays if a <= arrival < b] for a, b in pairwise(ends)]
    cuts = [quantiles(run, n=100, method="inclusive") for run in runs]
    rate = f"{bed.sizes.page_rate}/s"
    return [
        Row(f"{rate}, p50", [run[49] for run in cuts], "s"),
        Row(f"{rate}, p99", [run[98] for run in cuts], "s", wanted="<= 2"),
        Row(f"{rate}, the longest", [max(run) for run in runs], "s", wanted="<= 2"),
    ]


def watch(page: Page, seconds: float, answers: list[Answer]) -> None:
    """Read the page's table again and again; add it each time it has changed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = [window(cells) for cells in page.table()]
        if not answers or rows != answers[-1][1]:
            answers.append((datetime.now(UTC), rows))
        time.sleep(POLL_SEC)


def window(cells: list[str]) -> Window:
    """A row of the page's table: "12:30–12:31" (a date before it if not today), amounts, ..."""
    when, sales, _, _, orders, _, average, top = cells
    *day, span = when.split()
    date = day[0] if day else f"{datetime.now(UTC):%Y-%m-%d}"
    start = datetime.fromisoformat(f"{date} {span[:5]}+00:00")
    return Window(
        start,
        start + timedelta(minutes=1),
        Decimal(sales.replace(",", "")),
        int(orders.replace(",", "")),
        Decimal(average.replace(",", "")),
        top,
    )
