"""The pipeline of real services, for the tests of crashes."""

from collections.abc import Iterator

import pytest

from stack import Stack
from stack_fixtures import QUICK_START, READY_SEC

pytest_plugins = ["stack_fixtures"]


@pytest.fixture(scope="module")
def running_stack(stack: Stack) -> Iterator[Stack]:
    """Stops with the last test of its file: other files have stacks of their own."""
    stack.up(QUICK_START, READY_SEC)
    yield stack
    stack.down()
