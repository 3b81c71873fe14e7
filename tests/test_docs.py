"""What the documentation says is what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import consumer
import producer
import stack
import stream_job
import totals

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text()
SETTINGS = (PROJECT / "docs" / "settings.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()


def documented(service: str) -> dict[str, str]:
    """Variable -> default, of the table below the service's heading."""
    section = re.split(r"^## ", SETTINGS.split(f"\n## {service}\n")[1], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    return {name: "" if default == "(empty)" else default.strip("`") for name, default in rows}


def defaults(config: object) -> dict[str, str]:
    names = [setting.name for setting in fields(config)]  # type: ignore[arg-type]
    return {name.upper(): str(getattr(config, name)) for name in names}


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("producer", {name: default for name, (default, *_) in producer.SETTINGS.items()}),
        ("spark-job", defaults(stream_job.Config())),
        ("clickhouse-consumer", defaults(consumer.Config())),
    ],
)
def test_every_setting_is_documented_with_its_default(service: str, code: dict[str, str]) -> None:
    assert documented(service) == code


def test_the_settings_of_the_local_stack_are_documented() -> None:
    local = stack.Stack()
    ports = {name: str(port) for name, port in local.ports().items()}
    directory = str(local.directory.relative_to(PROJECT))
    assert documented("local-stack") == {"STACK_DIR": directory, **ports}


def test_the_settings_of_docker_are_documented() -> None:
    compose = (PROJECT / "docker-compose.yml").read_text()
    sets = set(re.findall(r"\$\{(\w+):-", compose))
    example = (PROJECT / ".env.example").read_text()
    ports = set(re.findall(r"^(\w+_PORT)=", example, re.MULTILINE))
    (paragraph,) = re.findall(r"^In Docker, (.*?)\n\n", SETTINGS, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([A-Z_]+)`", paragraph))
    assert sets == named | ports


@pytest.mark.parametrize("service", ["producer", "spark-job", "clickhouse-consumer"])
def test_the_readme_names_every_setting(service: str) -> None:
    (row,) = re.findall(rf"^\| `{service}/` .*$", README, re.MULTILINE)
    assert set(re.findall(r"`([A-Z_]{4,})`", row)) == set(documented(service))


def test_every_make_target_that_is_mentioned_exists() -> None:
    texts = [README, *(path.read_text() for path in (PROJECT / "docs").glob("*.md"))]
    mentioned = {name for text in texts for name in re.findall(r"\bmake ([a-z][a-z-]+)", text)}
    assert mentioned
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert mentioned <= targets


def test_every_make_target_explains_itself() -> None:
    undocumented = [
        line for line in MAKEFILE.splitlines() if re.match(r"[a-z-]+:", line) and "## " not in line
    ]
    assert undocumented == []


def test_every_file_that_is_mentioned_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    files = re.findall(r"`((?:[a-z-]+/)+[\w.-]*)`", README)
    missing = [path for path in {*links, *files} if not (PROJECT / path).exists()]
    assert missing == []


def test_the_readme_shows_the_contract() -> None:
    for message in re.findall(r"```json\n(.*?)\n```", README, re.DOTALL):
        if "window_start" in message:
            consumer.parse(message.encode())
        else:
            assert set(totals.FIELDS) <= set(re.findall(r'"(\w+)":', message))
