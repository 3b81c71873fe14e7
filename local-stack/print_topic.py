"""Print messages of a topic from its beginning, one a line.

print_topic.py TOPIC MAX

The variables KAFKA_* say where Kafka is and how to log in. Ends after MAX messages, or when none
has come for 10 seconds. Exits 1 if Kafka does not answer or has no such topic, 2 if a setting is
wrong.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from itertools import islice

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from kafka_access import KafkaSettings, SettingsError, load, security_options
from refusals import no_topic, why

QUIET_MS = 10_000


def print_messages(consumer: KafkaConsumer, partitions: set[int], topic: str, most: int) -> int:
    """Print at most `most` messages as they are; returns their number."""
    consumer.assign([TopicPartition(topic, number) for number in partitions])
    consumer.seek_to_beginning()
    printed = 0
    for record in islice(consumer, most):
        sys.stdout.buffer.write((record.value or b"null") + b"\n")
        sys.stdout.buffer.flush()
        printed += 1
    return printed


def main(arguments: Sequence[str]) -> str | int:
    """Returns what to exit with: 0, or the line that says why not."""
    parser = argparse.ArgumentParser(description="Print messages of a topic, one a line.")
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument("most", metavar="MAX", type=int)
    given = parser.parse_args(arguments)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        settings = load(KafkaSettings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    servers = settings.kafka_bootstrap_servers
    try:
        with KafkaConsumer(
            bootstrap_servers=servers,
            **security_options(settings),
            bootstrap_timeout_ms=3000,  # not longer, because it tries a wrong password again
            consumer_timeout_ms=QUIET_MS,
            isolation_level="read_committed",
        ) as consumer:
            partitions = consumer.partitions_for_topic(given.topic)
            if not partitions:
                return no_topic(given.topic, servers)
            printed = print_messages(consumer, partitions, given.topic, given.most)
    except KafkaError:
        return f"no Kafka answers at {servers}{why()}"
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 0
    print(f"Processed a total of {printed} messages", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
