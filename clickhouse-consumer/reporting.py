"""Show how the loader is doing: log lines, a health file, a watchdog."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from kafka import KafkaConsumer

import topic
from refusals import why
from settings import Settings

logger = logging.getLogger(__name__)

REPORT_INTERVAL_SEC = 10.0
WAIT_INTERVAL_SEC = 5.0
HEALTH_INTERVAL_SEC = 1.0
STUCK_REPORTS = 3


class Stuck(Exception):
    """There are records, but Kafka's client does not return them; a new client will."""


@dataclass
class Totals:
    """What the loader has done since the start."""

    polled: int = 0
    stored: int = 0
    inserts: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # by reason
    retries: int = 0
    last_stored_at: float = 0.0  # seconds since the epoch
    last_window: datetime | None = None

    def __str__(self) -> str:
        skipped = self.skipped.total()
        return f"stored {self.stored} rows in {self.inserts} inserts, skipped {skipped} records"

    def since(self, earlier: "Totals") -> "Totals":
        return replace(
            self,
            polled=self.polled - earlier.polled,
            stored=self.stored - earlier.stored,
            inserts=self.inserts - earlier.inserts,
            skipped=self.skipped - earlier.skipped,
            retries=self.retries - earlier.retries,
        )


class Monitor:
    """Looks at the totals after each step of the loader."""

    def __init__(
        self,
        kafka: KafkaConsumer,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kafka, self.settings, self.clock = kafka, settings, clock
        self.health_file = HealthFile(settings.health_file, clock)
        self.reporter, self.watchdog = Reporter(), Watchdog()
        self.next_report_at = clock() + WAIT_INTERVAL_SEC
        self.lag: int | None = None  # at the latest report

    def look(self, totals: Totals, is_waiting: bool) -> None:
        """Touch the health file; at intervals, log a report and ask the watchdog.

        Raises Stuck or Refused.

        While the loader is waiting for ClickHouse, the service is not healthy, and takes no records
        on purpose.
        """
        if topic.is_member(self.kafka) and not is_waiting:
            self.health_file.touch()
        if self.clock() < self.next_report_at:
            return
        self.lag = lag = topic.lag(self.kafka)
        if lag is None:
            topic.raise_if_denied(self.kafka)
            message = "waiting for Kafka at %s to assign partitions of %s%s"
            servers, agg_topic = self.settings.kafka_bootstrap_servers, self.settings.agg_topic
            logger.warning(message, servers, agg_topic, why())
            self.next_report_at = self.clock() + WAIT_INTERVAL_SEC
            return
        self.reporter.report(totals, lag)
        self.watchdog.check(totals.polled, 0 if is_waiting else lag)
        self.next_report_at = self.clock() + REPORT_INTERVAL_SEC


class Reporter:
    """Logs what has been done since its last report."""

    def __init__(self) -> None:
        self.reported = Totals()

    def report(self, totals: Totals, lag: int) -> None:
        """Log one line, or none if nothing has been done and there is no lag."""
        done = totals.since(self.reported)
        if done.stored or done.skipped or lag:
            logger.info("%s, lag %d, last window %s", done, lag, done.last_window)
        self.reported = deepcopy(totals)


class Watchdog:
    """Notices a Kafka client that no longer returns records although there are some."""

    def __init__(self) -> None:
        self.polled = self.idle_checks = 0

    def check(self, polled: int, lag: int) -> None:
        """Compare with the check before. Raises Stuck if nothing was polled for several checks.

        `polled` is the number of records polled since the start, `lag` of those not polled yet.
        """
        is_idle = lag and polled == self.polled
        self.idle_checks = self.idle_checks + 1 if is_idle else 0
        self.polled = polled
        if self.idle_checks >= STUCK_REPORTS:
            raise Stuck(f"lag {lag}, but no record polled in {STUCK_REPORTS} reports: exiting")


class HealthFile:
    """A file whose age is the time for which the service has not been healthy."""

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self.path, self.clock = path, clock
        self.touch_at = clock()

    def touch(self) -> None:
        """Touch the file, if there is one, at most once a second."""
        if self.path and self.clock() >= self.touch_at:
            self.path.touch()
            self.touch_at = self.clock() + HEALTH_INTERVAL_SEC
