"""docker-compose.external.yml, with the Kafka and the ClickHouse of another Compose project."""

import json
import re
from collections.abc import Iterator

import pytest

from compose import BUILD_SEC, Compose, has_compose_2_24, is_healthy
from waiting import eventually

pytestmark = pytest.mark.services

OWN_PORTS = ("SPARK_MASTER_PORT", "SPARK_MASTER_WEBUI_PORT", "SPARK_UI_PORT")
SERVICES = ("spark-master", "spark-worker", "spark-job", "clickhouse-consumer")


@pytest.fixture(scope="module")
def external(built: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The services alone, in the place of those of the other project."""
    if not has_compose_2_24():
        pytest.skip("docker-compose.external.yml needs `docker compose` 2.24 or newer")
    folder = tmp_path_factory.mktemp("external")
    settings, secrets = folder / "settings.env", folder / "secrets"
    secrets.mkdir()
    (secrets / "password").write_text("MySecret\n")
    settings.write_text(
        "KAFKA_BOOTSTRAP_SERVERS=kafka:29092\n"
        "CLICKHOUSE_HOST=clickhouse-server\n"
        "CLICKHOUSE_PASSWORD_FILE=secrets/password\n"
    )
    files = ("docker-compose.external.yml", "tests/compose/external.yml")
    ours = Compose(*files, command="docker compose")
    ours.environment |= {
        "COMPOSE_PROJECT_NAME": "purchase-analytics-external",
        "ENV_FILE": str(settings),
        "SECRETS": str(secrets),
        **{variable: str(21700 + number) for number, variable in enumerate(OWN_PORTS)},
    }
    built("stop", "spark-job", "clickhouse-consumer", "spark-worker")
    try:
        ours("up", "--build", "-d", timeout_sec=BUILD_SEC)
        eventually(
            lambda: all(map(is_healthy, ours.containers(*SERVICES))), "the services are healthy"
        )
        yield ours
    finally:
        ours("down", "--volumes")


def test_the_services_alone_count_exactly(built: Compose, external: Compose) -> None:
    assert len(external.containers(*SERVICES)) == len(SERVICES)
    built.produce(DURATION_SEC=10)
    assert re.search(r"verified: .* all equal", built.verify())


def test_docker_inspect_does_not_show_a_password_that_is_in_a_file(external: Compose) -> None:
    shown = json.dumps(external.containers(*SERVICES))
    assert "clickhouse-consumer" in shown
    assert "MySecret" not in shown
