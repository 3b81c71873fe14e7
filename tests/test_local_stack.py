"""The local stack, as far as it can be judged without starting it."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from configparser import RawConfigParser
from pathlib import Path
from typing import NamedTuple

import pytest

import doctor
import install
import stack
from launch import PID_FILES, running_pid
from stack import ConfigError, Part, Stack

LOCAL_STACK = Path(stack.__file__).parent
CLICKHOUSE_INIT = LOCAL_STACK.parent / "clickhouse-init"


class User(NamedTuple):
    name: str
    password_sha256: str
    default_database: str
    settings: dict[str, str]
    grants: set[str]


def user_of_sql(text: str) -> User:
    text = re.sub(r"--.*", "", text)
    created = re.search(
        r"CREATE USER IF NOT EXISTS (?P<name>\w+)"
        r"\s+IDENTIFIED WITH sha256_password BY '(?P<secret>.+)'"
        r"\s+HOST ANY\s+DEFAULT DATABASE (?P<database>\w+)\s+SETTINGS (?P<settings>[^;]+);",
        text,
    )
    assert created, "another form of CREATE USER than this test can read"
    pairs = (setting.split("=") for setting in created["settings"].split(","))
    return User(
        created["name"],
        hashlib.sha256(created["secret"].encode()).hexdigest(),
        created["database"],
        {name.strip(): value.strip() for name, value in pairs},
        set(re.findall(rf"(GRANT [^;]+?)\s+TO {created['name']};", text)),
    )


def user_of_xml(root: ET.Element, name: str) -> User:
    user = root.find(f"users/{name}")
    assert user is not None
    profile = root.find(f"profiles/{user.findtext('profile')}")
    assert profile is not None
    return User(
        name,
        user.findtext("password_sha256_hex", ""),
        user.findtext("default_database", ""),
        {setting.tag: setting.text or "" for setting in profile},
        {query.text or "" for query in user.findall("grants/query")},
    )


def test_local_clickhouse_user_is_the_one_of_the_init_script() -> None:
    created = user_of_sql((CLICKHOUSE_INIT / "01-create-user.sql").read_text())
    root = ET.parse(LOCAL_STACK / "clickhouse" / "users.xml").getroot()

    assert user_of_xml(root, created.name) == created
    assert created.settings == {"final": "1", "async_insert": "0"}


def test_no_other_clickhouse_user_can_log_in() -> None:
    root = ET.parse(LOCAL_STACK / "clickhouse" / "users.xml").getroot()

    assert [user.tag for user in root.findall("users/*")] == ["consumer", "default"]
    # The library's own session is the one that `default` may have.
    assert user_of_xml(root, "default").settings == {"max_sessions_for_user": "1"}


def test_local_clickhouse_has_the_live_page_of_compose() -> None:
    compose = (LOCAL_STACK.parent / "docker-compose.yml").read_text()
    mounts = dict(
        re.findall(r"- \./(dashboard/\S+):/etc/clickhouse-server/config\.d/(\S+):ro", compose)
    )
    links = (LOCAL_STACK / "clickhouse" / "config.d").iterdir()

    local = {str(link.resolve().relative_to(LOCAL_STACK.parent)): link.name for link in links}
    assert local == mounts
    assert len(mounts) == 2


@pytest.fixture
def programs() -> dict[str, dict[str, str]]:
    parser = RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read(LOCAL_STACK / "supervisord.conf")
    return {
        section.removeprefix("program:"): dict(parser[section])
        for section in parser.sections()
        if section.startswith("program:")
    }


def test_supervisord_runs_exactly_the_services(programs: dict[str, dict[str, str]]) -> None:
    assert sorted(programs) == sorted(stack.SERVICES)
    for name, program in programs.items():
        assert program["stdout_logfile"] == f"log/{name}.log"
        assert f'"%(here)s/launch.py" {name} ' in program["command"]


def test_every_service_but_the_topics_is_restarted(programs: dict[str, dict[str, str]]) -> None:
    restarts = {name: program["autorestart"] for name, program in programs.items()}

    assert restarts.pop("topics") == "unexpected"
    assert set(restarts.values()) == {"true"}


def test_services_stop_against_the_flow_of_the_data(programs: dict[str, dict[str, str]]) -> None:
    by_priority = sorted(programs, key=lambda name: -int(programs[name]["priority"]))

    assert [name for name in by_priority if name != "topics"] == [
        "clickhouse-consumer",
        "spark-job",
        "spark-worker",
        "spark-master",
        "clickhouse-server",
        "kafka",
        "zookeeper",
    ]


def test_settings_have_the_ports_of_compose_by_default() -> None:
    assert Stack.from_env({"KAFKA_PORT": ""}) == Stack()
    assert Stack().ports() == {
        "KAFKA_PORT": 9092,
        "ZOOKEEPER_PORT": 2181,
        "CLICKHOUSE_PORT": 9000,
        "CLICKHOUSE_HTTP_PORT": 8123,
        "SPARK_MASTER_PORT": 7077,
        "SPARK_MASTER_WEBUI_PORT": 8080,
        "SPARK_WORKER_WEBUI_PORT": 8081,
        "SPARK_UI_PORT": 4040,
    }


def test_folder_and_ports_can_be_moved() -> None:
    moved = Stack.from_env({"STACK_DIR": "/elsewhere", "KAFKA_PORT": "19092"})

    assert moved == Stack(Path("/elsewhere"), kafka_port=19092)
    assert moved.environment()["KAFKA_BOOTSTRAP_SERVERS"] == "localhost:19092"


def test_a_relative_folder_is_one_of_the_project() -> None:
    assert Stack.from_env({"STACK_DIR": ".local/other"}).directory == (
        LOCAL_STACK.parent / ".local" / "other"
    )


@pytest.mark.parametrize("port", ["kafka", "0", "65536", "-1", "9092.0"])
def test_a_wrong_port_is_refused_by_the_name_of_its_variable(port: str) -> None:
    with pytest.raises(ConfigError, match="^KAFKA_PORT must be a port from 1 to 65535, not"):
        Stack.from_env({"KAFKA_PORT": port})


def test_two_services_cannot_share_a_port() -> None:
    with pytest.raises(ConfigError, match="must be a port of its own, 9000 is used twice"):
        Stack.from_env({"KAFKA_PORT": "9000"})


def test_the_socket_of_a_deep_folder_fits_the_limit_of_the_system() -> None:
    shallow, deep = Stack(Path("/stack")), Stack(Path("/" + "deep/" * 40))

    assert shallow.socket_path() == Path("/stack/supervisord.sock")
    assert len(str(deep.socket_path())) <= stack.SOCKET_PATH_LIMIT
    assert deep.socket_path() != Stack(Path("/" + "deep/" * 41)).socket_path()


def test_a_stack_is_stopped_with_the_ports_that_it_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = list[Stack]()
    monkeypatch.setattr(Stack, "down", lambda self: stopped.append(self))
    (tmp_path / "ports.json").write_text('{"KAFKA_PORT": 19092}')
    assert stack.run("down", Stack(tmp_path)) == 0
    assert stopped == [Stack(tmp_path, kafka_port=19092)]


@pytest.mark.parametrize(("environment", "port"), [({}, "19092"), ({"KAFKA_PORT": "1"}, "1")])
def test_make_takes_settings_from_the_environment_before_those_of_a_env_file(
    environment: dict[str, str], port: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("# settings\nKAFKA_PORT=19092\nWATERMARK=20 minutes\n")
    makefile = (LOCAL_STACK.parent / "Makefile").read_text()
    (tmp_path / "Makefile").write_text(f"{makefile}\nshow:\n\t@env\n")
    shown = subprocess.run(
        ["make", "show"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )
    assert {f"KAFKA_PORT={port}", "WATERMARK=20 minutes"} <= set(shown.stdout.splitlines()), shown


def test_the_next_steps_are_for_the_stack_that_was_started(tmp_path: Path) -> None:
    usual = stack.next_steps(Stack())
    assert not re.search(r"[A-Z]=", usual.replace("TOPIC=", ""))
    steps = stack.next_steps(
        Stack(tmp_path, kafka_port=1, clickhouse_port=2, clickhouse_http_port=3)
    )
    for command in (
        "KAFKA_BOOTSTRAP_SERVERS=localhost:1 python",
        "localhost:3/analytics",
        "KAFKA_PORT=1 make topics",
        "CLICKHOUSE_HTTP_PORT=3 make query",
        "KAFKA_PORT=1 CLICKHOUSE_PORT=2 make verify",
        f"STACK_DIR={tmp_path} make local-down",
    ):
        assert command in steps


def test_status_table_shows_the_address_or_what_is_wrong() -> None:
    parts = [
        Part("kafka", "RUNNING", 17, 61.4, "localhost:9092", ""),
        Part("spark-job", "BACKOFF", 0, 0, "http://localhost:4040", "is BACKOFF"),
    ]

    assert stack.table(parts).splitlines() == [
        "service              state         pid      up  answers  address",
        "kafka                RUNNING        17    61 s  yes      localhost:9092",
        "spark-job            BACKOFF         -       -  no       is BACKOFF",
    ]


def test_pid_file_is_true_only_while_the_service_lives(tmp_path: Path) -> None:
    (tmp_path / PID_FILES).mkdir()
    command = [sys.executable, str(LOCAL_STACK / "launch.py"), "kafka", "sleep", "60"]

    with subprocess.Popen(command, cwd=tmp_path) as service:
        deadline = time.monotonic() + 10
        while running_pid(tmp_path, "kafka") is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running_pid(tmp_path, "kafka") == service.pid

        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert second.returncode == 1
        assert second.stderr == f"kafka already runs as process {service.pid}\n"

        service.send_signal(signal.SIGKILL)
    assert (tmp_path / PID_FILES / "kafka").read_text() == str(service.pid)
    assert running_pid(tmp_path, "kafka") is None
    assert running_pid(tmp_path, "zookeeper") is None


def fake_java(folder: Path, version: int) -> str:
    java = folder / "java"
    java.write_text(
        f"#!/bin/sh\nprintf '    java.home = /opt/java\\n"
        f"    java.specification.version = {version}\\n' >&2\n"
    )
    java.chmod(0o755)
    return str(java)


def test_only_a_java_that_is_new_enough_is_used(tmp_path: Path) -> None:
    assert install.java_home(fake_java(tmp_path, 21)) == "/opt/java"
    assert install.java_home(fake_java(tmp_path, 11)) is None
    assert install.java_home(str(tmp_path / "missing")) is None


def test_set_up_says_so_where_there_is_no_clickhouse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(install.SetupError, match="no ClickHouse library for .* on riscv64"):
        install.clickhouse_package()


def test_a_stamp_holds_until_what_it_is_of_changes(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("kafka-python==3.0.12")
    assert not install.is_stamped(tmp_path, "stamp", requirements)

    (tmp_path / "stamp").write_text(install.fingerprint(requirements))
    assert install.is_stamped(tmp_path, "stamp", requirements)

    requirements.write_text("kafka-python==3.0.13")
    assert not install.is_stamped(tmp_path, "stamp", requirements)


def test_nothing_is_installed_if_the_disk_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    step = install.Step("everything", 10**9, lambda: False, lambda: pytest.fail("it was made"))

    with pytest.raises(install.SetupError, match="about 1000000000 MB of disk are needed"):
        install.set_up([step], workers=1)


def test_the_doctor_looks_at_the_ports_of_the_stack() -> None:
    assert Stack().ports() == doctor.PORTS | doctor.LOCAL_PORTS


def test_the_doctor_names_what_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("KAFKA_PORT", str(server.getsockname()[1]))
        assert doctor.main() == 1
        output = capsys.readouterr().out
    assert (
        "is in use: stop what listens there (this pipeline, perhaps), or set KAFKA_PORT" in output
    )
    assert "would NOT work yet" in output


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [("20.10.9", False), ("20.10.10", True), ("24.0.5-ce", True), ("", False)],
)
def test_the_doctor_looks_at_the_version_of_docker(
    monkeypatch: pytest.MonkeyPatch, version: str, is_fine: bool
) -> None:
    monkeypatch.setattr(doctor, "output", lambda *_: version)
    server, *_ = doctor.docker()
    assert server.is_fine == is_fine
