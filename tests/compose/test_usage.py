"""What a user sees of docker-compose.yml: commands, ports, logs and limits."""

import json
import re

import pytest

from compose import READER_PASSWORD, SERVICES, Compose

pytestmark = pytest.mark.services

RUNS_AS_ROOT: set[str] = {"clickhouse-server"}  # its entrypoint, which then becomes user 101


def test_the_file_has_no_warning() -> None:
    assert Compose()("config", "-q") == ""


def test_transactions_from_the_host_reach_the_table(compose: Compose) -> None:
    totals = compose.produce(DURATION_SEC=30).splitlines()[-1]
    assert re.search(r"acknowledged [1-9]\d+, failed 0", totals)
    assert re.search(r"verified: .* all equal", compose.verify())


def test_rejected_records_are_listed(filled: Compose) -> None:
    output = filled.make("rejected", "MAX=3")
    assert len(re.findall(r"^\w+ +partition \d offset \d+ ", output, re.MULTILINE)) == 3
    assert re.search(r"^\d+ records: .* late; 3 shown$", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("transactions_raw", {"order_id", "product_id", "total_amount", "payment_type"}),
        ("transactions_agg", {"window_start", "total_sales", "total_orders", "top_product"}),
    ],
)
def test_the_console_consumer_prints_messages(
    filled: Compose, topic: str, fields: set[str]
) -> None:
    output = filled.shell(
        "docker-compose exec kafka kafka-console-consumer --bootstrap-server kafka:29092"
        f" --topic {topic} --from-beginning --max-messages 5"
    )
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert 1 <= len(messages) <= 5  # fewer if one of them is deliberately no JSON
    assert "Processed a total of 5 messages" in output
    assert all(fields <= set(message) for message in messages)


def test_a_query_returns_one_row_per_window(filled: Compose) -> None:
    output = filled.shell(
        "docker-compose exec clickhouse-server clickhouse-client --user consumer"
        ' --password MySecret --query "SELECT * FROM aggregated_analytics LIMIT 5;"'
    )
    rows = [line.split("\t") for line in output.splitlines()]
    assert 1 <= len(rows) <= 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:00", row[0]) for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


def test_the_reader_sees_one_row_per_window_and_can_only_read(filled: Compose) -> None:
    def ask(sql: str) -> str:
        user = ("--user", "reader", "--password", READER_PASSWORD)
        command = ("clickhouse-client", *user, "--query", sql)
        return filled("exec", "-T", "clickhouse-server", *command)

    windows = ask("SELECT window_start FROM aggregated_analytics").splitlines()
    assert windows
    assert len(set(windows)) == len(windows)
    for statement in ("INSERT INTO aggregated_analytics (total_orders) VALUES (1)", "SHOW USERS"):
        with pytest.raises(AssertionError, match="ACCESS_DENIED"):
            ask(statement)


def test_the_live_page_and_its_data_are_served(filled: Compose) -> None:
    page = "http://localhost:8123/analytics"
    curl = "curl --silent --fail --noproxy localhost"
    assert "<title>Purchase analytics</title>" in filled.shell(f"{curl} {page}")
    user = "--header X-ClickHouse-User:consumer --header X-ClickHouse-Key:MySecret"
    answer = filled.shell(f"{curl} {user} '{page}/windows?since=0'")
    _, _, total, windows = json.loads(answer)
    assert total == len(windows) >= 1


def test_ports_are_open_to_this_machine_only(compose: Compose) -> None:
    bindings = [
        binding
        for container in compose.containers(*SERVICES)
        for published in (container["NetworkSettings"]["Ports"] or {}).values()
        for binding in published or []
    ]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}
    ports = {int(binding["HostPort"]) for binding in bindings}
    assert ports == {9092, 9000, 8123, 7077, 8080, 4040}


@pytest.mark.parametrize("service", sorted(set(SERVICES) - RUNS_AS_ROOT))
def test_the_service_does_not_run_as_root(compose: Compose, service: str) -> None:
    for container in compose.containers(service):
        assert container["Config"]["User"] not in ("", "0", "root")


def test_the_archive_of_classes_fits_java_and_the_jars_of_the_image(compose: Compose) -> None:
    home = "/usr/local/lib/python3.13/site-packages/pyspark"
    options = f"-Xshare:on -XX:SharedArchiveFile={home}/classes.jsa -cp '{home}/jars/*'"
    assert "sharing" in compose.shell(
        f"docker-compose exec spark-worker java {options} -version 2>&1"
    )


def test_every_service_has_a_memory_limit(compose: Compose) -> None:
    limits = {
        service: container["HostConfig"]["Memory"]
        for service in SERVICES
        for container in compose.containers(service)
    }
    assert set(limits) == set(SERVICES)
    assert all(limits.values()), limits


def test_the_whole_stack_stays_below_4_gib_at_1000_per_second(compose: Compose) -> None:
    compose.produce(RATE=1000, DURATION_SEC=30)
    ids = [container["Id"] for container in compose.containers(*SERVICES)]
    stats = compose.run(
        ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", *ids], timeout_sec=60
    )
    unit = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    used = [re.match(r"([\d.]+)(\w+) /", line) for line in stats.splitlines()]
    total = sum(float(match[1]) * unit[match[2]] for match in used if match)
    assert len(used) == len(ids)
    assert total < 4 * 2**30, stats
