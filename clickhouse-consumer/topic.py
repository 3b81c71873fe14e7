"""Read the topic of window totals with kafka-python, and commit the offsets."""

from itertools import chain

from kafka import KafkaConsumer
from kafka.cluster import ClusterMetadata
from kafka.consumer import group
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import (
    CorruptRecordError,
    GroupAuthorizationFailedError,
    KafkaError,
    RetriableError,
    TopicAuthorizationFailedError,
)

from coordinator import Coordinator
from kafka_access import security_options
from refusals import denied, raise_if_login_refused
from settings import Settings

TIMEOUT_MS = 3000
LAG_TIMEOUT_MS = 1000


class NotCommitted(Exception):
    """Kafka did not accept the offsets; their records may be read again."""


class DamagedTopic(Exception):
    """Kafka has records that fail their checksum; the text says where, and what to do."""


def connect_kafka(settings: Settings) -> KafkaConsumer:
    """Does not block. While there is no broker or no topic, polls return no records."""
    # kafka-python 3.0.12 does not pass on its setting of this name. A topic that exists only
    # because the consumer asked for it would have a single partition.
    ClusterMetadata.DEFAULT_CONFIG["allow_auto_create_topics"] = False
    group.ConsumerCoordinator = Coordinator
    return KafkaConsumer(
        settings.agg_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers.split(","),
        **security_options(settings),
        group_id=settings.consumer_group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",  # without the records of aborted transactions
        api_version=(3, 9),  # an upper limit; without it the constructor waits for a broker
        # The partitions of a killed consumer are nobody's, not even its successor's, for this long.
        session_timeout_ms=6000,
        heartbeat_interval_ms=2000,
        metadata_max_age_ms=5000,
        request_timeout_ms=10_000,  # a connection that is silent for longer is given up
        reconnect_backoff_max_ms=1000,
        max_partition_fetch_bytes=8 * 2**20,  # large enough for a backlog to fill whole batches
    )


def poll(kafka: KafkaConsumer, wait_sec: float, max_records: int) -> list[ConsumerRecord]:
    """Return the next records; none if there are none after `wait_sec`, or if Kafka is away.

    Raises Refused if Kafka refuses the login, or if the user lacks rights, and DamagedTopic.
    """
    raise_if_login_refused()
    try:
        polled = kafka.poll(timeout_ms=wait_sec * 1000, max_records=max_records)
    except RetriableError:  # no record was taken
        return []
    except CorruptRecordError as error:
        raise DamagedTopic(
            "Kafka has a damaged batch of records, which nobody can read: cut it out"
            f" (docs/troubleshooting.md): {error.args[0]}"
        ) from None
    except TopicAuthorizationFailedError as error:
        raise denied(f"topic {', '.join(error.args[0])}") from None
    except GroupAuthorizationFailedError:
        raise denied(f"group {kafka.config['group_id']}") from None
    return list(chain.from_iterable(polled.values()))


def raise_if_denied(kafka: KafkaConsumer) -> None:
    """Raises Refused if Kafka's latest answer was that this user has no right to the topic."""
    for name in kafka._coordinator._cluster.unauthorized_topics:
        raise denied(f"topic {name}")


def commit(kafka: KafkaConsumer) -> None:
    """Commit everything that was polled. Raises NotCommitted."""
    try:
        # The consumer's positions, not the offsets of the batch. The two agree unless a partition
        # has moved to another consumer and back; then only the positions are right.
        kafka.commit(timeout_ms=TIMEOUT_MS)
    except KafkaError as reason:
        raise NotCommitted(str(reason)) from reason


def raise_if_replaced(kafka: KafkaConsumer) -> None:
    """Raises TopicReplaced if the topic was deleted and created again since the start."""
    kafka._coordinator.raise_if_replaced()


def is_member(kafka: KafkaConsumer) -> bool:
    """Whether the consumer is in its group, which the broker has stored, and can reach it."""
    return kafka._coordinator.stable() and kafka._coordinator.coordinator_id is not None


def pause(kafka: KafkaConsumer) -> None:
    """Let polls return nothing from the partitions that are assigned now."""
    kafka.pause(*kafka.assignment())


def resume(kafka: KafkaConsumer) -> None:
    kafka.resume(*kafka.paused())


def lag(kafka: KafkaConsumer) -> int | None:
    """Count the records not polled yet; None if no partition is assigned or one has no broker.

    Records of an open transaction do not count yet: for `read_committed`, a partition ends there.
    """
    partitions = kafka.assignment()
    try:
        ends = kafka.end_offsets(partitions, timeout_ms=LAG_TIMEOUT_MS)
        polled = [kafka.position(p, timeout_ms=LAG_TIMEOUT_MS) or 0 for p in partitions]
    # A KeyError comes from kafka-python 3.0.12 while only some of the partitions have a leader.
    except (KafkaError, KeyError):
        return None
    return sum(ends.values()) - sum(polled) if partitions else None


def close(kafka: KafkaConsumer) -> None:
    kafka.close(timeout_ms=TIMEOUT_MS)
