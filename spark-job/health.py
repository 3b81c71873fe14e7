"""Whether the query can make progress: it runs, and Spark has given it executors to run on.

An executor may never start, because a worker has no memory left or cannot write to its folder. Then
the master either gives up the application, or it tries again forever.

Spark starts the next micro-batch when the clock says so. If the clock is set back meanwhile, that
moment is far away.
"""

import time

from pyspark.sql import SparkSession

from settings import Settings

EXECUTOR_DEADLINE_SEC = 60
SET_BACK_LIMIT_SEC = 30  # to wait for so long is about as long as to start again


class NoExecutor(Exception):
    """The job has no executor, and waiting will not change that."""


class ClockSetBack(Exception):
    """The clock was set back, and Spark waits for it; the text says what becomes of that."""


class Health:
    """The health of one query from its start on."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._tracker = spark.sparkContext._jsc.sc().statusTracker()
        self._is_local = settings.spark_master.startswith("local")
        self._file = settings.health_file
        self._last_executor = time.monotonic()
        self._clock = time.time() - time.monotonic()

    def check(self) -> None:
        """Touch the health file if there is an executor. Call this while the query runs.

        Raises NoExecutor if there has been none for a minute. Spark itself would go on forever, and
        launch executors that exit at once as fast as it can. Raises ClockSetBack.
        """
        self._check_clock()
        if self._has_executor():
            self._last_executor = time.monotonic()
            if self._file:
                self._file.touch()
        elif time.monotonic() > self._last_executor + EXECUTOR_DEADLINE_SEC:
            raise NoExecutor

    def _check_clock(self) -> None:
        before, self._clock = self._clock, time.time() - time.monotonic()
        if (set_back_sec := before - self._clock) > SET_BACK_LIMIT_SEC:
            raise ClockSetBack(
                f"the clock was set back by {set_back_sec:.0f} s, and Spark would do nothing for as"
                " long; the job has to start again, and continues from its checkpoint"
            )

    def _has_executor(self) -> bool:
        return self._is_local or len(self._tracker.getExecutorInfos()) > 1  # one is the driver


def has_ended(spark: SparkSession) -> bool:
    """Whether the application has ended, because the master has given it up."""
    return bool(spark.sparkContext._jsc.sc().isStopped())
