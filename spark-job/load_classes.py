"""Load the Java classes that the job needs, so that Java can put them into an archive.

Runs once, where an image or .venv is made, with Java's option -XX:ArchiveClassesAtExit. With the
archive, driver and executors start in two thirds of the time.
"""

import tempfile

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from totals import to_messages, window_totals
from validity import judge, parse

NO_BROKER, UNANSWERED = "127.0.0.1:1", "not present in metadata"
# Valid only in the third batch, which ends the query: every archive then knows the same classes.
RECORD = """if(value < 2, 'rejected', to_json(named_struct(
    'order_id', string(value), 'product_id', 'p', 'total_amount', 1.5, 'payment_type', 'paypal',
    'transaction_time', string(timestamp))))"""


def main() -> None:
    builder = SparkSession.builder.config("spark.sql.shuffle.partitions", 2)
    with builder.getOrCreate() as spark, tempfile.TemporaryDirectory() as checkpoint:
        row = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 1).load()
        raw = row.select(
            F.expr(RECORD).cast("binary").alias("value"),
            F.lit(0).alias("partition"),
            F.col("value").alias("offset"),
            "timestamp",
        )
        valid = parse(raw).transform(judge, "10 minutes").where("verdict IS NULL")
        query = (
            to_messages(window_totals(valid, "10 minutes", deduplicate=False))
            .writeStream.format("kafka")
            .option("kafka.bootstrap.servers", NO_BROKER)
            .option("kafka.max.block.ms", 1_000)
            .option("topic", "none")
            .option("checkpointLocation", checkpoint)
            .outputMode("update")
            .start()
        )
        try:
            query.awaitTermination(120)
        except StreamingQueryException as error:
            if UNANSWERED in str(error):  # by the end of the query, all has been loaded
                return
            raise
        raise SystemExit("the query has written nothing within two minutes")


if __name__ == "__main__":
    main()
