"""Whether the query can make progress: it runs, and Spark has given it executors to run on.

An executor may never start, because a worker has no memory left or cannot write to its folder. Then
the master either gives up the application, or it tries again forever.
"""

import time

from pyspark.sql import SparkSession

from settings import Settings

EXECUTOR_DEADLINE_SEC = 60


class NoExecutor(Exception):
    """The job has no executor, and waiting will not change that."""


class Health:
    """The health of one query from its start on."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._tracker = spark.sparkContext._jsc.sc().statusTracker()
        self._is_local = settings.spark_master.startswith("local")
        self._file = settings.health_file
        self._last_executor = time.monotonic()

    def check(self) -> None:
        """Touch the health file if there is an executor. Call this while the query runs.

        Raises NoExecutor if there has been none for a minute. Spark itself would go on forever, and
        launch executors that exit at once as fast as it can.
        """
        if self._has_executor():
            self._last_executor = time.monotonic()
            if self._file:
                self._file.touch()
        elif time.monotonic() > self._last_executor + EXECUTOR_DEADLINE_SEC:
            raise NoExecutor

    def _has_executor(self) -> bool:
        return self._is_local or len(self._tracker.getExecutorInfos()) > 1  # one is the driver


def has_ended(spark: SparkSession) -> bool:
    """Whether the application has ended, because the master has given it up."""
    return bool(spark.sparkContext._jsc.sc().isStopped())
