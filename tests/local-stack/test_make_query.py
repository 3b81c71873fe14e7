"""A real ClickHouse with a difficult password: `make query`, and the health check of Docker."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import compose_file
from clickhouse_server import CONFIG, ClickHouse
from paths import PROJECT
from stack import Stack

pytestmark = pytest.mark.services

PASSWORD = "pä ß„“ 密 \"$HOME' \\ "
# As one word of the shell, and what must come back.
TEXT = "\"a\" $HOME $$ `id` \\t # 'ä'"
SQL = "SELECT {} FORMAT TSVRaw".format("'" + TEXT.replace("\\", "\\\\").replace("'", "\\'") + "'")


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    folder = tmp_path_factory.mktemp("stack")
    config = Path(shutil.copytree(CONFIG.parent, folder / "config")) / "config.xml"
    users = config.with_name("users.xml")
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    users.write_text(re.sub(r"(?<=sha256_hex>)\w+", digest, users.read_text()))
    clickhouse = ClickHouse(Stack.on_free_ports(folder), config=config)
    try:
        clickhouse.start()
        yield clickhouse
    finally:
        clickhouse.stop()


def make_query(
    clickhouse: ClickHouse, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[bytes]":
    port = str(clickhouse.stack.clickhouse_http_port)
    settings = {"CLICKHOUSE_HTTP_PORT": port, "CONSUMER_PASSWORD": PASSWORD, **variables}
    return subprocess.run(
        ["make", "--silent", "query", *arguments],
        cwd=PROJECT,
        env={**os.environ, **settings},
        capture_output=True,
    )


def test_sql_arrives_as_it_was_typed(clickhouse: ClickHouse) -> None:
    result = make_query(clickhouse, f"SQL={SQL}")

    assert (result.stderr.decode(), result.stdout.decode()) == ("", f"{TEXT}\n")


def test_sql_of_the_environment_arrives_as_it_is(clickhouse: ClickHouse) -> None:
    result = make_query(clickhouse, SQL=SQL)

    assert (result.stderr.decode(), result.stdout.decode()) == ("", f"{TEXT}\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_is_not_utf_8_shows_a_table(clickhouse: ClickHouse, encoding: str) -> None:
    sql = "SQL=SELECT '密' AS name"
    result = make_query(clickhouse, sql, LC_ALL="C", PYTHONIOENCODING=encoding)

    assert result.stderr.decode() == ""
    assert re.fullmatch(
        r"\s*\+-name-\+\n\s*1\. \| \\u5bc6\s+\|\n\s*\+-+\+\n", result.stdout.decode(encoding)
    )


def test_a_reader_that_has_seen_enough_is_no_error(clickhouse: ClickHouse) -> None:
    environment = {
        "CLICKHOUSE_HTTP_PORT": str(clickhouse.stack.clickhouse_http_port),
        "CONSUMER_PASSWORD": PASSWORD,
        "SQL": "SELECT number FROM numbers(200000) FORMAT TSV",
    }
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", "make --silent query | head -n 1"],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "0\n")


@pytest.mark.parametrize(("password", "returncode"), [(PASSWORD, 0), (PASSWORD.strip(), 1)])
def test_the_health_check_of_docker_logs_in(
    clickhouse: ClickHouse, password: str, returncode: int
) -> None:
    service = compose_file.services()["clickhouse-server"]
    (script,) = re.findall(r"- bash\n +- -c\n +- \|\n(.*?)\n +interval:", service, re.DOTALL)
    here = f"127.0.0.1/{clickhouse.stack.clickhouse_http_port}"
    script = script.replace("$$HOSTNAME/8123", here).replace("$$", "$")
    result = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "CONSUMER_PASSWORD": password},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (returncode, "")
