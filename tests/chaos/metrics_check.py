"""Compare what the services tell Prometheus with what they log, and with the recomputation."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from faults import numbered
from local_http import urlopen
from polling import eventually_matches
from ports import HOST
from rules import REASONS
from stack import Stack
from verdicts import Verdicts

VERDICTS = ("valid", *REASONS, "late")
LOGGED_SEC = 60  # the log follows at most 10 s later
START = "INFO starting with "


def contradictions(stack: Stack, judged: Verdicts) -> list[str]:
    """What is wrong with the metrics of the job and the consumer, once nothing is under way.

    They begin at 0 when a service starts, so they are compared with the log since then, and with
    the records from where the job then began to read.
    """

    def job() -> tuple[Counter[str], Counter[str]]:
        return job_counts(stack), logged_by_job(current_log(stack, "spark-job"))

    def consumer(number: int) -> tuple[Counter[str], Counter[str]]:
        log = current_log(stack, numbered("clickhouse-consumer", number))
        return consumer_counts(stack, number), logged_by_consumer(log)

    consumers = range(1, stack.instances("clickhouse-consumer") + 1)
    readings = {"job": job} | {numbered("consumer", n): partial(consumer, n) for n in consumers}
    found = []
    for name, read in readings.items():
        what = f"the metrics of the {name} equal its log"
        try:
            eventually_matches(read, lambda pair: pair[0] == pair[1], what, LOGGED_SEC)
        except AssertionError as error:
            found.append(str(error))
    counted = job_counts(stack)
    log = current_log(stack, "spark-job")
    expected = judged.since(first_offsets(log))
    if not are_right(counted, expected, log):
        found.append(f"metrics of the job: {dict(counted)}, recomputed: {dict(expected)}")
    return found


def are_right(counted: Counter[str], expected: Counter[str], log: str) -> bool:
    """Whether the job has counted what was expected.

    Spark observes the records of a stage again when it repeats the stage because its output was on
    an executor that is lost. So the counts may then be too high, unlike the totals.
    """
    return counted == expected or ("Lost executor" in log and counted >= expected)


def current_log(stack: Stack, service: str) -> str:
    """What a service has logged since its latest start."""
    return stack.log_file(service).read_text(errors="replace").rpartition(START)[2]


def samples(port: int, name: str, label: str = "") -> Counter[str]:
    """The values of a counter, by the value of its label."""
    with urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return Counter(
            {
                sample.labels.get(label, ""): int(sample.value)
                for family in families
                for sample in family.samples
                if sample.name == name
            }
        )


def job_counts(stack: Stack) -> Counter[str]:
    return +samples(stack.job_metrics_port, "purchases_job_records_total", "verdict")


def consumer_counts(stack: Stack, number: int) -> Counter[str]:
    port = stack.block(stack.consumer_metrics_port)[number - 1]
    skipped = samples(port, "purchases_consumer_records_skipped_total", "reason").total()
    stored = samples(port, "purchases_consumer_rows_stored_total")[""]
    return +Counter({"stored": stored, "skipped": skipped})


def logged_by_job(log: str) -> Counter[str]:
    """The sum of the job's summaries."""
    summaries = [line for line in log.splitlines() if " INFO batches=" in line]
    pattern = re.compile(rf"\b({'|'.join(VERDICTS)})=([0-9]+)")
    return +sum_of(Counter({n: int(v) for n, v in pattern.findall(each)}) for each in summaries)


def logged_by_consumer(log: str) -> Counter[str]:
    """The sum of the consumer's reports."""
    pattern = re.compile(r" INFO stored ([0-9]+) rows in [0-9]+ inserts, skipped ([0-9]+) records,")
    return +sum_of(
        Counter({"stored": int(stored), "skipped": int(skipped)})
        for stored, skipped in pattern.findall(log)
    )


def sum_of(counts: Iterable[Counter[str]]) -> Counter[str]:
    total = Counter[str]()
    for each in counts:
        total += each
    return total


def first_offsets(log: str) -> dict[int, int]:
    """Partition -> where the job began to read; none if that was the beginning of the topic."""
    line = next((each for each in log.splitlines() if "reading starts at" in each), "")
    return {int(p): int(o) for p, o in re.findall(r"-([0-9]+) offset ([0-9]+)", line)}
