"""A ClickHouse for each test, one browser for all."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from analytics import ClickHouse, Page
from stack import Stack

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no browser: on Debian, apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, ChromeService(driver))
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
