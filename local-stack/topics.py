"""Create both topics and set what is particular about them; may be run at any time, and again."""

import logging
import os
import time

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, TopicAlreadyExistsError

logger = logging.getLogger("topics")

PARTITIONS = 3
# A record is judged by how far its own time is ahead of its arrival: the broker's clock says when
# it arrived, not the sender's.
RAW_SETTINGS = {"message.timestamp.type": "LogAppendTime"}


def connect(servers: str) -> KafkaAdminClient:
    """Return once Kafka answers; until then a line every few seconds."""
    while True:
        try:
            return KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=5000)
        except KafkaError:
            logger.info("waiting for Kafka at %s", servers)
            time.sleep(0.2)


def ensure_topic(admin: KafkaAdminClient, name: str, settings: dict[str, str]) -> None:
    try:
        admin.create_topics({name: {"num_partitions": PARTITIONS, "replication_factor": 1}})
        logger.info("created %s", name)
    except TopicAlreadyExistsError:
        logger.info("%s exists", name)
    if settings:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, settings)])


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    admin = connect(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    ensure_topic(admin, os.environ.get("RAW_TOPIC", "transactions_raw"), RAW_SETTINGS)
    ensure_topic(admin, os.environ.get("AGG_TOPIC", "transactions_agg"), {})
    admin.close()


if __name__ == "__main__":
    main()
