"""The whole stack under a project name of its own, on the ports that users know."""

from collections.abc import Iterator

import pytest

from compose import BUILD_SEC, DEADLINE_SEC, Compose
from waiting import eventually


@pytest.fixture(scope="session")
def built() -> Iterator[Compose]:
    """The images built, the whole stack started and healthy; removed at the end with its data."""
    compose = Compose()
    compose.remove()
    try:
        compose("up", "--build", "-d", timeout_sec=BUILD_SEC)
        compose.wait_until_healthy()
        yield compose
    finally:
        compose.remove()


@pytest.fixture
def compose(built: Compose) -> Compose:
    """One healthy container of each service, with whatever data earlier tests have sent."""
    built.restore()
    return built


@pytest.fixture
def filled(compose: Compose) -> Compose:
    """The stack with transactions in both topics and in the table."""
    compose.produce(DURATION_SEC=10)  # long enough for several updates of a window
    eventually(compose.stored_orders, "the table has transactions", DEADLINE_SEC)
    return compose
