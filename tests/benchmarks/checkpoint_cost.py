"""What a micro-batch takes with its checkpoint on HDFS, in turns with one in a local folder."""

import shutil
from unittest.mock import patch

from hdfs import Hdfs, running_hdfs
from results import Row
from testbed import RESULTS, Testbed

RATE = 100
WARM_UP_SEC = 20
# What Spark itself takes on HDFS. The session, which all queries share, is one for local folders.
ON_HDFS = {
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming"
    ".checkpointing.FileContextBasedCheckpointFileManager"
}
SHOWN = {
    "triggerExecution": ("micro-batch", "s"),
    "walCommit": ("of which offsets are written", "s"),
    "addBatch": ("of which the query runs and state is written", "s"),
    "commitOffsets": ("of which the commit is written", "s"),
    "driver": ("driver", "% of a core"),
    "executor": ("executor", "% of a core"),
    "HDFS": ("name node and two data nodes", "% of a core"),
}


def checkpoint(bed: Testbed) -> list[Row]:
    bed.run_engines_only()
    shutil.rmtree(RESULTS / "hdfs", ignore_errors=True)
    with running_hdfs(RESULTS / "hdfs") as hdfs, bed.producer(RATE):
        found = turns(bed, hdfs)
    local, on_hdfs = found[0::2], found[1::2]
    return [
        Row(what, [run[name] for run in on_hdfs], unit, [run[name] for run in local])
        for name, (what, unit) in SHOWN.items()
    ]


def turns(bed: Testbed, hdfs: Hdfs) -> list[dict[str, float]]:
    """What was measured, first in a local folder, then on HDFS, then local again, and so on."""
    results = bed.new_topic()
    topics = {"raw_topic": "transactions_raw", "agg_topic": results.name}
    queries = [
        {
            "settings": {**topics, "checkpoint_location": f"{folder}{bed.new_checkpoint()}"},
            "session": session,
            "source": {"startingOffsets": "latest"},  # each checkpoint is new
            "seconds": seconds,
        }
        for seconds in (WARM_UP_SEC, *[bed.sizes.processor_sec] * bed.sizes.runs)
        for folder, session in (("", {}), (hdfs.url, ON_HDFS))
    ]
    with patch.dict(bed.environments["spark-job"], HADOOP_CONF_DIR=str(hdfs.conf)):
        found = bed.run_inside(
            "spark-job",
            "pace",
            queries=queries,
            others={"HDFS": [process.pid for process in hdfs.processes.values()]},
        )
    results.delete()
    return found[2:]
