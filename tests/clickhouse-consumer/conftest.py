"""Fixtures of the consumer's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import generated  # noqa: F401  how Hypothesis runs
from pairs import FakePair, Pair, RealPair
from servers import Servers, servers
from settings import Settings


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    """The defaults are the defaults, whatever the environment of the test run has."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="session")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder: Path = tmp_path_factory.mktemp("stack")
    with servers(folder, "zookeeper", "kafka", "topics", "clickhouse-server") as running:
        yield running


@pytest.fixture
def real_pair(real_servers: Servers) -> Iterator[RealPair]:
    """Kafka and ClickHouse for tests of what the fakes do not have."""
    with RealPair(real_servers) as pair:
        yield pair


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.services)])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Kafka and ClickHouse: the fakes of this suite and, with the mark, the real ones."""
    yield FakePair() if request.param == "fake" else request.getfixturevalue("real_pair")
