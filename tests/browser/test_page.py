"""The live page in a real browser, on a ClickHouse of its own."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from clickhouse_server import ClickHouse
from live_page import Page
from polling import eventually_equal, eventually_matches
from rows import NONE, as_shown, as_table_row, elapsed_sec, per_second, stored_rows, window

pytestmark = pytest.mark.services

DRAW_MS = 500
REFRESH_BYTES = 20_000
FIRST_BYTES = 400_000
# The minute may end while a test runs: the next one is there, too.
NOW_AND_NEXT = (0, 1, 2)


def shown_minutes(clickhouse: ClickHouse) -> tuple[dict[str, str], dict[str, str]]:
    """What the page must show now of this minute and of the last full one."""
    now = datetime.now(UTC)
    rows = stored_rows(clickhouse)
    current = next(row for row in rows if row["window_start"] <= now < row["window_end"])
    last = next(row for row in rows if row["window_end"] <= now)
    progress = f"in the first {elapsed_sec(current)} s"
    return as_shown(current) | {"progress": progress}, as_shown(last) | {"hour": NONE, "day": NONE}


def test_the_page_shows_the_numbers_of_the_table(clickhouse: ClickHouse, page: Page) -> None:
    clickhouse.insert(*(window(n) for n in (-4, -3, -1, *NOW_AND_NEXT)))
    clickhouse.insert(window(-2, total_sales=Decimal("12345678901234567.89"), total_orders=10**9))
    page.sign_in()

    eventually_matches(
        lambda: ((page.minute("current"), page.minute("last")), shown_minutes(clickhouse)),
        lambda minutes: minutes[0] == minutes[1],
        "the page shows both minutes as the table has them",
    )

    def tables() -> tuple[list[list[str]], list[list[str]]]:
        now = datetime.now(UTC)
        rows = [row for row in stored_rows(clickhouse) if row["window_start"] <= now]
        return page.table(), [as_table_row(row) for row in rows]

    eventually_matches(tables, lambda both: both[0] == both[1], "the page has all windows")
    assert "12,345,678,901,234,567.89" in page.text("#windows")
    assert page.text("#fresh").startswith("Last update ")
    assert [line for line in page.browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_the_orders_per_second_of_a_running_minute_are_those_of_its_elapsed_seconds(
    clickhouse: ClickHouse, page: Page
) -> None:
    start = datetime.now(UTC).replace(microsecond=0)
    end = start + timedelta(minutes=1)
    clickhouse.insert(window(0, window_start=start, window_end=end, total_orders=1200))
    page.sign_in()
    page.shows_windows(1)
    shown = dict[int, str]()

    def look() -> list[str]:
        minute = page.minute("current")
        shown[int(minute["progress"].split()[-2])] = minute["rate"]
        return [minute["rate"], page.table()[0][5]]

    # They say nothing in the first seconds, and then change without a new row.
    assert NONE in look()
    eventually_matches(look, lambda rates: rates[0] == rates[1] != NONE, "the page shows a rate")
    assert shown == {seconds: per_second(1200, seconds) for seconds in shown}
    assert "no full minute yet" in page.element("#rate").accessible_name


def test_a_full_minute_is_compared_with_those_an_hour_and_a_day_ago(
    clickhouse: ClickHouse, page: Page
) -> None:
    for n in (-1, *NOW_AND_NEXT):
        sales = {n: 110, n - 60: 100, n - 1440: 88}
        clickhouse.insert(*(window(m, total_sales=Decimal(sales[m])) for m in sales))
    page.sign_in()

    def look() -> list[str]:
        """Of the last full minute, in its card and in the table; of the running one."""
        last = page.minute("last")
        running, full, *_ = page.table()
        return [last["hour"], last["day"], *full[2:4], *running[2:4]]

    page.shows("#windows", ":")
    eventually_equal(look, ["+10.0%", "+25.0%"] * 2 + [NONE] * 2, "the changes of sales")


def test_a_minute_is_compared_only_with_minutes_that_had_sales(
    clickhouse: ClickHouse, page: Page
) -> None:
    sales = {-5: 150, -65: 100, -4: 75, -1444: 100, -3: 1, -63: 0, -1438: 50, -2878: 100}
    rows = {n: window(n, total_sales=Decimal(sales[n])) for n in sales}
    clickhouse.insert(*rows.values())
    page.sign_in()
    page.shows_windows(3)
    page.run("document.querySelector('#range [value=\"86400\"]').click()")

    expected = {
        -3: [NONE, NONE],
        -4: [NONE, "-25.0%"],
        -5: ["+50.0%", NONE],
        -63: [NONE, NONE],
        -65: [NONE, NONE],
        -1438: [NONE, "-50.0%"],
    }
    eventually_equal(
        lambda: [[cells[0], *cells[2:4]] for cells in page.table()],
        [[as_table_row(rows[n])[0], *changes] for n, changes in expected.items()],
        "the changes of sales",
    )


def test_windows_appear_and_grow_without_a_reload(clickhouse: ClickHouse, page: Page) -> None:
    first = window(-3)
    clickhouse.insert(first)
    page.sign_in()
    page.shows_windows(1)
    page.run("globalThis.isSamePage = true")

    clickhouse.insert(window(-2))
    page.shows_windows(2)
    clickhouse.insert({**first, "total_orders": 9999, "total_sales": Decimal("1234.50")})
    eventually_equal(
        lambda: page.table()[1][1:5:3],
        ["1,234.50", "9,999"],
        "sales and orders of the first window",
    )
    assert page.run("return globalThis.isSamePage")


def test_a_wrong_password_is_reported_and_the_right_one_still_works(
    clickhouse: ClickHouse, page: Page
) -> None:
    clickhouse.insert(window(-1))
    page.sign_in("wrong")
    page.shows("#status", "Wrong user or password.")
    assert not page.element("#analytics").is_displayed()

    page.sign_in()
    page.shows_windows(1)
    assert page.text("#status") == ""
    assert page.text("#who") == "consumer"


def test_an_outage_of_clickhouse_is_reported_and_the_page_recovers_by_itself(
    clickhouse: ClickHouse, page: Page
) -> None:
    clickhouse.insert(window(-1))
    page.sign_in()
    page.shows_windows(1)

    clickhouse.stop()
    page.shows("#status", "ClickHouse does not answer")
    assert len(page.table()) == 1  # the page keeps what it has

    clickhouse.start()
    clickhouse.insert(window(-5))
    page.shows_windows(2)
    eventually_equal(lambda: page.text("#status"), "", "the text of #status")


def test_an_empty_table_is_reported_until_the_first_window(
    clickhouse: ClickHouse, page: Page
) -> None:
    page.sign_in()
    page.shows("#status", "No data yet.")

    clickhouse.insert(window(-60 * 30))
    page.shows("#status", "No sales in the last 24 hours; the last ones were at ")
    assert not page.element("#analytics").is_displayed()

    clickhouse.insert(window(-1))
    page.shows_windows(1)
    assert page.text("#status") == ""


def test_the_page_warns_when_no_new_data_arrives(clickhouse: ClickHouse, page: Page) -> None:
    written = datetime.now(UTC) - timedelta(seconds=70)
    clickhouse.insert(window(-2, updated_at=written))
    page.sign_in()
    page.shows("#fresh", "No update for 1 min")
    page.shows("#status", "No sales have arrived since ")
    page.shows(
        "#status", f"{written:%H:%M:%S} UTC."
    )  # with the date before it if that was yesterday
    assert page.element("#fresh").get_attribute("class") == "late"

    clickhouse.insert(window(-1))
    page.shows("#fresh", "Last update ")
    assert page.text("#status") == ""


def test_html_in_a_value_is_shown_as_text(clickhouse: ClickHouse, page: Page) -> None:
    evil = '<img src=x onerror="globalThis.isBroken = true"><b>'
    clickhouse.insert(*(window(n, top_product=evil) for n in (-1, *NOW_AND_NEXT)))
    page.sign_in()

    eventually_equal(lambda: page.minute("last")["top"], evil, "the product of the last minute")
    assert {row[-1] for row in page.table()} == {evil}
    assert evil in page.element("#top").accessible_name
    assert page.run("return document.querySelectorAll('main img, main b').length") == 0
    assert not page.run("return globalThis.isBroken")


def test_a_day_is_drawn_fast_and_refreshed_with_few_bytes(
    clickhouse: ClickHouse, page: Page
) -> None:
    clickhouse.insert(*(window(n) for n in range(-2879, 3)))
    page.sign_in()
    page.is_drawn()
    first_bytes = page.refreshes()[0]["decodedBodySize"]

    def draw(seconds: int) -> float:
        page.run("performance.clearMeasures()")
        page.run(f"document.querySelector('#range [value=\"{seconds}\"]').click()")
        page.is_drawn()
        return page.draw_ms()

    day, hour = 86_400, 3600
    drawn_ms = min([draw(each) for each in (day, hour, day, hour, day)][::2])
    assert "1,4" in page.text(
        "#all"
    )  # Show all 1,440, or one less or more if a minute has just ended

    def moved() -> list[int]:
        """Bytes of the latest refreshes, before compression."""
        page.run("performance.clearResourceTimings()")
        refreshes = eventually_matches(
            page.refreshes, lambda found: len(found) >= 2, "the page refreshes twice"
        )
        return [entry["decodedBodySize"] for entry in refreshes]

    # For some seconds, all windows of the insert above count as new.
    eventually_matches(
        moved,
        lambda sizes: max(sizes) < REFRESH_BYTES,
        f"every refresh transfers less than {REFRESH_BYTES} bytes",
    )
    clickhouse.insert(*(window(n, total_orders=10**6) for n in range(-12, 3)))
    busy = moved()
    sizes = f"largest refresh {max(busy)} bytes, the first one {first_bytes}"
    print(f"drawn in {drawn_ms:.0f} ms, {sizes}")
    assert 600 < max(busy) < REFRESH_BYTES
    assert first_bytes < FIRST_BYTES
    assert drawn_ms < DRAW_MS


def test_the_page_works_with_the_keyboard_alone(clickhouse: ClickHouse, page: Page) -> None:
    clickhouse.insert(*(window(n) for n in range(-100, 1)))
    assert page.element("[name=user]").get_attribute("value") == "consumer"
    page.browser.switch_to.active_element.send_keys("MySecret" + Keys.ENTER)
    page.shows("#all", "Show all ")

    page.element("#range :checked").send_keys(Keys.ARROW_RIGHT)
    page.shows("#all", "Show all 101")
    page.element("#all").send_keys(Keys.ENTER)
    page.shows_windows(101)


def test_everything_has_a_name_for_a_screen_reader(clickhouse: ClickHouse, page: Page) -> None:
    assert page.element("[name=user]").accessible_name == "User"
    assert page.element("[name=password]").accessible_name == "Password"
    clickhouse.insert(window(-1))
    page.sign_in()
    page.shows_windows(1)

    assert page.element("#range").accessible_name == "Show the last"
    assert page.element("#current").accessible_name == "This minute so far"
    assert page.element("table").accessible_name == "Windows, newest first"
    assert page.element("#status").aria_role == "status"
    assert page.text("thead") == (
        "Window (UTC) Sales Sales vs 1 h ago Sales vs 24 h ago Orders Orders/s Average Top product"
    )
    for chart in ("sales", "rate", "average", "top"):
        assert page.element(f"#{chart}").accessible_name.endswith("in the table below.")


def test_the_password_stays_in_the_tab(clickhouse: ClickHouse, page: Page) -> None:
    clickhouse.insert(window(-1))
    page.sign_in()
    page.shows_windows(1)
    page.browser.refresh()
    page.shows_windows(1)  # without signing in again

    assert all("MySecret" not in entry["name"] for entry in page.refreshes())
    assert page.run("return localStorage.length + document.cookie.length") == 0
    page.element("#sign-out").click()
    assert page.run("return sessionStorage.length") == 0
    assert not page.element("#analytics").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "width"), [("desktop", 1280), ("phone", 390)])
def test_the_page_fits_the_width_of_the_screen(
    clickhouse: ClickHouse, page: Page, tmp_path: Path, device: str, width: int, scheme: str
) -> None:
    """Also saves a screenshot, for a person to look at, in the folder SCREENSHOTS if it is set."""
    clickhouse.insert(*(window(n) for n in range(-180, 3) if not -40 < n < -34))
    page.resize(width, 900, scheme)
    page.sign_in()
    page.is_drawn()
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))

    height = page.run("return document.documentElement.scrollHeight")
    page.resize(width, height, scheme)
    eventually_equal(lambda: page.run("return innerHeight"), height, "the height of the screen")
    page.screenshot(folder / f"{device}-{scheme}.png")
    assert page.run("return document.documentElement.scrollWidth") <= width
