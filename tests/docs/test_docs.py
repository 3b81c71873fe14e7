"""What the documentation names exists: commands, files, links, tests."""

import re
from pathlib import Path

import pytest

import pages
from pages import PAGES, PROJECT

README = PROJECT / "README.md"
CHANGELOG = PROJECT / "CHANGELOG.md"  # names what used to exist
EXTENSIONS = "py|md|yml|json|jsonl|sql|sh|xml|html|conf|toml|properties|txt|ini|example"
OF_KAFKA = {"meta.properties"}  # in its folder, not in the project's
each_page = pytest.mark.parametrize("page", PAGES, ids=pages.name)
# Users type these from memory and have them in scripts.
FIXED_COMMANDS = (
    "docker compose up --build",
    "python producer/producer.py",
    "docker-compose exec kafka kafka-console-consumer --bootstrap-server kafka:29092"
    " --topic transactions_raw --from-beginning --max-messages 5",
    "docker-compose exec kafka kafka-console-consumer --bootstrap-server kafka:29092"
    " --topic transactions_agg --from-beginning --max-messages 5",
    "docker-compose exec clickhouse-server clickhouse-client --user consumer --password MySecret"
    ' --query "SELECT * FROM aggregated_analytics LIMIT 5;"',
    "docker-compose logs spark-job",
    "make demo",
    "make local-up",
    "make local-status",
    "make local-down",
)


def defined_targets() -> dict[str, str]:
    """Target -> the rest of its line in the Makefile."""
    lines = (PROJECT / "Makefile").read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.match(r"([a-z-]+):(.*)", line)))


@each_page
def test_every_make_target_in_the_page_exists(page: Path) -> None:
    assert pages.make_targets(page) - defined_targets().keys() == set()


def test_make_targets_are_found_in_the_readme() -> None:
    assert {"demo", "verify", "local-up"} <= pages.make_targets(README)


def test_every_make_target_explains_itself() -> None:
    assert [name for name, rest in defined_targets().items() if "## " not in rest] == []


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in pages.links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != CHANGELOG], ids=pages.name)
def test_every_file_in_the_page_exists(page: Path) -> None:
    missing = []
    known = pages.file_names() | OF_KAFKA
    for span in pages.code_spans(page):
        if re.fullmatch(r"([a-z][\w-]*/)+[\w.-]*", span):
            if not any((folder / span).exists() for folder in (PROJECT, page.parent)):
                missing.append(span)
        elif re.fullmatch(rf"[\w-]+\.({EXTENSIONS})", span) and span not in known:
            missing.append(span)
    assert missing == []


@each_page
def test_every_test_in_the_page_exists(page: Path) -> None:
    missing = []
    for path, test in re.findall(r"`([\w/.-]+\.py)::(\w+)`", page.read_text()):
        file = PROJECT / path
        if not file.exists() or f"def {test}(" not in file.read_text():
            missing.append(f"{path}::{test}")
    assert missing == []


def test_every_guarantee_names_its_test() -> None:
    text = (PROJECT / "docs" / "guarantee.md").read_text()
    section = text.split("\n## What is guaranteed\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    assert [row for row in rows if not re.search(r"`tests/[\w/.-]+::test_\w+`", row)] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [README]
    while left:
        page = left.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        left += [(page.parent / link.partition("#")[0]).resolve() for link in pages.links(page)]
    assert [pages.name(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("command", FIXED_COMMANDS)
def test_the_readme_shows_the_commands_that_users_type_from_memory(command: str) -> None:
    assert command in README.read_text()


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 170
