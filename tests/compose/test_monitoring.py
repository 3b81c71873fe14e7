"""docker-compose.monitoring.yml: the real Prometheus asks the real services.

There may be no image of Grafana, so its dashboard is tested by what it asks Prometheus.
"""

import json
from collections.abc import Iterator

import pytest

from compose import PROJECT, Compose
from monitored import Monitored
from waiting import eventually

pytestmark = pytest.mark.services

DASHBOARD = PROJECT / "monitoring" / "grafana" / "dashboards" / "pipeline.json"
SERVICES = ("producer", "spark-job", "clickhouse-consumer")


@pytest.fixture(scope="module")
def monitored(built: Compose) -> Iterator[Monitored]:
    built.restore()
    monitored = Monitored()
    try:
        monitored.start()
        yield monitored
    finally:
        monitored.stop()


def queries() -> list[tuple[str, str]]:
    """Title of the panel and query, of all that the dashboard asks."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [(panel["title"], each["expr"]) for panel in panels for each in panel["targets"]]


def test_every_query_of_the_dashboard_returns_data(monitored: Monitored) -> None:
    def numbers(query: str) -> list[str]:
        values = [each["value"][1] for each in monitored.ask(query)]
        return [value for value in values if value != "NaN"]  # a rate of nothing yet

    for title, query in queries():
        eventually(lambda query=query: numbers(query), f"data for {title!r}: {query}", 120)


def test_every_service_is_asked_and_answers(monitored: Monitored) -> None:
    def jobs_that_answer() -> set[str]:
        return {each["metric"]["job"] for each in monitored.ask("up == 1")}

    configured = {*SERVICES, "clickhouse-server", "spark-executors"}
    eventually(lambda: jobs_that_answer() == configured, f"{configured} answer", 60)


def test_no_alert_fires_while_sales_flow(monitored: Monitored) -> None:
    assert monitored.ask("up"), "Prometheus has asked nobody"
    assert monitored.ask('ALERTS{alertstate="firing"}') == []
    rules = [rule for group in monitored.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("command", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_promtool_accepts_the_configuration_and_the_tests_of_the_rules(
    monitored: Monitored, command: str
) -> None:
    assert "SUCCESS" in monitored.in_prometheus(f"promtool {command}")


def test_every_alert_has_a_test_and_an_action_in_the_documentation(monitored: Monitored) -> None:
    rules = [rule for group in monitored.get("rules")["groups"] for rule in group["rules"]]
    alerts = {rule["name"] for rule in rules if rule["type"] == "alerting"}
    tests = (PROJECT / "monitoring" / "alerts_test.yml").read_text()
    page = (PROJECT / "docs" / "production.md").read_text()
    assert len(alerts) == 13
    for alert in alerts:
        assert f"alertname: {alert}\n        exp_alerts:" in tests, alert
        assert f"`{alert}`" in page, alert


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing_to_say_about_the_metrics(
    monitored: Monitored, service: str
) -> None:
    wget = f"wget --quiet --output-document - http://{service}:9100/metrics"
    output = monitored.in_prometheus(
        f"{wget} > /tmp/metrics && promtool check metrics < /tmp/metrics"
    )
    assert output == ""
    assert f"purchases_{service.split('-')[-1]}_" in monitored.in_prometheus("cat /tmp/metrics")
