"""How the metrics at the end of a run are compared with logs and records."""

from collections import Counter

from metrics_check import are_right, first_offsets, logged_by_consumer, logged_by_job
from verdicts import Verdicts

JOB_LOG = """\
2026-11-01T12:00:00Z INFO reading starts at raw-0 offset 7, raw-2 offset 100
2026-11-01T12:00:10Z INFO batches=2 records=9 valid=4 rejected=3 (malformed=1 identity=0 amount=2 \
payment_type=0 time=0) late=2 last_window=2026-11-01T12:00Z lag=0; last seen: late at raw-0 offset 8
2026-11-01T12:00:20Z INFO batches=1 records=1 valid=1 rejected=0 (malformed=0 identity=0 amount=0 \
payment_type=0 time=0) late=0 last_window=none lag=unknown
2026-11-01T12:00:21Z INFO stopped: records 10, valid 5, rejected 3, late 2, batches 3
"""
CONSUMER_LOG = """\
2026-11-01T12:00:10Z INFO stored 3 rows in 2 inserts, skipped 1 records, lag 0, last window x
2026-11-01T12:00:20Z INFO stored 4 rows in 1 inserts, skipped 0 records, lag 9, last window x
2026-11-01T12:00:21Z INFO stopped: stored 7 rows in 3 inserts, skipped 1 records
"""


def test_each_summary_of_a_log_counts_once() -> None:
    assert logged_by_job(JOB_LOG) == Counter(valid=5, malformed=1, amount=2, late=2)
    assert logged_by_consumer(CONSUMER_LOG) == Counter(stored=7, skipped=1)


def test_records_count_from_where_the_job_began_to_read() -> None:
    judged = Verdicts()
    for verdict, places in {
        "valid": [(0, 6), (0, 7), (2, 100)],
        "late": [(1, 0)],
        "time": [(2, 99), (2, 102)],
    }.items():
        for partition, offset in places:
            judged.add(partition, offset, verdict)
    assert judged.since(first_offsets(JOB_LOG)) == Counter(valid=2, late=1, time=1)
    assert judged.since(first_offsets("")) == Counter(valid=3, late=1, time=2)


def test_only_a_lost_executor_excuses_counts_that_are_too_high() -> None:
    expected, log = (
        Counter(valid=2, late=1),
        "ERROR TaskSchedulerImpl: Lost executor 0 on localhost",
    )
    assert are_right(expected, expected, "")
    assert are_right(Counter(valid=3, late=1), expected, log)
    assert not are_right(Counter(valid=3, late=1), expected, "")
    assert not are_right(Counter(valid=3), expected, log)
