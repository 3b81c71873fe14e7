"""The whole stack under a project name of its own, on the ports that people use."""

from collections.abc import Iterator

import pytest

from compose import BUILD_SEC, Compose


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """The whole stack, built, started and healthy; removed at the end with its volumes."""
    compose = Compose()
    compose("--profile", "producer", "down", "--volumes", "--remove-orphans")
    try:
        compose("up", "--build", "-d", timeout_sec=BUILD_SEC)
        compose.wait_until_healthy()
        yield compose
    finally:
        compose("--profile", "producer", "down", "--volumes", "--remove-orphans")
