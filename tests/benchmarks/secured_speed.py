"""What TLS and logins cost: producer and job over SASL_SSL, in turns with PLAINTEXT."""

from collections.abc import Mapping
from dataclasses import replace

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

import secured
from job_queries import Drained, Query, drain
from kafka_topic import Topic
from results import Row
from stack import Stack
from testbed import RESULTS, Testbed

USERS = ("producer", "spark-job")


def secured_speed(bed: Testbed) -> list[Row]:
    """On a secured stack of its own."""
    bed.end()
    stack = replace(Stack.on_free_ports(RESULTS / "secured"), secure=True)
    own = Testbed(bed.sizes, stack)
    try:
        own.run_engines_only()
        allow_topics_of_the_benchmark(own)
        return in_turns(own)
    finally:
        own.end()


def allow_topics_of_the_benchmark(bed: Testbed) -> None:
    topics = ResourcePattern(ResourceType.TOPIC, "bench_", ACLResourcePatternType.PREFIXED)
    with KafkaAdminClient(bootstrap_servers=bed.pipeline.bootstrap_servers) as admin:
        admin.create_acls(
            [
                ACL(f"User:{user}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, topics)
                for user in USERS
            ]
        )


def in_turns(bed: Testbed) -> list[Row]:
    first, topic = bed.backlog(bed.sizes.stored_rows), bed.backlog(bed.sizes.tuning_records)
    plain = {"KAFKA_BOOTSTRAP_SERVERS": bed.pipeline.bootstrap_servers}
    by_login = [
        {user: secured.login(user, bed.stack) for user in USERS},
        dict.fromkeys(USERS, plain),
    ]
    sent, drained = list[list[float]](), list[list[Drained]]()
    for _ in range(bed.sizes.runs):
        sent.append([send(bed, login["producer"]) for login in by_login])
        drained.append([read(bed, login["spark-job"], first, topic) for login in by_login])
    ours, bare = zip(*sent, strict=True)
    job, bare_job = zip(*drained, strict=True)
    return [
        Row("producer", list(ours), "records/s", list(bare)),
        Row(
            "job", [each.per_second for each in job], "records/s", [e.per_second for e in bare_job]
        ),
        Row(
            "job, processor",
            [each.cpu_micros for each in job],
            "us a record",
            [each.cpu_micros for each in bare_job],
        ),
    ]


def send(bed: Testbed, login: Mapping[str, str]) -> float:
    """Records per second of a producer at full speed."""
    topic = bed.new_topic()
    bed.pipeline.produce(bed.sizes.sent_records, RAW_TOPIC=topic.name, SEED=1, **login)
    per_second = topic.per_second()
    topic.delete()
    return per_second


def read(bed: Testbed, login: Mapping[str, str], first: Topic, topic: Topic) -> Drained:
    """The job on a backlog, after a first one that is not counted."""
    usual = bed.environments["spark-job"]
    without = {name: text for name, text in usual.items() if not name.startswith("KAFKA_")}
    bed.environments["spark-job"] = {**without, **login}
    (drained,) = drain(bed, [Query(topic)], warm_up=Query(first))
    return drained
