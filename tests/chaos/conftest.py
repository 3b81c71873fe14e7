"""The pipeline of real services, for the tests of crashes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import chaos
from scenarios import soak
from stack import Stack
from stack_fixtures import QUICK_START, READY_SEC

pytest_plugins = ["stack_fixtures"]


@pytest.fixture(autouse=True)
def results_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short runs of tests write nothing where `make chaos` does."""
    monkeypatch.setattr(chaos, "RESULTS", tmp_path)
    monkeypatch.setattr(soak, "ALL_SAMPLES", tmp_path / "soak-samples.json")


@pytest.fixture(scope="module")
def running_stack(stack: Stack) -> Iterator[Stack]:
    """Stops with the last test of its file: other files have stacks of their own."""
    stack.up(QUICK_START, READY_SEC)
    yield stack
    stack.down()
