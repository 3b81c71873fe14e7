"""Show Kafka's own tools how far the job has read.

Spark keeps its offsets in the checkpoint, where these tools do not look. So the job also commits
them to a consumer group. Nothing reads them but people and monitoring: the checkpoint decides.
"""

import json
import logging
import time

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import GroupAuthorizationFailedError, NoError
from kafka.structs import OffsetAndMetadata

from kafka_access import security_options
from refusals import denied
from settings import Settings

logger = logging.getLogger(__name__)

TIMEOUT_MS = 1000
RETRY_INTERVAL_SEC = 10


class GroupOffsets:
    """The offsets of the consumer group that stands for the job."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: KafkaAdminClient | None = None
        self._committed = self._failure = ""
        self._next_try = time.monotonic()

    def commit(self, end_offset: str) -> None:
        """Commit the `endOffset` of a micro-batch, JSON text: topic -> partition -> next offset.

        A failure ends nothing. It is logged once, until a commit succeeds again.
        """
        if end_offset == self._committed or time.monotonic() < self._next_try:
            return
        failure = self._try_to_commit(end_offset)
        if failure:
            self._close()  # kafka-python 3.0.12 never tries to log in again; a new client does
            self._next_try = time.monotonic() + RETRY_INTERVAL_SEC
            if failure != self._failure:
                logger.warning("Kafka's tools cannot show the lag of this job: %s", failure)
        else:
            self._committed = end_offset
        self._failure = failure

    def _try_to_commit(self, end_offset: str) -> str:
        """Returns why that failed, or nothing."""
        offsets = {
            TopicPartition(topic, int(partition)): OffsetAndMetadata(offset)
            for topic, partitions in json.loads(end_offset).items()
            for partition, offset in partitions.items()
        }
        try:
            self._admin = self._admin or KafkaAdminClient(
                bootstrap_servers=self._settings.kafka_bootstrap_servers,
                **security_options(self._settings),
                bootstrap_timeout_ms=TIMEOUT_MS,
                request_timeout_ms=TIMEOUT_MS,
            )
            answers = self._admin.alter_group_offsets(self._settings.job_group, offsets)
            for error in answers.values():
                if error is not NoError:
                    raise error
        except GroupAuthorizationFailedError:
            return str(denied(f"group {self._settings.job_group}"))
        except Exception as error:  # whatever it is: what is for display must not end the job
            return type(error).__name__
        return ""

    def _close(self) -> None:
        if self._admin:
            self._admin.close()
            self._admin = None
