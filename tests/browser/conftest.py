"""A ClickHouse for each test, one browser for all."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from clickhouse_server import ClickHouse
from live_page import NoBrowser, Page, open_browser
from stack import Stack


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    try:
        browser = open_browser()
    except NoBrowser as reason:
        pytest.skip(str(reason))
    yield browser
    browser.quit()


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    """A running server with an empty table."""
    clickhouse = ClickHouse(Stack.on_free_ports(tmp_path))
    try:
        clickhouse.start()
        yield clickhouse
    finally:
        clickhouse.stop(signal.SIGKILL)  # a clean stop waits until the browser disconnects


@pytest.fixture
def page(browser: Chrome, clickhouse: ClickHouse) -> Iterator[Page]:
    """The page, opened and not signed in."""
    page = Page(browser, clickhouse.url)
    page.resize(1280, 900)
    page.open()
    yield page
    page.run("sessionStorage.clear()")  # a later test may get the same port
    browser.get("about:blank")
