"""The live page in browsers that store nothing for it."""

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from clickhouse_server import ClickHouse
from live_page import Page, open_browser
from rows import window

pytestmark = pytest.mark.services

BLOCK = 2
FILL_STORAGE = """
for (let size = 2 ** 24; size >= 1; size /= 2) {
    try {
        while (true) sessionStorage.setItem(Math.random(), 'x'.repeat(size));
    } catch {}
}
"""


@pytest.fixture
def blocking_browser(browser: Chrome) -> Iterator[Chrome]:
    """Another browser, which blocks cookies and with them all storage."""
    blocking = open_browser(**{"profile.default_content_setting_values.cookies": BLOCK})
    yield blocking
    blocking.quit()


def test_the_page_works_if_the_browser_blocks_storage(
    clickhouse: ClickHouse, blocking_browser: Chrome
) -> None:
    page = Page(blocking_browser, clickhouse.url)
    clickhouse.insert(window(-1))
    page.open()
    blocked = "try { sessionStorage } catch (error) { return error.name }"
    assert page.run(blocked) == "SecurityError"
    page.sign_in()
    page.shows_windows(1)

    page.element("#sign-out").click()
    assert page.element("#sign-in").is_displayed()
    assert not page.element("#analytics").is_displayed()


def test_the_page_works_if_its_storage_is_full(clickhouse: ClickHouse, page: Page) -> None:
    clickhouse.insert(window(-1))
    page.run(FILL_STORAGE)
    page.sign_in()
    page.shows_windows(1)


def test_the_page_works_if_its_storage_is_damaged(clickhouse: ClickHouse, page: Page) -> None:
    clickhouse.insert(window(-1))
    page.run("sessionStorage.setItem('login', '{')")
    page.browser.refresh()
    page.sign_in()
    page.shows_windows(1)
