"""A ClickHouse of the local stack with its live page, and what a person does on that page."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from clickhouse_driver import Client
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from stack import HERE, PROJECT, TOOLS, Stack
from waiting import eventually

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_SEC = 30
COLUMNS = (
    "window_start",
    "window_end",
    "total_sales",
    "total_orders",
    "average_order_value",
    "top_product",
)
Row = dict[str, Any]


def window(minutes_from_now: int, **changes: object) -> Row:
    """The window of one minute, with sums of its own: busier at noon, with one best seller."""
    start = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=minutes_from_now)
    chance = random.Random(start.timestamp())
    orders = int(
        5000 - 1500 * math.cos(start.timestamp() / 86400 * math.tau) + chance.gauss(0, 120)
    )
    average = Decimal(int(chance.gauss(12000, 300))) / 100
    row = {
        "window_start": start,
        "window_end": start + timedelta(minutes=1),
        "total_sales": orders * average,
        "total_orders": orders,
        "average_order_value": average,
        "top_product": f"P{min(int(chance.paretovariate(0.9)), 100):04}",
    }
    return {**row, **changes}


class ClickHouse:
    """The server as supervisord.conf starts it, alone."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.url = f"http://localhost:{stack.clickhouse_http_port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = HERE / "clickhouse" / "server.py"
        library = TOOLS / "clickhouse" / "libchdb.so"
        config = HERE / "clickhouse" / "config.xml"
        with open(self.stack.directory / "clickhouse.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, program, library, config, PROJECT / "clickhouse-init/init.sql"],
                cwd=self.stack.directory,
                env={**os.environ, **self.stack.environment()},
                stdout=log,
                stderr=log,
            )
        eventually(self.answers, "ClickHouse answers")

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(signal_number)
            self.process.wait(DEADLINE_SEC)
            self.process = None

    def answers(self) -> bool:
        log = (self.stack.directory / "clickhouse.log").read_text()
        assert self.process and self.process.poll() is None, log
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5):  # listens to HTTP last
                return True
        except OSError:
            return False

    def query(self, sql: str, rows: Iterable[Row] | None = None) -> Any:
        client = Client(
            "localhost", port=self.stack.clickhouse_port, user="consumer", password="MySecret"
        )
        try:
            return client.execute(sql, list(rows) if rows is not None else None)
        finally:
            client.disconnect()

    def insert(self, *rows: Row) -> None:
        columns = ", ".join(rows[0])
        self.query(f"INSERT INTO aggregated_analytics ({columns}) VALUES", rows)

    def windows(self) -> list[Row]:
        """What the table has, the newest first."""
        sql = f"SELECT {', '.join(COLUMNS)} FROM aggregated_analytics ORDER BY window_start DESC"
        return [dict(zip(COLUMNS, row, strict=True)) for row in self.query(sql)]


class NoBrowser(RuntimeError):
    """There is none on this machine; the text says what to install."""


def open_browser() -> Chrome:
    """Chromium without a window. Raises NoBrowser."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not (program and driver):
        raise NoBrowser("no browser: on Debian, apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options, ChromeService(driver))


class Page:
    """The live page in a browser, as far as a person sees it."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self) -> None:
        self.browser.get(f"{self.url}/analytics")

    def sign_in(self, password: str = "MySecret") -> None:
        """With the user name that is filled in, and Enter."""
        self.element("[name=password]").send_keys(password + Keys.ENTER)

    def element(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.element(selector).text

    def table(self) -> list[list[str]]:
        script = "return [...document.querySelectorAll('#windows tr')].map(row => [...row.cells].map(cell => cell.innerText))"  # noqa: E501
        rows: list[list[str]] = self.run(script)
        return rows

    def minute(self, section: str) -> dict[str, str]:
        script = "return Object.fromEntries([...document.querySelectorAll(`#${arguments[0]} [data-field]`)].map(e => [e.dataset.field, e.innerText]))"  # noqa: E501
        fields: dict[str, str] = self.run(script, section)
        return fields

    def run(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def shows(self, selector: str, text: str) -> None:
        """Wait until the element's text contains this one."""
        eventually(lambda: text in self.text(selector), f"{selector} shows {text!r}")

    def refreshes(self) -> list[dict[str, Any]]:
        """The requests for data since the last `clearResourceTimings`."""
        script = "return JSON.stringify(performance.getEntriesByType('resource').filter(e => e.name.includes('/analytics/windows')))"  # noqa: E501
        found: list[dict[str, Any]] = json.loads(self.run(script))
        return found

    def draw_ms(self) -> float:
        """How long the last drawing took, 0 before the first."""
        script = "return performance.getEntriesByName('draw').at(-1)?.duration ?? 0"
        return float(self.run(script))

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(path))


def as_shown(row: Row) -> dict[str, str]:
    """The texts that stand for a row."""
    start: datetime = row["window_start"]
    day = "" if start.date() == datetime.now(UTC).date() else f"{start:%Y-%m-%d} "
    return {
        "when": f"{day}{start:%H:%M}–{row['window_end']:%H:%M} UTC",
        "sales": f"{row['total_sales']:,.2f}",
        "orders": f"{row['total_orders']:,}",
        "average": f"{row['average_order_value']:,.2f}",
        "top": row["top_product"],
    }


def as_table_row(row: Row) -> list[str]:
    shown = as_shown(row)
    return [
        shown["when"].removesuffix(" UTC"),
        shown["sales"],
        shown["orders"],
        shown["average"],
        shown["top"],
    ]
