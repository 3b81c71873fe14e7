import gc
import logging
import os
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

import generated  # noqa: F401  (how Hypothesis runs)
import producer
from clusters import Cluster, FakeCluster, RealCluster
from fakes import FakeKafka, FileKafka
from servers import servers
from settings import Settings


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make` exports the settings of a .env file."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Undo what run() and main() set for the whole process."""
    signal_handlers = {number: signal.getsignal(number) for number in (SIGINT, SIGTERM)}
    gc_thresholds = gc.get_threshold()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    root = logging.getLogger()
    log_handlers, level, converter = root.handlers.copy(), root.level, logging.Formatter.converter
    yield
    for number, handler in signal_handlers.items():
        signal.signal(number, handler)
    gc.set_threshold(*gc_thresholds)
    if cores:
        os.sched_setaffinity(0, cores)
    for log_handler in root.handlers.copy():
        if log_handler not in log_handlers:
            root.removeHandler(log_handler)
    root.setLevel(level)
    logging.Formatter.converter = converter


@pytest.fixture(autouse=True)
def quiet_kafka_python() -> None:
    """As set_up_logging() has it."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


make_shop_once = lru_cache(producer.make_shop)


@pytest.fixture(autouse=True)
def one_shop_per_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second to make one."""
    monkeypatch.setattr(producer, "make_shop", make_shop_once)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """What the producer sends to instead of a real Kafka."""
    kafka = FakeKafka()
    monkeypatch.setattr(producer, "new_producer", lambda _settings: kafka)
    return kafka


@pytest.fixture
def file_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileKafka:
    kafka = FileKafka(tmp_path / "sent")
    monkeypatch.setattr(producer, "new_producer", lambda _settings: kafka)
    return kafka


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    directory = tmp_path_factory.mktemp("stack")
    with servers(directory, "zookeeper", "kafka", "topics") as running:
        yield RealCluster(running.kafka)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.services)])
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The fake Kafka and the real one, to run the same test on both."""
    if request.param == "fake":
        cluster: Cluster = FakeCluster()
    else:
        cluster = request.getfixturevalue("real_cluster")
    monkeypatch.setattr(producer, "new_producer", cluster.new_producer)
    yield cluster
    cluster.resume()
    cluster.close_producers()
