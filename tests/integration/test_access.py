"""What the account `consumer` may do, and that its password stays secret."""

import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress

import psutil
import pytest
from clickhouse_driver.errors import ServerException

from local_http import urlopen
from pipeline import Pipeline
from services import SERVICES

pytestmark = pytest.mark.services

ACCESS_DENIED = 497


def test_consumer_reads_one_exact_row_per_window_over_both_protocols(pipeline: Pipeline) -> None:
    pipeline.produce(500)
    pipeline.verify()
    native = pipeline.query("SELECT * FROM aggregated_analytics ORDER BY window_start")
    starts = [row[0] for row in native]
    assert starts
    assert len(set(starts)) == len(starts)
    sql = urllib.parse.quote("SELECT * FROM aggregated_analytics ORDER BY window_start")
    url = f"http://127.0.0.1:{pipeline.stack.clickhouse_http_port}/?query={sql}"
    request = urllib.request.Request(
        url, headers={"X-ClickHouse-User": "consumer", "X-ClickHouse-Key": "MySecret"}
    )
    with urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    assert [line.split("\t")[:4] for line in lines] == [
        [
            f"{row[0]:%Y-%m-%d %H:%M:%S}",
            f"{row[1]:%Y-%m-%d %H:%M:%S}",
            f"{row[2].normalize():f}",
            str(row[3]),
        ]
        for row in native
    ]


def test_a_wrong_password_is_refused(pipeline: Pipeline) -> None:
    query = "user=consumer&password=wrong&query=SELECT+1"
    url = f"http://127.0.0.1:{pipeline.stack.clickhouse_http_port}/?{query}"
    with pytest.raises(urllib.error.HTTPError):
        urlopen(url, timeout=30)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE aggregated_analytics",
        "TRUNCATE TABLE aggregated_analytics",
        "ALTER TABLE aggregated_analytics DELETE WHERE 1",
        "CREATE TABLE other (a Int8) ENGINE = Memory",
        "SELECT * FROM url('http://localhost:1/', 'CSV', 'a String')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    ],
)
def test_consumer_may_only_read_and_insert(pipeline: Pipeline, statement: str) -> None:
    with pytest.raises(ServerException) as refused:
        pipeline.query(statement)
    assert refused.value.code == ACCESS_DENIED


def test_no_log_and_no_command_line_has_the_password(pipeline: Pipeline) -> None:
    commands = []
    for process in psutil.Process(pipeline.stack.pid("supervisord")).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # `topics` may just be ending
            commands.append(" ".join(process.cmdline()))
    assert any("consumer.py" in command for command in commands)
    assert not [command for command in commands if "MySecret" in command]
    logs = {name: pipeline.stack.log_file(name).read_text(errors="replace") for name in SERVICES}
    assert "starting with" in logs["clickhouse-consumer"]
    assert not [name for name, log in logs.items() if "MySecret" in log]
