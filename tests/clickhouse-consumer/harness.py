"""A loader and its monitor with fakes around them."""

import logging
from typing import Any

import pytest

import consumer
from fakes import Broker, FakeClickHouse, FakeClock, FakeKafka
from loader import Loader
from reporting import Monitor
from settings import Settings


class Harness:
    """One consumer with the given settings; one of several if it shares a broker and a clock."""

    def __init__(
        self,
        settings: Settings | None = None,
        broker: Broker | None = None,
        clock: FakeClock | None = None,
        **changes: Any,
    ) -> None:
        self.settings = settings or Settings(**changes)
        self.clock = clock or FakeClock()
        self.broker = broker or Broker()
        self.kafka = FakeKafka(self.broker, self.clock)
        self.clickhouse = FakeClickHouse(self.clock)
        self.loader = Loader(self.kafka, self.clickhouse, self.settings, self.clock)
        self.monitor = Monitor(self.kafka, self.settings, self.clock)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            consumer.step(self.loader, self.monitor)

    def step_for(self, seconds: float) -> None:
        """Step until so many seconds of the fake clock are over."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.step()


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """What is logged at that level or above it."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
