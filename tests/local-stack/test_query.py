"""query.py, against an HTTP server in place of ClickHouse."""

import base64
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import Request

import pytest

import query
from local_http import urlopen

DEAD_PROXY = "http://127.0.0.1:9"


class FakeClickHouse(BaseHTTPRequestHandler):
    """Answers `SELECT 1` of the user `consumer`, and refuses everything else."""

    def do_POST(self) -> None:
        sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
        login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic "))
        is_known = login == b"consumer:MySecret" and sql == "SELECT 1"
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


@pytest.mark.usefixtures("clickhouse")
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_query_uses_no_proxy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv(variable, DEAD_PROXY)
    monkeypatch.delenv("no_proxy", raising=False)

    assert query.main(["SELECT 1"]) == 0, capsys.readouterr().err


@pytest.mark.usefixtures("clickhouse")
def test_the_http_of_the_tests_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD_PROXY)
    monkeypatch.delenv("no_proxy", raising=False)
    request = Request(
        f"http://127.0.0.1:{os.environ['CLICKHOUSE_HTTP_PORT']}",
        data=b"SELECT 1",
        headers={"Authorization": f"Basic {base64.b64encode(b'consumer:MySecret').decode()}"},
    )
    with urlopen(request) as answer:
        assert answer.status == 200


@pytest.mark.usefixtures("ipv6_comes_first")
def test_the_password_goes_to_the_address_of_clickhouse_only(
    monkeypatch: pytest.MonkeyPatch, ipv6_only_server: socket.socket
) -> None:
    monkeypatch.setattr(query, "TIMEOUT_SEC", 1)
    monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", str(ipv6_only_server.getsockname()[1]))
    ipv6_only_server.settimeout(0)

    assert query.main(["SELECT 1"]) == 1
    with pytest.raises(BlockingIOError):  # nobody has connected
        ipv6_only_server.accept()


def test_another_program_on_the_port_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greet(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"220 mail.example\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=greet, args=[server]).start()
        monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", str(server.getsockname()[1]))

        assert query.main(["SELECT 1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("no ClickHouse at 127.0.0.1:")
    assert error.count("\n") == 1


def test_a_server_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", "1")

    assert query.main(["SELECT 1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("no ClickHouse at 127.0.0.1:1: ")
    assert error.count("\n") == 1


def test_a_wrong_port_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_HTTP_PORT", "http")

    assert query.main(["SELECT 1"]) == 2
    assert capsys.readouterr().err == (
        "CLICKHOUSE_HTTP_PORT must be a port from 1 to 65535, not 'http'\n"
    )


@pytest.mark.usefixtures("clickhouse")
@pytest.mark.parametrize("yes", ["1", "true", "True", "yes", "on"])
def test_the_password_is_not_sent_in_plain_text_if_tls_is_wanted(
    yes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_SECURE", yes)
    assert query.main(["SELECT 1"]) == 1
    assert "no ClickHouse at" in capsys.readouterr().err


@pytest.mark.usefixtures("clickhouse")
@pytest.mark.parametrize("no", ["", "0", "false", "no", "off"])
def test_tls_can_be_switched_off_in_words(no: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_SECURE", no)
    assert query.main(["SELECT 1"]) == 0
