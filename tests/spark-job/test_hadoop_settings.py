"""A checkpoint without a scheme is a local folder, whatever this machine has set up for Hadoop."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.services  # starts of Spark, too slow for make test-unit

JOB = Path(__file__).parents[2] / "spark-job"
# An HDFS that is down, so whoever writes to it by mistake fails at once.
CORE_SITE = """<configuration>
  <property><name>fs.defaultFS</name><value>hdfs://127.0.0.1:1</value></property>
  <property><name>ipc.client.connect.max.retries</name><value>0</value></property>
</configuration>
"""
RUN_A_QUERY = """
import sys
from settings import Settings
from stream_job import session

spark = session(Settings(spark_master="local[1]"))
numbers = spark.readStream.format("rate").load()
writer = numbers.writeStream.format("noop").option("checkpointLocation", sys.argv[1])
writer.trigger(once=True).start().awaitTermination()
"""


CHMOD = """#!/bin/sh
touch "{called}"
exec /bin/chmod "$@"
"""


def run_a_query(checkpoint: Path, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", RUN_A_QUERY, str(checkpoint)],
        env={**os.environ, "PYTHONPATH": str(JOB), "SPARK_LOCAL_IP": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert (checkpoint / "commits" / "0").exists()


@pytest.mark.parametrize("variable", ["HADOOP_CONF_DIR", "SPARK_CONF_DIR"])
def test_the_checkpoint_stays_local_where_hadoop_is_set_up(variable: str, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(JOB / "conf", conf)
    (conf / "core-site.xml").write_text(CORE_SITE)
    run_a_query(tmp_path / "checkpoint", **{variable: str(conf)})


def test_no_program_is_run_for_the_files_of_a_local_checkpoint(tmp_path: Path) -> None:
    called, programs = tmp_path / "called", tmp_path / "programs"
    programs.mkdir()
    (programs / "chmod").write_text(CHMOD.format(called=called))
    (programs / "chmod").chmod(0o755)
    run_a_query(tmp_path / "checkpoint", PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert not called.exists()
