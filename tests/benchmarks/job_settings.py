"""What other settings of the job would gain or cost, on the same backlog each time."""

from job_queries import Query, speeds
from results import Row
from testbed import Testbed

AS_IT_IS = "as it is"
PARTITIONS = "spark.sql.shuffle.partitions"
STATE_STORE = "spark.sql.streaming.stateStore.providerClass"
ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
KAFKAS_FETCHES = {  # the defaults of its consumer
    "kafka.max.partition.fetch.bytes": str(2**20),
    "kafka.max.poll.records": "500",
}


def settings(bed: Testbed) -> list[Row]:
    """Each choice in turns with the job as it is."""
    bed.run_engines_only()
    topic = bed.backlog(bed.sizes.tuning_records)
    limit = "max_offsets_per_trigger"
    found = speeds(
        bed,
        {
            AS_IT_IS: Query(topic),
            "1 shuffle partition": Query(topic, session={PARTITIONS: "1"}),
            "4 shuffle partitions": Query(topic, session={PARTITIONS: "4"}),
            "RocksDB": Query(topic, session={STATE_STORE: ROCKSDB}),
            "minPartitions=6": Query(topic, source={"minPartitions": "6"}),
            "1 MB a fetch, 500 a poll": Query(topic, source=KAFKAS_FETCHES),
            f"{limit.upper()}=100000": Query(topic, {limit: 100_000}),
            f"{limit.upper()}=2000000": Query(topic, {limit: 2_000_000}),
        },
    )
    topic.delete()
    return [Row(name, runs, "records/s", found[AS_IT_IS]) for name, runs in found.items()]
