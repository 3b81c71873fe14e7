"""Create both topics, or update their settings if they exist. Safe to run at any time."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    AuthorizationError,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
)

from kafka_access import KafkaSettings, SettingsError, load, security_options
from refusals import Refused, denied, raise_if_login_refused, why

logger = logging.getLogger("topics")

PARTITIONS = 3
WAIT_INTERVAL_SEC = 5
# The job compares a record's own time with the time of its arrival. The broker's clock tells when
# the record arrived, not the sender's.
RAW_SETTINGS: Mapping[str, str] = {"message.timestamp.type": "LogAppendTime"}


def connect(servers: str, security: Mapping[str, Any] | None = None) -> KafkaAdminClient:
    """Return once Kafka answers; log a line every few seconds until then. Raises Refused."""
    next_line = time.monotonic() + WAIT_INTERVAL_SEC
    while True:
        try:
            # Short, because within one attempt the client retries at longer and longer intervals.
            return KafkaAdminClient(
                bootstrap_servers=servers, bootstrap_timeout_ms=500, **(security or {})
            )
        except KafkaError:
            raise_if_login_refused()
            time.sleep(0.2)
        if time.monotonic() > next_line:
            next_line += WAIT_INTERVAL_SEC
            logger.info("waiting for Kafka at %s%s", servers, why())


def ensure_topic(admin: KafkaAdminClient, name: str, settings: Mapping[str, str]) -> None:
    """Create the topic, or change its settings if it exists. Raises Refused."""
    # -1: what the brokers have as their default, 1 in the local stack, 3 in its cluster.
    options = {"num_partitions": PARTITIONS, "replication_factor": -1, "configs": settings}
    try:
        admin.create_topics({name: options})
        logger.info("created %s", name)
        return
    except InvalidReplicationFactorError as error:
        raise Refused(f"topic {name}: {error}") from None  # fewer brokers than copies, so far
    except TopicAlreadyExistsError:
        logger.info("%s exists", name)
    except AuthorizationError:
        raise denied(f"topic {name}") from None
    if settings:
        topic = ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))
        # The broker knows which settings exist; the client may not have asked it yet.
        result = admin.alter_configs([topic], raise_on_unknown=False)["topic"][name]
        if "TopicAuthorizationFailed" in result:
            raise denied(f"topic {name}")
        if result != "OK":
            raise Refused(f"topic {name}: Kafka refuses {dict(settings)}: {result}")


def create(kafka: KafkaSettings) -> None:
    """Create or update both topics. Raises Refused."""
    admin = connect(kafka.kafka_bootstrap_servers, security_options(kafka))
    raw_topic = os.environ.get("RAW_TOPIC", "transactions_raw")
    agg_topic = os.environ.get("AGG_TOPIC", "transactions_agg")
    ensure_topic(admin, raw_topic, RAW_SETTINGS)
    ensure_topic(admin, agg_topic, {})
    admin.close()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        create(load(KafkaSettings))
    except (SettingsError, Refused) as error:
        logger.error("%s", error)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
