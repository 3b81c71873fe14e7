"""ClickHouse behind TLS."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from paths import PROJECT
from relay import relay
from secured_pipeline import SecuredPipeline
from waiting import eventually

pytestmark = pytest.mark.services


@pytest.fixture
def tls(pipeline: SecuredPipeline) -> Iterator[dict[str, str]]:
    """The variables for ClickHouse's native protocol over TLS."""
    with relay(pipeline.stack.clickhouse_port, pipeline.security / "broker.pem") as proxy:
        yield {
            "CLICKHOUSE_SECURE": "true",
            "CLICKHOUSE_CAFILE": f"{pipeline.security}/ca.pem",
            "CLICKHOUSE_PORT": proxy.address.split(":")[1],
        }


def test_the_consumer_stores_and_verify_reads_over_tls(
    pipeline: SecuredPipeline, tls: dict[str, str]
) -> None:
    pipeline.stack.stop("clickhouse-consumer")
    before = pipeline.stored_orders()
    pipeline.produce(100)
    with pipeline.running(
        "clickhouse-consumer", {**pipeline.login("clickhouse-consumer"), **tls}
    ) as run:
        eventually(lambda: pipeline.stored_orders() > before, "the rows are stored")
        with pipeline.running("verify", {**pipeline.login("verify"), **tls}) as verify:
            assert verify.wait_for_end() == 0, verify.log()
        assert "Traceback" not in run.log()


def test_an_unknown_authority_is_named_in_one_line(
    pipeline: SecuredPipeline, tls: dict[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    settings = {**pipeline.login("clickhouse-consumer"), **tls, "CLICKHOUSE_CAFILE": str(other)}
    with pipeline.running("clickhouse-consumer", settings) as run:
        assert "CLICKHOUSE_CAFILE" in run.wait_for("CERTIFICATE_VERIFY_FAILED")
        assert "Traceback" not in run.log()


def test_make_query_asks_over_tls(pipeline: SecuredPipeline) -> None:
    with relay(pipeline.stack.clickhouse_http_port, pipeline.security / "broker.pem") as proxy:
        tls = {"CLICKHOUSE_SECURE": "true", "CLICKHOUSE_CAFILE": f"{pipeline.security}/ca.pem"}
        shown = subprocess.run(
            [sys.executable, PROJECT / "local-stack" / "query.py", "SELECT 1 + 1"],
            env=pipeline.environment(**tls, CLICKHOUSE_HTTP_PORT=proxy.address.split(":")[1]),
            capture_output=True,
            text=True,
        )
    assert "2" in shown.stdout, shown.stderr
