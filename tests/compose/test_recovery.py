"""Services in Docker are killed, restarted, scaled, removed and rebuilt; the numbers stay exact."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose import BUILD_SEC, CLIENT, PROJECT, SERVICES, Compose
from polling import eventually_equal, eventually_matches

pytestmark = pytest.mark.services


def test_killing_each_service_in_turn_loses_nothing(compose: Compose) -> None:
    for service in SERVICES:
        (container,) = compose.containers(service)
        with ThreadPoolExecutor() as pool:
            sent = pool.submit(compose.produce, COUNT=500)
            compose.run(["docker", "kill", "-s", "KILL", container["Id"]], 60)
            # Docker does not restart it by itself: it takes `docker kill` for a deliberate stop.
            compose("start", service)
            sent.result()
        compose.wait_until_healthy()
    assert "all equal" in compose.verify()


def is_process_of(container: dict[str, Any]) -> bool:
    """False where Docker runs elsewhere: then its process ids mean other processes here."""
    try:
        environment = psutil.Process(container["State"]["Pid"]).environ()
    except psutil.Error:
        return False
    return bool(environment.get("HOSTNAME") == container["Config"]["Hostname"])


def test_docker_restarts_every_service_that_dies(compose: Compose) -> None:
    containers = compose.containers(*SERVICES)
    pids = [container["State"]["Pid"] for container in containers]
    if not all(is_process_of(container) for container in containers):
        pytest.skip("the processes of the containers cannot be killed from here")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def not_restarted() -> list[str]:
        ids = [container["Id"] for container in containers]
        inspected = json.loads(compose.run(["docker", "inspect", *ids], 60))
        return [each["Name"] for each in inspected if not each["RestartCount"]]

    eventually_equal(not_restarted, [], "Docker restarts every container")
    compose.wait_until_healthy()
    compose.produce(COUNT=500, RATE=0)
    assert "all equal" in compose.verify()


def test_rows_and_offsets_survive_down_and_up(filled: Compose) -> None:
    assert "all equal" in filled.verify()
    orders = filled.stored_orders()
    filled("down")
    filled("up", "-d")
    filled.wait_until_healthy()
    assert filled.stored_orders() == orders
    filled.produce(COUNT=500, RATE=0)
    assert "all equal" in filled.verify()


def test_workers_and_consumers_scale_while_sales_arrive(compose: Compose) -> None:
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(compose.produce, RATE=100, DURATION_SEC=60)
        for number in (2, 1):
            scale = (f"--scale={name}={number}" for name in ("spark-worker", "clickhouse-consumer"))
            compose("up", "-d", *scale)
            compose.wait_until_healthy()
            assert len(compose.containers("spark-worker")) == number
            assert len(compose.containers("clickhouse-consumer")) == number
        sent.result()
    assert "all equal" in compose.verify()


def test_the_table_can_be_rebuilt_as_the_guide_says(filled: Compose, tmp_path: Path) -> None:
    guide = (PROJECT / "docs" / "production.md").read_text()
    keep, put_back = (
        line.replace("older.native", str(tmp_path / "older.native")).replace("'T'", "'2021-01-01'")
        for line in re.findall(r"^ +(curl .*older\.native)$", guide, re.MULTILINE)
    )
    # A window from before the oldest record in Kafka.
    row = "'2020-01-01 00:00:00', '2020-01-01 00:01:00', 1, 1, 1, 'P0001', now()"
    insert = f"INSERT INTO aggregated_analytics VALUES ({row})"
    try:
        assert "all equal" in filled.verify()
        filled.shell(f'docker-compose exec clickhouse-server {CLIENT} --query "{insert}"')
        orders = filled.stored_orders()
        filled("stop", "spark-job")
        filled.shell(keep)
        assert (tmp_path / "older.native").stat().st_size > 0
        filled("down")
        project = filled.environment["COMPOSE_PROJECT_NAME"]
        volumes = [f"{project}_{name}" for name in ("checkpoints", "clickhouse-data")]
        filled.run(["docker", "volume", "rm", *volumes], 60)
        filled("up", "--build", "-d", timeout_sec=BUILD_SEC)
        filled.wait_until_healthy()
        assert "all equal" in filled.verify()
        assert filled.stored_orders() == orders - 1
        filled.shell(put_back)
        assert filled.stored_orders() == orders
    finally:
        filled.remove()  # `make verify` would report that window in other tests


def test_a_first_start_downloads_nothing_and_logs_no_secret_and_no_stack_trace(
    built: Compose,
) -> None:
    built.remove()
    offline = Compose("docker-compose.yml", "tests/compose/offline.yml")
    try:
        offline("up", "-d")
        offline.wait_until_healthy()
        offline("--profile", "producer", "up", "-d")
        eventually_matches(
            offline.stored_orders,
            lambda orders: orders > 100,
            "the table has 100 orders of a producer in a container",
        )
        offline("stop", "producer")
        assert "all equal" in offline.verify()
        for service in ("spark-job", "clickhouse-consumer"):
            assert "kafka_bootstrap_servers='kafka:29092'" in offline("logs", service)
        everything = offline("logs")
        assert "MySecret" not in everything
        assert not re.search(r"Traceback|^.*\|\s+at [\w.$]+\(", everything, re.MULTILINE)
    finally:
        offline.remove()
