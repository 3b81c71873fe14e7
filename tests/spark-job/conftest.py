"""One Spark session for all tests of the job."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from stream_job import builder


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = (
        builder()
        .master("local[2]")
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
