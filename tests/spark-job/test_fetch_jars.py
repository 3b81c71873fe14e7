"""Jars are fetched into a folder of any name, and through a proxy if there is one."""

import base64
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fetch_jars

PROJECT = Path(__file__).parents[2]
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
IVY_FILE = """<ivy-module version="2.0">
  <info organisation="local" module="test"/>
  <dependencies><dependency org="org" name="{}" rev="1"/></dependencies>
</ivy-module>
"""
PUBLISHED = """<ivy-module version="2.0">
  <info organisation="org" module="{}" revision="1"/>
  <publications>{}</publications>
</ivy-module>
"""
REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LOGIN = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n"
    b'Proxy-Authenticate: Basic realm="test"\r\n\r\n'
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Stands in for Maven Central: `whole` has a jar, `hollow` has none."""
    for name, published in (("whole", "<artifact/>"), ("hollow", "")):
        folder = tmp_path / "repository" / "org" / name / "1"
        for part in ("ivys", "jars"):
            (folder / part).mkdir(parents=True)
        (folder / "ivys" / "ivy.xml").write_text(PUBLISHED.format(name, published))
        (folder / "jars" / f"{name}.jar").write_text(f"the jar of {name}")
    return tmp_path / "repository"


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """First the port of a proxy, then what it is asked. It wants a login, and refuses anyway."""
    seen = list[str]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    request = client.recv(65536).decode()
                    seen.append(request)
                    client.sendall(REFUSAL if "Basic " in request else LOGIN)

        thread = threading.Thread(target=serve)
        thread.start()
        seen.append(str(server.getsockname()[1]))
        yield seen
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def run(ivy_file: Path, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    java = {"JAVA_HOME": str(PROJECT / ".local" / "tools" / "java")}
    without_proxies = {name: text for name, text in os.environ.items() if name not in PROXIES}
    return subprocess.run(
        [sys.executable, PROJECT / "spark-job" / "fetch_jars.py", ivy_file, folder],
        env={**without_proxies, **java, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["main (1)", "[artifact] ${x} 100% #1", "a\\b, 'c' ü"])
def test_jars_arrive_in_a_folder_of_any_name(name: str, tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "ivy.xml").write_text(IVY_FILE.format("whole"))

    result = run(
        folder / "ivy.xml",
        folder,
        JAVA_TOOL_OPTIONS=f"-Divy.local.default.root={repository}",
        LC_ALL="C",
    )

    assert result.returncode == 0, result.stdout
    assert (folder / "whole-1.jar").read_text() == "the jar of whole"


def test_a_jar_that_was_not_fetched_is_an_error(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "ivy.xml").write_text(IVY_FILE.format("hollow"))

    options = f"-Divy.local.default.root={repository}"
    result = run(tmp_path / "ivy.xml", tmp_path, JAVA_TOOL_OPTIONS=options)

    assert result.returncode == 1
    assert result.stdout.endswith("Ivy has not fetched hollow-1.jar\n")


def test_ivy_uses_the_proxy_of_the_environment(tmp_path: Path, requests: list[str]) -> None:
    (tmp_path / "ivy.xml").write_text(IVY_FILE.format("whole"))
    proxy = f"http://user:p%40ss%22@127.0.0.1:{requests.pop()}"

    assert run(tmp_path / "ivy.xml", tmp_path, https_proxy=proxy).returncode == 1

    assert {request.split()[0] for request in requests} == {"CONNECT"}
    logins = re.findall(r"Basic (\S+)", "".join(requests))
    assert {base64.b64decode(login) for login in logins} == {b'user:p@ss"'}


def test_ivy_asks_no_proxy_for_the_hosts_of_no_proxy(tmp_path: Path, requests: list[str]) -> None:
    (tmp_path / "ivy.xml").write_text(IVY_FILE.format("whole"))
    proxy = f"http://127.0.0.1:{requests.pop()}"

    assert run(tmp_path / "ivy.xml", tmp_path, https_proxy=proxy, no_proxy="*").returncode == 1

    assert requests == []


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, []),
        ({"http_proxy": "http://proxy:3128"}, []),  # the repository is on https
        (
            {"https_proxy": "http://proxy:3128"},
            ["-Dhttps.proxyHost=proxy", "-Dhttps.proxyPort=3128"],
        ),
        ({"all_proxy": "proxy"}, ["-Dhttps.proxyHost=proxy", "-Dhttps.proxyPort=80"]),
        (
            {"https_proxy": "http://proxy:3128", "no_proxy": "localhost, .shop.example"},
            [
                *("-Dhttps.proxyHost=proxy", "-Dhttps.proxyPort=3128"),
                "-Dhttp.nonProxyHosts=localhost|*.localhost|shop.example|*.shop.example",
            ],
        ),
    ],
)
def test_java_gets_the_proxy_that_python_would_use(
    environment: dict[str, str], options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)

    assert fetch_jars.proxy_options(fetch_jars.getproxies()) == options
