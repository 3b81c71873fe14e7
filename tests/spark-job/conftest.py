"""One Spark session for all tests of the job."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

JOB = Path(__file__).parents[2] / "spark-job"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    # The job's own Java options make it start and plan in half the time.
    os.environ["SPARK_CONF_DIR"] = str(JOB / "conf")
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "localhost")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
