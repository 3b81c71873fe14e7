"""query.py, against an HTTP server in place of ClickHouse."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import query


class FakeClickHouse(BaseHTTPRequestHandler):
    """Answers `SELECT 1` of the user `consumer`, and refuses everything else."""

    def do_POST(self) -> None:
        sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
        login = (self.headers["X-ClickHouse-User"], self.headers["X-ClickHouse-Key"])
        is_known = login == ("consumer", "MySecret") and sql == "SELECT 1"
        self.send_response(200 if is_known else 403)
        self.end_headers()
        self.wfile.write("│ 1 │\n".encode() if is_known else b"Code: 62. Syntax error\n")

    def log_message(self, *_: object) -> None:
        """Keep the output of the test clean."""


@pytest.fixture
def clickhouse(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CONSUMER_PASSWORD", raising=False)
    with HTTPServer(("127.0.0.1", 0), FakeClickHouse) as server:
        monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", str(server.server_port))
        threading.Thread(target=server.serve_forever).start()
        yield
        server.shutdown()


@pytest.mark.usefixtures("clickhouse")
def test_the_answer_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert query.main(["SELECT 1"]) == 0
    assert capsys.readouterr().out == "│ 1 │\n"


@pytest.mark.usefixtures("clickhouse")
def test_a_refusal_is_printed_as_clickhouse_words_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert query.main(["SELEKT"]) == 1
    assert capsys.readouterr().err == "Code: 62. Syntax error\n"


@pytest.mark.usefixtures("clickhouse")
def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_PASSWORD", "another")

    assert query.main(["SELECT 1"]) == 1


def test_a_server_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", "1")

    assert query.main(["SELECT 1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("no ClickHouse at localhost:1: ")
    assert error.count("\n") == 1


def test_a_wrong_port_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", "http")

    assert query.main(["SELECT 1"]) == 2
    assert capsys.readouterr().err == (
        "CLICKHOUSE_HTTP_PORT must be a port from 1 to 65535, not 'http'\n"
    )
