"""Notice that a topic was deleted and created again: its name stays the same, its id does not.

The offsets and totals in the checkpoint mean nothing in another topic. Spark cannot tell: once the
new topic has grown past the old offsets, it goes on there and never reads what comes before them.
So the checkpoint also says which topics it belongs to, in a file of the job's own.
"""

import json
import logging
from typing import Any

from pyspark.sql import SparkSession

from kafka_topics import topic_ids
from settings import Settings

logger = logging.getLogger(__name__)

FILE = "topic_ids.json"


class TopicReplaced(Exception):
    """The topic to read is not the one that the checkpoint belongs to."""


class DamagedCheckpoint(Exception):
    """A file of the checkpoint is empty, or not what was written; the text is its path."""


class KnownTopics:
    """The topics that the checkpoint belongs to."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._settings = settings
        self._file = CheckpointFile(spark, settings.checkpoint_location, FILE)
        self._ids: dict[str, str] = self._file.read() or {}

    def check(self) -> None:
        """Compare the ids with those in Kafka, and remember those of topics that are new here.

        Raises TopicReplaced for the topic to read. For the topic to write to, a warning is enough:
        only totals that the consumer had not stored yet are missing.
        """
        now = {name: id for name, id in topic_ids(self._settings).items() if id}
        replaced = {name for name, id in now.items() if id != self._ids.get(name, id)}
        if self._settings.raw_topic in replaced:
            raise TopicReplaced
        if replaced:
            logger.warning(
                "topic %s was deleted and created again. Run `make verify`; if windows are missing,"
                " give the job a new checkpoint, with which it writes all totals again",
                self._settings.agg_topic,
            )
        if now.items() - self._ids.items():
            self._ids |= now
            self._file.write(self._ids)


class CheckpointFile:
    """A JSON file in the checkpoint, wherever that is, written and read as Spark does its own."""

    def __init__(self, spark: SparkSession, folder: str, name: str) -> None:
        jvm: Any = spark._jvm
        self._read_all = jvm.org.apache.commons.io.IOUtils.toByteArray
        self._path = jvm.org.apache.hadoop.fs.Path(folder, name)
        checkpointing = jvm.org.apache.spark.sql.execution.streaming.checkpointing
        configuration = spark._jsparkSession.sessionState().newHadoopConf()
        self._files = checkpointing.CheckpointFileManager.create(self._path, configuration)

    def read(self) -> Any:
        """The content; None if there is no such file. Raises DamagedCheckpoint."""
        if not self._files.exists(self._path):
            return None
        stream = self._files.open(self._path)
        try:
            return json.loads(bytes(self._read_all(stream)))
        except ValueError:
            raise DamagedCheckpoint(str(self._path)) from None
        finally:
            stream.close()

    def write(self, content: Any) -> None:
        """Replace the whole file at once."""
        self._files.mkdirs(self._path.getParent())
        stream = self._files.createAtomic(self._path, True)
        stream.write(json.dumps(content).encode())
        stream.close()
