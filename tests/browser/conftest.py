"""A ClickHouse for each test, one browser for all."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from analytics import ClickHouse, NoBrowser, Page, open_browser
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
    """With an empty table."""
    clickhouse = ClickHouse(Stack.on_free_ports(tmp_path))
    clickhouse.start()
    yield clickhouse
    clickhouse.stop(signal.SIGKILL)  # a clean stop waits for the connections of the browser


@pytest.fixture
def page(browser: Chrome, clickhouse: ClickHouse) -> Iterator[Page]:
    """Opened, not signed in: the browser keeps nothing, since the port is another in each test."""
    page = Page(browser, clickhouse.url)
    page.resize(1280, 900)
    page.open()
    yield page
    browser.get("about:blank")
