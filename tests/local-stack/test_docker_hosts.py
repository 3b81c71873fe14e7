"""docker-compose.yml and the Dockerfiles on hosts that differ: proxies, umask, SELinux, Windows."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from compose_file import environment, services
from paths import PROJECT

DEAD_PROXY = "http://127.0.0.1:9"


class FakeSpark(BaseHTTPRequestHandler):
    """Answers as the web pages of a master and of a worker that it knows."""

    def do_GET(self) -> None:
        host, port = self.server.server_address[:2]
        master = {"status": "ALIVE", "workers": [{"id": "worker-1", "state": "ALIVE"}]}
        worker = {"id": "worker-1", "masterwebuiurl": f"http://{host!s}:{port}"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(master | worker).encode())

    def log_message(self, *_: object) -> None:
        """Keep the output of the test clean."""


@pytest.fixture
def spark_port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), FakeSpark) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def health_check(service: str) -> str:
    """The Python code of a service's health check."""
    (command,) = re.findall(r"test: (\[.*\])", services()[service])
    cmd, python, option, code = json.loads(command)
    assert [cmd, python, option] == ["CMD", "python", "-c"]
    return str(code)


@pytest.mark.parametrize("service", ["spark-master", "spark-worker"])
def test_a_health_check_uses_no_proxy(service: str, spark_port: int) -> None:
    here = f"127.0.0.1:{spark_port}"
    code = re.sub(r"(spark-master|localhost):[0-9]+", here, health_check(service))
    proxies = {"http_proxy": DEAD_PROXY, "https_proxy": DEAD_PROXY, "all_proxy": DEAD_PROXY}
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **proxies}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_bind_mounts_are_relabelled_for_selinux() -> None:
    files = ("docker-compose.yml", "docker-compose.monitoring.yml", "Makefile")
    text = "".join((PROJECT / file).read_text() for file in files)
    mounts = re.findall(r"(?:- \./|\$\(CURDIR\)/)([^\s:]+):[^\s:\"]+:([a-z,]+)", text)
    assert len(mounts) == 9
    assert [path for path, options in mounts if options.split(",") != ["ro", "z"]] == []


@pytest.mark.parametrize("folder", ["producer", "spark-job", "clickhouse-consumer"])
def test_an_image_is_readable_although_the_checkout_is_not(folder: str) -> None:
    dockerfile = (PROJECT / folder / "Dockerfile").read_text()
    after_the_last_copy = dockerfile.rpartition("\nCOPY ")[2]
    assert re.search(r"^RUN chmod -R a\+rX (\.|/app)$", after_the_last_copy, re.MULTILINE)


def test_tools_in_the_kafka_container_do_not_get_the_heap_of_the_broker() -> None:
    (limit_mb,) = re.findall(r"-Xmx(\d+)m", environment("kafka")["KAFKA_HEAP_OPTS"])
    assert int(limit_mb) <= 128
    (broker,) = re.findall(r"^    command: (\[.*\])$", services()["kafka"], re.MULTILINE)
    assert "-Xmx512m' exec /etc/confluent/docker/run" in json.loads(broker)[-1]


def test_the_broker_does_not_log_at_trace() -> None:
    levels = dict(
        each.split("=") for each in environment("kafka")["KAFKA_LOG4J_LOGGERS"].split(",")
    )
    assert {"kafka.controller", "state.change.logger"} <= levels.keys()
    assert "TRACE" not in levels.values()


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="this is not a Git checkout")
def test_a_checkout_on_windows_has_the_line_ends_of_linux(tmp_path: Path) -> None:
    clone = ["git", "clone", "--quiet", "--config", "core.autocrlf=true", str(PROJECT), "clone"]
    subprocess.run(clone, cwd=tmp_path, check=True)
    files = [
        *(tmp_path / "clone" / "clickhouse-init").iterdir(),
        *(tmp_path / "clone" / "clickhouse-config").iterdir(),
        *(tmp_path / "clone").glob("*/Dockerfile"),
        tmp_path / "clone" / "Makefile",
    ]
    assert len(files) >= 8
    assert [file.name for file in files if b"\r" in file.read_bytes()] == []
