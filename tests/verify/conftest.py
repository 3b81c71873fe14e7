"""Fixtures of the tests of verify."""

from collections.abc import Iterator

import pytest

from servers import Servers, servers


@pytest.fixture(scope="session")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("stack"), "zookeeper", "kafka") as running:
        yield running
