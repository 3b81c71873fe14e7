"""What a user sees of a stack."""

import re
import subprocess
from pathlib import Path

import pytest

from ports import StackSettings
from status import ServiceStatus, next_steps, service_status, table


def test_the_table_shows_the_address_or_the_problem() -> None:
    statuses = [
        ServiceStatus("kafka", "RUNNING", 17, 61.4, "localhost:9092", ""),
        ServiceStatus("spark-job", "BACKOFF", 0, 0, "http://localhost:4040", "is BACKOFF"),
    ]

    assert table(statuses).splitlines() == [
        "service               state         pid      up  answers  address",
        "kafka                 RUNNING        17    61 s  yes      localhost:9092",
        "spark-job             BACKOFF         -       -  no       is BACKOFF",
    ]


def test_a_service_that_was_never_started_is_stopped(tmp_path: Path) -> None:
    assert service_status(StackSettings(tmp_path), "kafka", None) == ServiceStatus(
        "kafka", "STOPPED", 0, 0, "localhost:9092", "is not supervised"
    )


def test_a_service_that_supervisord_does_not_run_is_not_probed(tmp_path: Path) -> None:
    process = {"statename": "BACKOFF", "pid": 0, "start": 100, "now": 110, "exitstatus": 1}

    assert service_status(StackSettings(tmp_path), "kafka", process) == ServiceStatus(
        "kafka", "BACKOFF", 0, 0, "localhost:9092", "is BACKOFF"
    )


def test_topics_that_failed_are_not_done(tmp_path: Path) -> None:
    process = {"statename": "EXITED", "pid": 0, "start": 100, "now": 110, "exitstatus": 1}

    assert service_status(StackSettings(tmp_path), "topics", process).problem == "is EXITED"


@pytest.mark.parametrize("name", ["with space", "(1)", "$HOME 'x'"])
def test_the_next_steps_can_be_pasted(name: str, tmp_path: Path) -> None:
    (line,) = re.findall("make local-down|STACK_DIR=.*", next_steps(StackSettings(tmp_path / name)))
    shown = line.replace("make local-down", "sh -c 'echo $STACK_DIR'")

    pasted = subprocess.run(["sh", "-c", shown], capture_output=True, text=True)

    assert pasted.stdout == f"{tmp_path / name}\n", pasted.stderr


def test_the_next_steps_are_for_the_stack_that_was_started(tmp_path: Path) -> None:
    usual = next_steps(StackSettings())
    assert not re.search(r"[A-Z]=", usual.replace("TOPIC=", ""))
    steps = next_steps(
        StackSettings(tmp_path, kafka_port=1, clickhouse_port=2, clickhouse_http_port=3)
    )
    for command in (
        "KAFKA_BOOTSTRAP_SERVERS=localhost:1 .venv/bin/python producer/producer.py",
        "localhost:3/analytics",
        "KAFKA_PORT=1 make topics",
        "CLICKHOUSE_HTTP_PORT=3 make query",
        "KAFKA_PORT=1 CLICKHOUSE_PORT=2 make verify",
        f"STACK_DIR={tmp_path} make local-down",
    ):
        assert command in steps
