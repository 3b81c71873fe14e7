"""Create both topics, or update their settings if they exist. Safe to run at any time."""

import logging
import os
import time

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

logger = logging.getLogger("topics")

PARTITIONS = 3
WAIT_INTERVAL_SEC = 5
# The job compares a record's own time with the time of its arrival. The broker's clock tells when
# the record arrived, not the sender's.
RAW_SETTINGS = {"message.timestamp.type": "LogAppendTime"}


def connect(servers: str) -> KafkaAdminClient:
    """Return once Kafka answers; log a line every few seconds until then."""
    next_line = time.monotonic() + WAIT_INTERVAL_SEC
    while True:
        try:
            # Short, because within one attempt the client retries at longer and longer intervals.
            return KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=500)
        except KafkaError:
            time.sleep(0.2)
        if time.monotonic() > next_line:
            next_line += WAIT_INTERVAL_SEC
            logger.info("waiting for Kafka at %s", servers)


def ensure_topic(admin: KafkaAdminClient, name: str, settings: dict[str, str]) -> None:
    options = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": settings}
    try:
        admin.create_topics({name: options})
        logger.info("created %s", name)
    except TopicAlreadyExistsError:
        logger.info("%s exists", name)
        topic = ConfigResource(ConfigResourceType.TOPIC, name, settings)
        # The broker knows which settings exist; the client may not have asked it yet.
        admin.alter_configs([topic], raise_on_unknown=False)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    admin = connect(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    ensure_topic(admin, os.environ.get("RAW_TOPIC", "transactions_raw"), RAW_SETTINGS)
    ensure_topic(admin, os.environ.get("AGG_TOPIC", "transactions_agg"), {})
    admin.close()


if __name__ == "__main__":
    main()
