"""The pipeline of real services, and what its job counts."""

import re
from collections import Counter
from collections.abc import Callable

import pytest

from lag import stop_job_between_batches, wait_for_job
from pipeline import Pipeline

pytest_plugins = ["stack_fixtures"]


@pytest.fixture
def job_counts(pipeline: Pipeline) -> Callable[[], Counter[str]]:
    """Returns what the job has logged of the records sent since the test began, by verdict."""
    wait_for_job(pipeline)
    stop_job_between_batches(pipeline)  # before it stops, it logs what it has not logged yet
    since = Pipeline(pipeline.stack)
    pipeline.stack.start("spark-job")

    def counts() -> Counter[str]:
        found: Counter[str] = Counter()
        for line in since.log("spark-job").splitlines():
            if " records=" in line:
                for name, number in re.findall(r"(\w+)=(\d+)\b", line):
                    found[name] += int(number)
        return found

    return counts
