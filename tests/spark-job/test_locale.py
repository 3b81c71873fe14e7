"""Neither the driver nor an executor takes its language from the machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

pytestmark = pytest.mark.services  # a start of Spark, too slow for make test-unit

JOB = Path(__file__).parents[2] / "spark-job"
SHOW_LANGUAGES = """
from stream_job import builder

spark = builder().master("local-cluster[1,1,1024]").getOrCreate()
ask = "SELECT java_method('java.util.Locale', 'getDefault')"
print(spark.sparkContext._jvm.java.util.Locale.getDefault().getLanguage())
print(spark.sql(f"{ask} FROM range(1)").first()[0][:2])
spark.stop()
"""


def test_driver_and_executors_are_english_on_a_turkish_machine() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SHOW_LANGUAGES],
        env={
            **os.environ,
            "PYTHONPATH": str(JOB),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_TOOL_OPTIONS": "-Duser.language=tr -Duser.country=TR",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    shutil.rmtree(Path(pyspark.__file__).parent / "work")  # where such a cluster keeps its logs
    assert result.stdout.split() == ["en", "en"], result.stderr[-3000:]
