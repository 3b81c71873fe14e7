"""Some services of the stack as real processes."""

import os
import signal
from pathlib import Path

import pytest

from ports import is_free
from servers import run, servers
from services import ports_of
from stack import Stack
from waiting import eventually

SERVICES = ("zookeeper", "kafka", "topics")

pytestmark = pytest.mark.services


def test_up_with_names_starts_only_these_and_down_stops_them(tmp_path: Path) -> None:
    with servers(tmp_path, *SERVICES) as started:
        stack = Stack.from_env(started.environment)
        answers = {status.name: not status.problem for status in stack.status()}
        assert answers == dict.fromkeys(SERVICES, True)
        others = ["clickhouse-server", "spark-master", "spark-job", "clickhouse-consumer"]
        assert [status.state for status in stack.status(others)] == ["STOPPED"] * 4
        assert not is_free(stack.kafka_port)
        assert is_free(stack.clickhouse_port)

    assert not stack.is_up()
    assert all(map(is_free, ports_of(SERVICES, stack)))


def test_up_again_starts_what_is_missing(tmp_path: Path) -> None:
    with servers(tmp_path, "zookeeper") as started:
        stack = Stack.from_env(started.environment)
        zookeeper = stack.pid("zookeeper")

        run("up", "zookeeper", "clickhouse-server", environment=started.environment)

        assert {status.name: status.problem for status in stack.status()} == {
            "zookeeper": "",
            "clickhouse-server": "",
        }
        assert stack.pid("zookeeper") == zookeeper


def test_down_finds_the_services_of_a_killed_supervisord(tmp_path: Path) -> None:
    with servers(tmp_path, "zookeeper") as started:
        stack = Stack.from_env(started.environment)
        os.kill(stack.pid("supervisord"), signal.SIGKILL)
        eventually(lambda: not stack.is_up(), "supervisord has ended", deadline_sec=20)
        assert [status.state for status in stack.status()] == ["ORPHANED"]
        said = list[str]()

        stack.down(said.append)

        assert [line.partition(" in ")[0] for line in said] == [
            "Stopped zookeeper (left by a killed supervisord)"
        ]
        assert is_free(stack.zookeeper_port)
