"""The topics that a checkpoint belongs to, kept in a file of it."""

import json
import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import known_topics
from known_topics import DamagedCheckpoint, KnownTopics, TopicReplaced
from settings import Settings

WARNING = (
    "topic agg was deleted and created again. Run `make verify`; if windows are missing, give the"
    " job a new checkpoint, with which it writes all totals again"
)


class Checkpoint:
    """A checkpoint, and the topics that Kafka has at the moment."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.kafka = {"raw": "raw-1", "agg": "agg-1"}
        self._spark, self._folder = spark, folder
        self._settings = Settings(raw_topic="raw", agg_topic="agg", checkpoint_location=str(folder))

    def opened(self) -> KnownTopics:
        """As a job does that starts."""
        return KnownTopics(self._spark, self._settings)

    def file(self) -> object:
        return json.loads((self._folder / "topic_ids.json").read_text())


@pytest.fixture
def checkpoint(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    checkpoint = Checkpoint(spark, tmp_path / "not" / "there" / "yet")
    monkeypatch.setattr(known_topics, "topic_ids", lambda _: dict(checkpoint.kafka))
    return checkpoint


def test_a_checkpoint_without_the_file_gets_it(checkpoint: Checkpoint) -> None:
    checkpoint.opened().check()
    assert checkpoint.file() == {"raw": "raw-1", "agg": "agg-1"}


def test_the_same_topics_are_accepted_by_each_job(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        topics = checkpoint.opened()
        topics.check()
        topics.check()
    assert not caplog.records


def test_a_topic_that_was_replaced_while_the_job_ran_is_found_then_and_at_each_start(
    checkpoint: Checkpoint,
) -> None:
    topics = checkpoint.opened()
    topics.check()
    checkpoint.kafka["raw"] = "raw-2"
    for opened in (topics, checkpoint.opened(), checkpoint.opened()):
        with pytest.raises(TopicReplaced):
            opened.check()
    assert checkpoint.file() == {"raw": "raw-1", "agg": "agg-1"}


@pytest.mark.parametrize("content", ["", '{"raw": "raw'])
def test_a_file_without_its_content_is_damage_and_not_a_new_checkpoint(
    checkpoint: Checkpoint, content: str
) -> None:
    checkpoint.opened().check()
    (checkpoint._folder / ".topic_ids.json.crc").unlink()  # as after a power failure
    (checkpoint._folder / "topic_ids.json").write_text(content)
    with pytest.raises(DamagedCheckpoint, match="there/yet/topic_ids.json"):
        checkpoint.opened()


def test_a_new_checkpoint_belongs_to_the_new_topic(checkpoint: Checkpoint) -> None:
    checkpoint.opened().check()
    checkpoint.kafka["raw"] = "raw-2"
    shutil.rmtree(checkpoint._folder)
    checkpoint.opened().check()
    assert checkpoint.file() == {"raw": "raw-2", "agg": "agg-1"}


def test_a_topic_of_totals_that_was_replaced_is_reported_once(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.opened().check()
    checkpoint.kafka["agg"] = "agg-2"
    topics = checkpoint.opened()
    topics.check()
    topics.check()
    checkpoint.opened().check()
    assert [record.getMessage() for record in caplog.records] == [WARNING]


@pytest.mark.parametrize(
    "kafka", [{}, {"agg": "agg-1"}, {"raw": "", "agg": ""}], ids=["no-answer", "deleted", "old"]
)
def test_a_topic_that_cannot_be_looked_up_is_no_other_one(
    kafka: dict[str, str], checkpoint: Checkpoint
) -> None:
    checkpoint.opened().check()
    checkpoint.kafka = kafka
    checkpoint.opened().check()
    assert checkpoint.file() == {"raw": "raw-1", "agg": "agg-1"}


def test_a_kafka_that_learns_to_have_ids_has_the_same_topics(checkpoint: Checkpoint) -> None:
    checkpoint.kafka["raw"] = ""
    checkpoint.opened().check()
    checkpoint.kafka["raw"] = "raw-1"
    checkpoint.opened().check()
    assert checkpoint.file() == {"raw": "raw-1", "agg": "agg-1"}


def test_another_topic_to_read_is_left_to_spark(checkpoint: Checkpoint) -> None:
    """RAW_TOPIC has changed: Spark itself does not start from a checkpoint without its offsets."""
    checkpoint.opened().check()
    checkpoint.kafka = {"other": "other-1", "agg": "agg-1"}
    checkpoint.opened().check()
    assert checkpoint.file() == {"raw": "raw-1", "agg": "agg-1", "other": "other-1"}
