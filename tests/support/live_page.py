"""The live page in a browser, and what a person does on it."""

import json
import shutil
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from polling import eventually_equal, eventually_matches

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

TABLE = """
return [...document.querySelectorAll('#windows tr')]
    .map(row => [...row.cells].map(cell => cell.innerText))
"""
FIELDS = """
return Object.fromEntries(
    [...document.querySelectorAll(`#${arguments[0]} [data-field]`)]
        .map(element => [element.dataset.field, element.innerText]))
"""
REFRESHES = """
return JSON.stringify(performance.getEntriesByType('resource')
    .filter(entry => entry.name.includes('/analytics/windows')))
"""
DRAW_MS = "return performance.getEntriesByName('draw').at(-1)?.duration ?? 0"


class NoBrowser(RuntimeError):
    """No browser is installed; the text says what to install."""


def open_browser(**preferences: object) -> Chrome:
    """Chromium without a window, with these preferences changed. Raises NoBrowser."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not (program and driver):
        raise NoBrowser("no browser: on Debian, apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.ignore_local_proxy_environment_variables()
    options.add_experimental_option("prefs", preferences)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options, ChromeService(driver))


class Page:
    """The live page as a person sees it. `url` is ClickHouse's HTTP address."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self) -> None:
        self.browser.get(f"{self.url}/analytics")

    def sign_in(self, password: str = "MySecret") -> None:
        """Keep the user name that is filled in, type the password and press Enter."""
        self.element("[name=password]").send_keys(password + Keys.ENTER)

    def element(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.element(selector).text

    def table(self) -> list[list[str]]:
        """The cells of the table of windows, newest first."""
        rows: list[list[str]] = self.run(TABLE)
        return rows

    def minute(self, section: str) -> dict[str, str]:
        """What the section `current` or `last` shows of its minute, by field."""
        fields: dict[str, str] = self.run(FIELDS, section)
        return fields

    def run(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def shows(self, selector: str, text: str) -> None:
        """Wait until the element's text contains this text."""
        eventually_matches(
            lambda: self.text(selector), lambda shown: text in shown, f"{selector} shows {text!r}"
        )

    def shows_windows(self, count: int) -> None:
        """Wait until the table has this number of windows."""
        eventually_equal(lambda: len(self.table()), count, "windows in the table")

    def is_drawn(self) -> None:
        """Wait until the charts are drawn."""
        eventually_matches(self.draw_ms, bool, "the charts are drawn")

    def refreshes(self) -> list[dict[str, Any]]:
        """The requests for data since the last `clearResourceTimings`."""
        found: list[dict[str, Any]] = json.loads(self.run(REFRESHES))
        return found

    def draw_ms(self) -> float:
        """How long the last drawing took; 0 before the first one."""
        return float(self.run(DRAW_MS))

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(path))
