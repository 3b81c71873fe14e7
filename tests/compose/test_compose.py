"""Black-box tests of docker-compose.yml, through Compose alone; each goes on from the last."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose import BUILD_SEC, CLIENT, PROJECT, SERVICES, Compose, eventually

RUNS_AS_ROOT: set[str] = {"clickhouse-server"}  # its entrypoint, which then becomes user 101


def test_the_file_is_clean() -> None:
    assert Compose()("config", "-q") == ""


def test_transactions_from_the_host_reach_the_table(compose: Compose) -> None:
    totals = compose.produce(DURATION_SEC=60).splitlines()[-1]
    assert re.search(r"acknowledged [1-9]\d+, failed 0", totals)
    assert re.search(r"verified: .* all equal", compose.verify())


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("transactions_raw", {"order_id", "product_id", "total_amount", "payment_type"}),
        ("transactions_agg", {"window_start", "total_sales", "total_orders", "top_product"}),
    ],
)
def test_anyone_can_look_into_a_topic(compose: Compose, topic: str, fields: set[str]) -> None:
    output = compose.shell(
        "docker-compose exec kafka kafka-console-consumer --bootstrap-server kafka:29092"
        f" --topic {topic} --from-beginning --max-messages 5"
    )
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert 1 <= len(messages) <= 5  # less where one of them is no JSON, on purpose
    assert "Processed a total of 5 messages" in output
    assert all(fields <= set(message) for message in messages)


def test_anyone_can_query(compose: Compose) -> None:
    output = compose.shell(
        "docker-compose exec clickhouse-server clickhouse-client --user consumer"
        ' --password MySecret --query "SELECT * FROM aggregated_analytics LIMIT 5;"'
    )
    rows = [line.split("\t") for line in output.splitlines()]
    assert 1 <= len(rows) <= 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:00", row[0]) for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


def test_anyone_can_watch_the_live_page(compose: Compose) -> None:
    page = "http://localhost:8123/analytics"
    assert "<title>Purchase analytics</title>" in compose.shell(f"curl --silent --fail {page}")
    user = "--header X-ClickHouse-User:consumer --header X-ClickHouse-Key:MySecret"
    answer = compose.shell(f"curl --silent --fail {user} '{page}/windows?since=0'")
    _, _, total, windows = json.loads(answer)
    assert total == len(windows) >= 1


def test_logs_tell_the_settings_and_no_secret(compose: Compose) -> None:
    for service in ("spark-job", "clickhouse-consumer"):
        log = compose("logs", service)
        assert "kafka_bootstrap_servers='kafka:29092'" in log
    everything = compose("logs")
    assert "MySecret" not in everything
    assert not re.search(r"Traceback|^.*\|\s+at [\w.$]+\(", everything, re.MULTILINE)


def test_ports_are_open_to_this_machine_only(compose: Compose) -> None:
    bindings = [
        binding
        for service in SERVICES
        for container in compose.containers(service)
        for published in (container["NetworkSettings"]["Ports"] or {}).values()
        for binding in published or []
    ]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}
    ports = {int(binding["HostPort"]) for binding in bindings}
    assert ports == {9092, 9000, 8123, 7077, 8080, 4040}


@pytest.mark.parametrize("service", sorted(set(SERVICES) - RUNS_AS_ROOT))
def test_no_service_runs_as_root(compose: Compose, service: str) -> None:
    for container in compose.containers(service):
        assert container["Config"]["User"] not in ("", "0", "root")


def test_every_service_has_a_memory_limit(compose: Compose) -> None:
    limits = {
        service: container["HostConfig"]["Memory"]
        for service in SERVICES
        for container in compose.containers(service)
    }
    assert all(limits.values()), limits


def test_the_whole_stack_stays_below_4_gib_at_1000_per_second(compose: Compose) -> None:
    compose.produce(RATE=1000, DURATION_SEC=30)
    ids = [container["Id"] for service in SERVICES for container in compose.containers(service)]
    stats = compose.run(
        ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", *ids], timeout_sec=60
    )
    unit = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    used = [re.match(r"([\d.]+)(\w+) /", line) for line in stats.splitlines()]
    total = sum(float(match[1]) * unit[match[2]] for match in used if match)
    assert len(used) == len(ids)
    assert total < 4 * 2**30, stats


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_costs_nothing(compose: Compose, service: str) -> None:
    (container,) = compose.containers(service)
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(compose.produce, COUNT=1000)
        compose.run(["docker", "kill", "-s", "KILL", container["Id"]], 60)
        # Docker takes a container that was killed through it for stopped on purpose.
        compose("start", service)
        sent.result()
    assert "all equal" in compose.verify()
    compose.wait_until_healthy()


def is_process_of(container: dict[str, Any]) -> bool:
    """Not so where Docker runs elsewhere: there its process ids are of others on this machine."""
    try:
        environment = psutil.Process(container["State"]["Pid"]).environ()
    except psutil.Error:
        return False
    return environment.get("HOSTNAME") == container["Config"]["Hostname"]


def test_docker_restarts_whatever_dies_by_itself(compose: Compose) -> None:
    containers = [container for service in SERVICES for container in compose.containers(service)]
    pids = [container["State"]["Pid"] for container in containers]
    if not all(is_process_of(container) for container in containers):
        pytest.skip("the processes of the containers cannot be killed from here")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def restarts() -> list[int]:
        ids = [container["Id"] for container in containers]
        return [
            each["RestartCount"]
            for each in json.loads(compose.run(["docker", "inspect", *ids], 60))
        ]

    eventually(lambda: all(restarts()), "every container was restarted")
    compose.wait_until_healthy()
    compose.produce(COUNT=500, RATE=0)
    assert "all equal" in compose.verify()


def test_rows_and_offsets_survive_down_and_up(compose: Compose) -> None:
    orders = compose.stored_orders()
    compose("down")
    compose("up", "-d")
    compose.wait_until_healthy()
    assert compose.stored_orders() == orders
    compose.produce(COUNT=500, RATE=0)
    assert "all equal" in compose.verify()


def test_workers_and_consumers_scale(compose: Compose) -> None:
    compose("up", "-d", "--scale", "spark-worker=2", "--scale", "clickhouse-consumer=2")
    compose.wait_until_healthy()
    assert len(compose.containers("spark-worker")) == 2
    assert len(compose.containers("clickhouse-consumer")) == 2
    compose.produce(COUNT=2000, RATE=500)
    assert "all equal" in compose.verify()


def test_the_whole_table_is_computed_anew_as_the_guide_says(
    compose: Compose, tmp_path: Path
) -> None:
    guide = (PROJECT / "docs" / "production.md").read_text()
    keep, put_back = (
        line.replace("older.native", str(tmp_path / "older.native")).replace("'T'", "'2021-01-01'")
        for line in re.findall(r"^ +(docker-compose exec .* older\.native)$", guide, re.MULTILINE)
    )
    forgotten = "'2020-01-01 00:00:00', '2020-01-01 00:01:00', 1, 1, 1, 'P0001', now()"
    insert = f"INSERT INTO aggregated_analytics VALUES ({forgotten})"
    compose.shell(f'docker-compose exec clickhouse-server {CLIENT} --query "{insert}"')
    orders = compose.stored_orders()
    compose("stop", "spark-job")
    compose.shell(keep)
    compose("down")
    project = compose.environment["COMPOSE_PROJECT_NAME"]
    volumes = [f"{project}_{name}" for name in ("checkpoints", "clickhouse-data")]
    compose.run(["docker", "volume", "rm", *volumes], 60)
    compose("up", "--build", "-d", timeout_sec=BUILD_SEC)
    compose.wait_until_healthy()
    assert "all equal" in compose.verify()
    assert compose.stored_orders() == orders - 1
    compose.shell(put_back)
    assert compose.stored_orders() == orders


def test_nothing_is_downloaded_when_a_container_starts(compose: Compose) -> None:
    compose("down", "--volumes")
    offline = Compose("docker-compose.yml", "tests/compose/offline.yml")
    offline("up", "-d")
    offline.wait_until_healthy()
    offline("--profile", "producer", "up", "-d")
    eventually(lambda: offline.stored_orders() > 100, "a producer in a container fills the table")
    offline("stop", "producer")
    assert "all equal" in offline.verify()
    offline("--profile", "producer", "down", "--volumes")
