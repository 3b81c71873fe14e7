"""A pytest plugin: a pipeline of real services, on free ports, in a folder of its own."""

from collections.abc import Generator, Iterator

import pytest

from pipeline import Pipeline
from services import SERVICES
from stack import Stack

READY_SEC = 240
# Of all Java processes: tests start many, and none runs long enough for optimised code to pay off.
QUICK_START = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack to start; a suite may have one of its own."""
    return Stack.on_free_ports(tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="session")
def running_stack(stack: Stack) -> Iterator[Stack]:
    stack.up(QUICK_START, READY_SEC)
    yield stack
    stack.down()


@pytest.fixture
def pipeline(running_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The pipeline with every service running; shows their logs if the test fails.

    The data is that of earlier tests, too, so a test can only say what it has changed.
    """
    yield Pipeline(running_stack)
    if request.node.stash.get(FAILED, False):
        for service in SERVICES:
            print(f"--- the end of the log of {service}\n{running_stack.log_tail(service)}")
    if not running_stack.is_up():
        running_stack.up(QUICK_START, READY_SEC)
    for service in SERVICES:
        running_stack.start(service)
    running_stack.wait_until_healthy(READY_SEC)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
