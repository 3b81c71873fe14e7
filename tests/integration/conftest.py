"""The pipeline of real services, and what its job counts."""

import re
from collections import Counter
from collections.abc import Callable

import pytest
from kafka import KafkaProducer

from lag import wait_for_job
from pipeline import Pipeline

pytest_plugins = ["stack_fixtures"]


@pytest.fixture
def job_counts(pipeline: Pipeline) -> Callable[[], Counter[str]]:
    """Returns what the job has logged of the records since the test began, by verdict."""
    wait_until_all_is_logged(pipeline)
    since = Pipeline(pipeline.stack)

    def counts() -> Counter[str]:
        found: Counter[str] = Counter()
        for line in since.log("spark-job").splitlines():
            if " records=" in line:
                for name, number in re.findall(r"(\w+)=(\d+)\b", line):
                    found[name] += int(number)
        return found

    return counts


@pytest.fixture
def final_job_counts(
    pipeline: Pipeline, job_counts: Callable[[], Counter[str]]
) -> Callable[[], Counter[str]]:
    """The same, but of all records that are in the topic now; may be called once in a test."""

    def counts() -> Counter[str]:
        wait_until_all_is_logged(pipeline)
        return job_counts() - Counter(records=1, rejected=1, malformed=1)

    return counts


def wait_until_all_is_logged(pipeline: Pipeline) -> None:
    """Send a malformed record behind the others, and wait until the job names it in its log."""
    wait_for_job(pipeline)
    with KafkaProducer(bootstrap_servers=pipeline.bootstrap_servers) as producer:
        sent = producer.send("transactions_raw", b"the end").get(timeout=30)
    place = f"{sent.topic}-{sent.partition} offset {sent.offset}"
    pipeline.wait_for_log("spark-job", f"malformed at {place}")
