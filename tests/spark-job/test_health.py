"""Whether the query has executors to run on, and what the job does without."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

import health
from advice import NO_EXECUTOR, advice
from health import ClockSetBack, Health, NoExecutor, has_ended
from settings import Settings

MASTER = "spark://spark-master:7077"


class Cluster:
    """A session on a cluster, with a clock that only the test moves."""

    executors = 0
    now = 100.0
    ahead = 0.0  # of the clock that can be set

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clocks = SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now + self.ahead)
        monkeypatch.setattr(health, "time", clocks)
        tracker = SimpleNamespace(getExecutorInfos=lambda: ["driver"] + ["one"] * self.executors)
        context = SimpleNamespace(statusTracker=lambda: tracker)
        self.spark: Any = SimpleNamespace(
            sparkContext=SimpleNamespace(_jsc=SimpleNamespace(sc=lambda: context))
        )


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_the_health_file_is_touched_only_while_there_is_an_executor(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "healthy"
    query = Health(cluster.spark, Settings(spark_master=MASTER, health_file=file))
    query.check()
    assert not file.exists()
    cluster.executors = 1
    query.check()
    assert file.exists()
    file.unlink()
    cluster.executors = 0
    query.check()
    assert not file.exists()


def test_a_minute_without_an_executor_is_a_failure(cluster: Cluster) -> None:
    query = Health(cluster.spark, Settings(spark_master=MASTER))
    cluster.now += 60
    query.check()
    cluster.executors = 1
    query.check()
    cluster.executors = 0
    cluster.now += 60
    query.check()
    cluster.now += 1
    with pytest.raises(NoExecutor) as raised:
        query.check()
    assert advice(raised.value, Settings()) == f"the query failed: {NO_EXECUTOR}"


def test_a_clock_that_is_set_back_is_a_failure_also_after_it_was_ahead(cluster: Cluster) -> None:
    query = Health(cluster.spark, Settings(spark_master="local"))
    for cluster.ahead in (900.0, 870.0):  # noqa: B020
        cluster.now += 60
        query.check()
    cluster.ahead = 0.0
    with pytest.raises(ClockSetBack) as raised:
        query.check()
    assert advice(raised.value, Settings()) == (
        "the clock was set back by 870 s, and Spark would do nothing for as long;"
        " the job has to start again, and continues from its checkpoint"
    )


@pytest.mark.parametrize("master", ["local", "local[2]", "local[*]"])
def test_without_a_cluster_the_driver_itself_is_enough(
    master: str, cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "healthy"
    query = Health(cluster.spark, Settings(spark_master=master, health_file=file))
    cluster.now += 1000
    query.check()
    assert file.exists()


def test_spark_tells_its_executors_and_whether_it_has_ended(spark: SparkSession) -> None:
    """As far as a session without a cluster can show: there is the driver, and nothing else."""
    query = Health(spark, Settings(spark_master=MASTER))
    assert not query._has_executor()
    assert len(query._tracker.getExecutorInfos()) == 1
    assert not has_ended(spark)


def test_a_session_whose_application_has_ended_is_reported_with_the_same_advice() -> None:
    error = PySparkException("Cannot call methods on a stopped SparkContext.\nmore")
    failure = f"cannot start a Spark session on {MASTER}"
    assert advice(error, Settings(), failure) == f"{failure}: {NO_EXECUTOR}"
