"""The consumer's membership in its group: that of kafka-python 3.0.12, with five changes."""

from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.structs import MemberState, OffsetAndMetadata, TopicPartition

MIN_WAIT_SEC = 0.1
Offsets = dict[TopicPartition, OffsetAndMetadata]


class TopicReplaced(Exception):
    """The topic was deleted and created again; the text says what to do."""


class Coordinator(ConsumerCoordinator):  # type: ignore[misc]
    """Joins the group, and fetches and commits its offsets.

    Change 1: it asks to rejoin the group until it has joined. The Java consumer had the same bug:
    https://issues.apache.org/jira/browse/KAFKA-9815

    Change 2: it uses the answer to its request to join even if that arrives between two polls.

    Change 3: offsets belong to a topic, not to its name. Kafka deletes the offsets of a deleted
    topic, but a consumer that has not noticed yet commits its old positions again, for the new
    topic of that name. So each offset is committed with the id of the topic that it was meant for.

    Change 4: a poll waits while a broker does not answer. kafka-python tries again at once, and
    each try leaves something at the request without an answer: 15 MB per second, half a core.

    Change 5: each offset is committed twice, the second time as text. Kafka does not check its file
    of offsets for damage: with a wrong offset, totals would be skipped without a word.
    """

    answer: bytes | None = None  # its partitions, from a request to join that has ended
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

    def time_to_next_poll(self) -> float:
        """For how many seconds a poll without records may wait.

        kafka-python says 0 from when a heartbeat is due until the broker has answered it, though
        heartbeats do not need polls.
        """
        wait_sec: float = super().time_to_next_poll()
        return max(MIN_WAIT_SEC, wait_sec)

    async def join_group_async(self, timeout_ms: float | None = None) -> bool:
        """Join the group; returns whether that was possible in this time.

        kafka-python asks to join again if the answer is already there. That makes all other members
        join again, too, and two members can keep each other from ever reading a record.
        """
        task, is_joining = self._join_task, self.state is MemberState.REBALANCING
        self.answer = task.value if task and task.succeeded() and is_joining else None
        return bool(await super().join_group_async(timeout_ms))

    async def _do_join_and_sync_async(self) -> bytes:
        answer, self.answer = self.answer, None
        return await super()._do_join_and_sync_async() if answer is None else answer

    async def fetch_committed_offsets_async(
        self, partitions: set[TopicPartition], timeout_ms: float | None = None
    ) -> Offsets:
        """The offsets to start from, without those that were committed for another topic.

        An offset without an id counts: the command-line tools of Kafka commit such offsets. So does
        one with nothing but the id, of an earlier version. Without an offset, all is read again.
        """
        if not self.topic_id:
            await self._cluster.refresh_metadata()
            self.topic_id = self.current_topic_id()
        committed: Offsets = await super().fetch_committed_offsets_async(partitions, timeout_ms)
        return {
            p: o
            for p, o in committed.items()
            if o.metadata in ("", self.topic_id, self.label(o.offset))
        }

    def commit_offsets_sync(self, offsets: Offsets, timeout_ms: float | None = None) -> None:
        labelled = {p: o._replace(metadata=self.label(o.offset)) for p, o in offsets.items()}
        super().commit_offsets_sync(labelled, timeout_ms)

    def label(self, offset: int) -> str:
        """What is committed with an offset."""
        return f"{self.topic_id} {offset}"

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
