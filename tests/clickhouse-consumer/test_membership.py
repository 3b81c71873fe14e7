"""What the consumer does differently from kafka-python to join its group."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka.errors import UnknownError

import topic
from fakes import TOPIC
from pairs import RealPair, join
from servers import Servers
from settings import Settings
from waiting import eventually

UNANSWERED_SEC = 6  # a heartbeat is due after 2


def test_a_consumer_wants_to_rejoin_until_it_has_rejoined() -> None:
    kafka = topic.connect_kafka(Settings(kafka_bootstrap_servers="localhost:1"))
    try:
        coordinator = kafka._coordinator
        coordinator.rejoin_needed = False  # it joined before there was a partition to assign
        coordinator._joined_subscription = {TOPIC}
        coordinator._assignment_snapshot = {TOPIC: set()}
        coordinator._metadata_snapshot = {TOPIC: {0, 1, 2}}
        assert coordinator.need_rejoin()
        coordinator._assignment_snapshot = coordinator._metadata_snapshot  # the join has begun
        assert coordinator.need_rejoin()
    finally:
        kafka.close()


@pytest.mark.services
def test_an_answer_that_arrives_between_two_polls_ends_the_join(real_pair: RealPair) -> None:
    first, second = real_pair.new_consumer(), real_pair.new_consumer()
    join(first)
    real_pair.share(first, second)
    first._coordinator.rejoin_needed = True  # it leads the group, so all have to join again

    def is_joining() -> bool:
        topic.poll(first, 0.01, 1)
        return first._coordinator._join_task is not None

    def has_answer() -> bool:
        topic.poll(second, 0.1, 1)
        return bool(first._coordinator._join_task.is_done)

    eventually(is_joining, "the first consumer asks to join again", interval_sec=0)
    eventually(has_answer, "Kafka has answered the first one", interval_sec=0)
    generation = first._coordinator._generation
    topic.poll(first, 1, 1)
    assert first._coordinator._generation is generation
    assert topic.is_member(first)


@pytest.mark.services
def test_polls_wait_while_the_broker_does_not_answer(
    real_pair: RealPair, real_servers: Servers
) -> None:
    kafka = real_pair.new_consumer()
    join(kafka)
    with frozen_broker(real_servers):
        end = time.monotonic() + UNANSWERED_SEC
        while time.monotonic() < end:
            topic.poll(kafka, 1, 1)
        unanswered = [future for future in kafka._fetcher._fetch_futures if not future.is_done]
        assert unanswered
        # Each poll leaves some; without a wait, there are thousands.
        assert max(len(future._callbacks) for future in unanswered) < 40 * UNANSWERED_SEC


@contextmanager
def frozen_broker(servers: Servers) -> Iterator[None]:
    pid = int((Path(servers.environment["STACK_DIR"]) / "pids" / "kafka").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        eventually(lambda: creates_topics(servers), "Kafka creates topics again")


def creates_topics(servers: Servers) -> bool:
    """Whether the broker creates a topic. It fails until a session that has expired is replaced."""
    try:
        with RealPair(servers):
            return True
    except UnknownError:
        return False
