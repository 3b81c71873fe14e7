"""Judge records with the job's code. Run it with PYTHONPATH=spark-job, as a process of its own.

It is one because the job's modules and those of verify/ must not meet in one process: both have a
settings.py. Reads base64 from stdin, one record per line, "-" for a tombstone. Writes one line of
JSON per record, in the same order: the reason why it does not count, or the transaction as
[order_id, product_id, amount, microseconds since 1970].
"""

import json
import sys
from base64 import b64decode
from datetime import datetime

from pyspark.sql import Row
from pyspark.sql import functions as F

from stream_job import builder
from validity import judge, parse

RAW_SCHEMA = "topic string, partition int, offset long, timestamp timestamp, value binary"


def main(arrival: datetime, watermark: str) -> None:
    spark = (
        builder()
        .master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "localhost")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    rows = [
        ("raw", 0, number, arrival, None if line == "-\n" else b64decode(line))
        for number, line in enumerate(sys.stdin)
    ]
    judged = judge(parse(spark.createDataFrame(rows, RAW_SCHEMA)), watermark)
    micros = F.unix_micros("event_time").alias("micros")
    found = judged.select("offset", "verdict", "order_id", "product_id", "amount", micros).collect()
    assert sorted(row.offset for row in found) == list(range(len(rows)))
    for row in sorted(found, key=lambda row: row.offset):
        print(json.dumps(outcome(row)))
    spark.stop()


def outcome(row: Row) -> object:
    return row.verdict or [row.order_id, row.product_id, str(row.amount), row.micros]


if __name__ == "__main__":
    main(datetime.fromisoformat(sys.argv[1]), sys.argv[2])
