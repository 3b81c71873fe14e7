"""How make passes settings on."""

import os
import subprocess
from pathlib import Path

import dotenv
import pytest

import env_file
from paths import LOCAL_STACK, PROJECT

# Lines of a .env file, and what Compose reads in them (tried with 1.29.2 and 2.26.1).
LINES = {
    "A=1": "1",
    "export A=1": "1",
    "export\tA=1": "1",
    "A\t=\t1\t": "1",
    "  A = 1  ": "1",
    "A=20 minutes": "20 minutes",
    "A=two\twords  and three": "two\twords  and three",
    "A=1 # a comment": "1",
    "A=1\t # a comment": "1",
    "A='1'\t# a comment": "1",
    "A='1' # a comment": "1",
    "A=": "",
    "A=''": "",
    'A="two words"': "two words",
    "A='  in spaces '": "  in spaces ",
    "A='$HOME #1 \"quoted\"'": '$HOME #1 "quoted"',
    'A="#1 isn\'t"': "#1 isn't",
    "A=isn't": "isn't",
    "A=C:\\folder\\": "C:\\folder\\",
    "A=pässwörd 密": "pässwörd 密",
    "A=1\r": "1",
    "A='1'\r": "1",
    "A=b=c:d": "b=c:d",
    "A=1\nA=2": "2",
    "\n# a comment\n\t# another one\nA=1\n\n": "1",
    "\ufeffA=1": "1",
}
# Compose v1, Compose v2 and make would not agree on these.
AMBIGUOUS = (
    "A=$B",
    "A=a${B}",
    "A='${B}'",
    'A="$B"',
    'A="a\\nb"',
    "A='a\\'b'",
    "A=a#b",
    "A=#b",
    "A= # a comment",
    "A=1\t# a comment",
    "A: 1",
    "A",
    "A='1",
    "A='1' 2",
    "A B=1",
    "1A=1",
    "A=a\x0bb",
)


def shown_by_make(
    folder: Path, env: bytes, **environment: str
) -> "subprocess.CompletedProcess[bytes]":
    """The environment of a recipe in a folder with this .env."""
    (folder / ".env").write_bytes(env)
    (folder / "local-stack").symlink_to(LOCAL_STACK)
    (folder / "Makefile").write_text((PROJECT / "Makefile").read_text() + "\nshow:\n\t@env -0\n")
    return subprocess.run(
        ["make", "show"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
    )


@pytest.mark.parametrize(("environment", "port"), [({}, "19092"), ({"KAFKA_PORT": "1"}, "1")])
def test_make_prefers_the_environment_to_the_env_file(
    environment: dict[str, str], port: str, tmp_path: Path
) -> None:
    env = b"# settings\nKAFKA_PORT=19092\nWATERMARK=20 minutes\n"
    shown = shown_by_make(tmp_path, env, **environment)
    variables = shown.stdout.decode().split("\0")
    assert {f"KAFKA_PORT={port}", "WATERMARK=20 minutes"} <= set(variables), shown


@pytest.mark.parametrize(("lines", "value"), LINES.items())
def test_make_reads_an_env_file_as_compose_does(lines: str, value: str, tmp_path: Path) -> None:
    shown = shown_by_make(tmp_path, lines.encode())

    assert f"A={value}" in shown.stdout.decode().split("\0"), shown
    file = tmp_path / ".env"
    assert dotenv.dotenv_values(file, encoding="utf-8-sig")["A"] == value  # as Compose v1 does


@pytest.mark.parametrize("line", AMBIGUOUS)
def test_a_line_that_programs_read_differently_is_refused(line: str) -> None:
    with pytest.raises(env_file.EnvFileError, match="^line 2 is not NAME=value; "):
        env_file.parse(f"B=1\n{line}\n")


def arguments_of_compose(folder: Path, *make: str) -> list[str]:
    """What the second call of Compose gets, if the first one finds a running broker."""
    compose = folder / "compose"
    compose.write_text('#!/bin/sh\n[ "$1" = ps ] && echo kafka-2 || printf \'%s\\n\' "$@"\n')
    compose.chmod(0o755)
    shown = subprocess.run(
        ["make", "--silent", f"COMPOSE={compose}", *make],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    return shown.stdout.splitlines()


def test_make_passes_a_topic_on_as_it_was_typed(tmp_path: Path) -> None:
    topic = "a\"b 'c'; echo d `id`"
    assert arguments_of_compose(tmp_path, "topics", f"TOPIC={topic}", "MAX=1 2") == [
        *("exec", "-T", "kafka-2", "kafka-console-consumer"),  # the broker that runs
        *("--bootstrap-server", "kafka-2:29092", "--topic", topic, "--from-beginning"),
        *("--max-messages", "1 2", "--timeout-ms", "10000"),
    ]


def test_make_stops_at_a_line_that_programs_read_differently(tmp_path: Path) -> None:
    shown = shown_by_make(tmp_path, b"A=$HOME\n")

    assert shown.returncode == 2
    assert shown.stderr.decode().startswith(
        ".env: line 1 is not NAME=value;"
        " a value with quotation marks, # or $ must be in single quotes\n"
    )


def test_an_env_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert env_file.main(str(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_make_stops_if_no_python_can_read_the_env_file(tmp_path: Path) -> None:
    shown = shown_by_make(tmp_path, b"A=1\n", PYTHON="no-such-python")

    assert shown.returncode == 2
    assert "*** cannot read .env.  Stop." in shown.stderr.decode()


def test_make_passes_on_which_rejected_records_to_show(tmp_path: Path) -> None:
    chosen = ["WATERMARK=1 hour", "REASON=late", "MAX=5", "SINCE=10 minutes"]
    arguments = arguments_of_compose(tmp_path, "rejected", *chosen)
    assert [value for value in arguments if "=" in value] == chosen
    assert arguments[-3:] == ["clickhouse-consumer", "python", "verify/rejected.py"]


@pytest.mark.parametrize("consumer", ["clickhouse-consumer", "clickhouse-consumer-2"])
def test_make_verifies_the_table_of_a_consumer(consumer: str, tmp_path: Path) -> None:
    chosen = [] if consumer == "clickhouse-consumer" else [f"CONSUMER={consumer}"]
    arguments = arguments_of_compose(tmp_path, "verify", *chosen)
    assert arguments[-5:-2] == [consumer, "python", "verify/verify.py"]
