"""Wait for Kafka and its topics: Spark itself fails, slowly, where a topic is missing."""

import logging
import time

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from kafka_access import security_options
from lifecycle import Stop
from refusals import denied, raise_if_login_refused, why
from settings import Settings

logger = logging.getLogger(__name__)

LOG_INTERVAL_SEC = 5
RETRY_INTERVAL_SEC = 0.5
TIMEOUT_MS = 1000


def wait_for_topics(settings: Settings, stop: Stop) -> None:
    """Return when both topics exist or a stop is requested; log a line every few seconds."""
    next_line = time.monotonic()
    while not stop.requested and (missing := missing_topics(settings)):
        if time.monotonic() >= next_line:
            names = " and ".join(sorted(missing))
            servers = settings.kafka_bootstrap_servers
            logger.info("waiting for Kafka at %s to have %s%s", servers, names, why())
            next_line += LOG_INTERVAL_SEC
        raise_if_login_refused()
        stop.wait(RETRY_INTERVAL_SEC)


def missing_topics(settings: Settings) -> set[str]:
    """Those of the job's two topics that Kafka does not have; both if it does not answer."""
    return {settings.raw_topic, settings.agg_topic} - topic_ids(settings).keys()


def topic_ids(settings: Settings) -> dict[str, str]:
    """Name -> id of those of the job's two topics that Kafka has; empty if it does not answer.

    The id is empty if Kafka is too old to have ids. Raises Refused if this user lacks rights.
    """
    try:
        with KafkaAdminClient(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            **security_options(settings),
            bootstrap_timeout_ms=TIMEOUT_MS,
            request_timeout_ms=TIMEOUT_MS,
        ) as admin:
            topics = admin.describe_topics([settings.raw_topic, settings.agg_topic])
    except KafkaError:
        return {}
    for each in topics:
        if each["error_code"] == TopicAuthorizationFailedError.errno:
            raise denied(f"topic {each['name']}")
    return {each["name"]: each["topic_id"] or "" for each in topics if each["error_code"] == 0}
