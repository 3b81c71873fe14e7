"""The consumer's membership in its group: that of kafka-python 3.0.12, with two changes."""

from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.structs import OffsetAndMetadata, TopicPartition

Offsets = dict[TopicPartition, OffsetAndMetadata]


class TopicReplaced(Exception):
    """The topic was deleted and created again; the text says what to do."""


class Coordinator(ConsumerCoordinator):  # type: ignore[misc]
    """Joins the group, and fetches and commits its offsets.

    Change 1: it asks to rejoin the group until it has joined. The Java consumer had the same bug:
    https://issues.apache.org/jira/browse/KAFKA-9815

    Change 2: offsets belong to a topic, not to its name. Kafka deletes the offsets of a deleted
    topic, but a consumer that has not noticed yet commits its old positions again, for the new
    topic of that name. So each offset is committed with the id of the topic that it was meant for.
    """

    topic_id = ""  # of the topic that this consumer reads; empty before the first fetch

    def need_rejoin(self) -> bool:
        """Whether the consumer must join the group again; true until it has joined.

        kafka-python says false as soon as joining has begun. If the topic has just appeared and
        poll() returns before the join ends, the consumer waits without partitions forever.
        """
        is_needed: bool = super().need_rejoin()
        if is_needed:
            self.request_rejoin()
        return is_needed

    async def fetch_committed_offsets_async(
        self, partitions: set[TopicPartition], timeout_ms: float | None = None
    ) -> Offsets:
        """The offsets to start from, without those that were committed for another topic.

        An offset without an id counts: the command-line tools of Kafka commit such offsets.
        """
        if not self.topic_id:
            await self._cluster.refresh_metadata()
            self.topic_id = self.current_topic_id()
        committed: Offsets = await super().fetch_committed_offsets_async(partitions, timeout_ms)
        return {p: o for p, o in committed.items() if o.metadata in ("", self.topic_id)}

    def commit_offsets_sync(self, offsets: Offsets, timeout_ms: float | None = None) -> None:
        with_id = {p: o._replace(metadata=self.topic_id) for p, o in offsets.items()}
        super().commit_offsets_sync(with_id, timeout_ms)

    def current_topic_id(self) -> str:
        """The id of the topic of that name in the latest metadata; empty if it has none."""
        (name,) = self._subscription.subscription
        return str(self._cluster.topic_id(name) or "")

    def raise_if_replaced(self) -> None:
        """Compare with the latest metadata, without asking Kafka. Raises TopicReplaced."""
        if self.topic_id and self.current_topic_id() not in ("", self.topic_id):
            (name,) = self._subscription.subscription
            raise TopicReplaced(
                f"topic {name} was deleted and created again, stopping: the next start reads the"
                " new topic from its beginning. Then run `make verify`; if windows are missing,"
                " give the job a new checkpoint"
            )
