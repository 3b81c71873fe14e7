"""What the documentation repeats from code and configuration is the same there."""

import json
import re
import subprocess
import sys

import jsonschema
import pytest

import pages
from pages import PROJECT

COMPOSE = (PROJECT / "docker-compose.yml").read_text()
MONITORING = (PROJECT / "docker-compose.monitoring.yml").read_text()
README = (PROJECT / "README.md").read_text()


def compose_environment(service: str) -> dict[str, str]:
    """The environment of one service of docker-compose.yml."""
    block = re.split(rf"^  {service}:.*\n", COMPOSE, flags=re.MULTILINE)[1]
    block = re.split(r"^  \w", block, maxsplit=1, flags=re.MULTILINE)[0]
    environment = block.split("    environment:\n")[1]
    return dict(re.findall(r"^      ([A-Z_]+): (.*?)(?: #.*)?$", environment, re.MULTILINE))


def defaults_in(compose: str) -> dict[str, str]:
    """Every variable that a Compose file takes from outside, with its default."""
    return dict(re.findall(r"\$\{(\w+):-(.*?)\}", compose))


def test_generated_tables_are_up_to_date() -> None:
    with_tables = [page for page in pages.PAGES if "[[[cog import" in page.read_text()]
    assert with_tables
    folders = [
        f"-I{folder}"
        for folder in ("docs", "local-stack", "tests/support", "tests/chaos", "tests/benchmarks")
    ]
    result = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "--diff", *folders, *with_tables],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, f"run make docs\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("service", ["spark-job", "clickhouse-consumer", "producer"])
def test_docker_sets_only_settings_that_the_service_has(service: str) -> None:
    names = compose_environment(service).keys()
    assert names
    assert names - pages.documented_settings(service) == set()


def test_every_variable_of_docker_is_documented() -> None:
    assert pages.documented_settings("Docker") == defaults_in(COMPOSE + MONITORING).keys()


def test_the_example_of_env_has_the_defaults_of_docker() -> None:
    example = (PROJECT / ".env.example").read_text()
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    defaults = defaults_in(COMPOSE)
    assert values == {name: defaults[name] for name in defaults if defaults[name]}


@pytest.mark.parametrize("topic", ["transactions_raw", "transactions_agg"])
def test_the_message_in_the_readme_is_valid(topic: str) -> None:
    section = README.split("\n## Messages\n")[1]
    (message,) = re.findall(rf"^`{topic}`, .*?```json\n(.*?)\n```", section, re.S | re.M)[:1]
    schema = json.loads((PROJECT / "contract" / f"{topic}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(message))


def test_dependabot_watches_every_folder_with_pins() -> None:
    config = (PROJECT / ".github" / "dependabot.yml").read_text()
    watched = [set(line.split(", ")) for line in re.findall(r"directories: \[(.*)\]", config)]
    files = ("requirements.txt", "Dockerfile")
    assert watched == [{f"/{path.parent.name}" for path in PROJECT.glob(f"*/{f}")} for f in files]
