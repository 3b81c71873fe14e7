"""A stack of real services on free ports, in a folder of its own."""

from collections.abc import Iterator

import pytest

from pipeline import Pipeline
from stack import SERVICES, Stack

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack.on_free_ports(tmp_path_factory.mktemp("stack"))
    stack.up(deadline_sec=240)
    yield stack
    stack.down()


@pytest.fixture
def pipeline(running_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The stack with every service running; shows their logs when the test fails."""
    yield Pipeline(running_stack)
    if request.node.stash.get(FAILED, False):
        for service in SERVICES:
            print(f"--- the end of the log of {service}\n{running_stack.log_tail(service)}")
    for service in SERVICES:
        running_stack.start(service)
    running_stack.wait_until_healthy(240)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
