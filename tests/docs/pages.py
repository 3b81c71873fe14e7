"""The pages of the documentation, and what can be found in a page."""

import re
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *PROJECT.glob("*.md"),
        *(PROJECT / "docs").rglob("*.md"),
        *(PROJECT / "contract").glob("*.md"),
        *(PROJECT / "tests").glob("README.md"),
        *(PROJECT / "tests").glob("*/README.md"),
    ]
)
FENCE = re.compile(r"^ *```.*?\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(PROJECT))


@cache
def prose(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text())


def code_blocks(page: Path) -> list[str]:
    return FENCE.findall(page.read_text())


def code_spans(page: Path) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def links(page: Path) -> list[str]:
    """The targets of all links and pictures that lead to a file of the project."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not target.startswith(("http:", "https:"))]


@cache
def anchors(page: Path) -> set[str]:
    """What a link may name after `#`, as GitHub derives it from the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_targets(page: Path) -> set[str]:
    """Every target of a `make` command in code."""
    code = "\n".join([*code_blocks(page), *code_spans(page)])
    commands = re.findall(r"\bmake((?: [a-z][a-z-]*)+)", code)
    return {target for command in commands for target in command.split()}


def documented_settings(service: str) -> set[str]:
    """What docs/settings.md lists for all services and below the heading `service`."""
    text = (PROJECT / "docs" / "settings.md").read_text()
    sections = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", text, re.MULTILINE))
    shared = "" if service == "Docker" else sections["Kafka, for every service"]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", shared + sections[service], re.MULTILINE))


@cache
def file_names() -> set[str]:
    """The names of all files in the project's own folders."""
    folders = [path for path in PROJECT.iterdir() if path.is_dir() and path.name[0] != "."]
    return {path.name for folder in folders for path in folder.rglob("*.*")} | {
        path.name for path in PROJECT.iterdir()
    }
