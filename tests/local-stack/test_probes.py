"""How a probe tells whether a service answers."""

import os
import socket
import time
from pathlib import Path

import pytest

import probes
from ports import StackSettings

SERVICE = "spark-job"


@pytest.fixture
def stack(tmp_path: Path) -> StackSettings:
    return StackSettings(tmp_path)


def touch(file: Path, age_sec: float) -> None:
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.utime(file, (time.time() - age_sec,) * 2)


def heartbeat_problem(stack: StackSettings) -> str:
    return probes.problem(probes.heartbeat(SERVICE), stack)


def test_a_service_is_healthy_while_it_touches_its_file(stack: StackSettings) -> None:
    touch(stack.health_file(SERVICE), age_sec=probes.HEARTBEAT_SEC - 5)

    assert heartbeat_problem(stack) == ""


def test_a_service_needs_a_heartbeat(stack: StackSettings) -> None:
    assert heartbeat_problem(stack) == "no heartbeat since its start"


def test_an_old_heartbeat_is_not_enough(stack: StackSettings) -> None:
    touch(stack.health_file(SERVICE), age_sec=40)

    assert heartbeat_problem(stack) == "last heartbeat 40 s ago"


def test_a_problem_is_one_line(stack: StackSettings) -> None:
    def fails(_: StackSettings) -> None:
        raise probes.NotReady("first\nsecond")

    def fails_without_a_text(_: StackSettings) -> None:
        raise EOFError

    assert probes.problem(fails, stack) == "first"
    assert probes.problem(fails_without_a_text, stack) == "EOFError"


def test_an_error_of_the_code_is_not_taken_for_a_problem(stack: StackSettings) -> None:
    with pytest.raises(ZeroDivisionError):
        probes.problem(lambda _: print(1 / 0), stack)


@pytest.mark.usefixtures("ipv6_comes_first")
@pytest.mark.parametrize(
    "probe", [probes.zookeeper, probes.kafka, probes.clickhouse_server, probes.spark_master]
)
def test_another_program_on_ipv6_is_not_taken_for_a_service(
    probe: probes.Probe, tmp_path: Path, ipv6_only_server: socket.socket
) -> None:
    port = ipv6_only_server.getsockname()[1]
    stack = StackSettings(
        tmp_path,
        zookeeper_port=port,
        kafka_port=port,
        clickhouse_port=port,
        spark_master_webui_port=port,
    )
    assert "refused" in probes.problem(probe, stack)


def test_a_server_that_does_not_listen_has_a_problem(tmp_path: Path) -> None:
    stack = StackSettings.on_free_ports(tmp_path)

    for probe in (probes.zookeeper, probes.kafka, probes.clickhouse_server, probes.spark_master):
        assert "refused" in probes.problem(probe, stack)
