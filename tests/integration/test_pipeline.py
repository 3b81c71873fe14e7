"""The promise on real services: whatever happens, the table equals the raw topic."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from clickhouse_driver.errors import ServerException
from hypothesis import Phase, given, settings
from kafka import KafkaAdminClient, TopicPartition

import oracle
from pipeline import GROUP, PYTHON, Pipeline, committed_lag, eventually, now
from records import CORPUS, RECORDS, moved_to, transaction
from stack import PROJECT, SERVICES


def job_counts(pipeline: Pipeline) -> dict[str, int]:
    """What the job has logged since it was first started, added up."""
    lines = [line for line in pipeline.log("spark-job").splitlines() if " records=" in line]
    pairs = [pair for line in lines for pair in re.findall(r"(\w+)=(\d+)\b", line)]
    return {name: sum(int(n) for key, n in pairs if key == name) for name, _ in pairs}


def oracle_counts(verdict: str) -> tuple[int, int]:
    """Transactions and rejected records of a verdict."""
    found = re.search(r"(\d+) transactions, (\d+) rejected", verdict)
    assert found
    return int(found[1]), int(found[2])


def test_totals_are_exact_and_every_record_is_accounted_for(pipeline: Pipeline) -> None:
    pipeline.produce(5000, SEED=1)
    verdict = pipeline.verify()
    valid, rejected = oracle_counts(verdict)
    assert valid + rejected == 5000
    assert rejected > 0
    eventually(lambda: job_counts(pipeline).get("records", 0) >= 5000, "the job logs 5000 records")
    counts = job_counts(pipeline)
    assert (counts["valid"], counts["rejected"], counts["late"]) == (valid, rejected, 0)
    reasons = ("malformed", "identity", "amount", "payment_type", "time")
    assert sum(counts[reason] for reason in reasons) == rejected


def test_anyone_with_the_password_reads_one_exact_row_per_window(pipeline: Pipeline) -> None:
    native = pipeline.query("SELECT * FROM aggregated_analytics ORDER BY window_start")
    starts = [row[0] for row in native]
    assert starts
    assert len(set(starts)) == len(starts)
    sql = urllib.parse.quote("SELECT * FROM aggregated_analytics ORDER BY window_start")
    url = f"http://localhost:{pipeline.stack.clickhouse_http_port}/?query={sql}"
    request = urllib.request.Request(
        url, headers={"X-ClickHouse-User": "consumer", "X-ClickHouse-Key": "MySecret"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    assert [line.split("\t")[:4] for line in lines] == [
        [
            f"{row[0]:%Y-%m-%d %H:%M:%S}",
            f"{row[1]:%Y-%m-%d %H:%M:%S}",
            f"{row[2].normalize():f}",
            str(row[3]),
        ]
        for row in native
    ]
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url.replace("?", "?user=consumer&password=wrong&"), timeout=30)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE aggregated_analytics",
        "TRUNCATE TABLE aggregated_analytics",
        "ALTER TABLE aggregated_analytics DELETE WHERE 1",
        "CREATE TABLE other (a Int8) ENGINE = Memory",
        "SELECT * FROM url('http://localhost:1/', 'CSV', 'a String')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    ],
)
def test_the_consumer_account_may_only_read_and_insert(pipeline: Pipeline, statement: str) -> None:
    with pytest.raises(ServerException) as refused:
        pipeline.query(statement)
    assert refused.value.code == 497  # ACCESS_DENIED


def test_no_password_in_any_log_or_command_line(pipeline: Pipeline) -> None:
    commands = []
    for process in psutil.Process(pipeline.stack.pid("supervisord")).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # `topics` may just be ending
            commands.append(" ".join(process.cmdline()))
    assert any("consumer.py" in command for command in commands)
    assert not [command for command in commands if "MySecret" in command]
    assert not [name for name in SERVICES if "MySecret" in pipeline.log(name)]


def generated_records(number: int) -> list[bytes]:
    values: list[bytes] = []

    @settings(max_examples=number, database=None, phases=[Phase.generate], deadline=None)
    @given(RECORDS)
    def collect(value: bytes) -> None:
        values.append(value)

    collect()
    return values


def test_ten_thousand_bad_records_are_all_accounted_for_by_reason(pipeline: Pipeline) -> None:
    raw = oracle.RawTopic(pipeline.bootstrap_servers, "transactions_raw")
    list(raw.read_new())  # what was before
    pipeline.verify()
    pipeline.stop_job_between_batches()
    logged_before = job_counts(pipeline)  # all it will ever log of those
    pipeline.stack.start("spark-job")
    huge = [transaction(note="x" * 900_000), b"[" * 900_000, b"\xff" * 900_000]
    strange = [moved_to(datetime.now(UTC), value) for value in CORPUS + generated_records(13_000)]
    pipeline.send("transactions_raw", huge + strange)
    expected = oracle.Expected(timedelta(minutes=10))
    for value, arrival in raw.read_new():
        expected.add(value, arrival)
    assert expected.rejected + expected.verdicts["late"] >= 10_000
    assert expected.verdicts["valid"] > 20
    wanted = {name: expected.verdicts[name] for name in ("valid", *oracle.REASONS, "late")}
    wanted["records"] = expected.verdicts.total()

    def logged() -> dict[str, int]:
        counts = job_counts(pipeline)
        return {name: counts.get(name, 0) - logged_before.get(name, 0) for name in wanted}

    eventually(lambda: logged()["records"] >= wanted["records"], "the job logs every record")
    assert logged() == wanted
    pipeline.verify()


def test_strange_window_totals_are_reported_and_skipped(pipeline: Pipeline) -> None:
    strange = [None, b"", b"\xff", b"[]", b"{}", b'{"window_start": "2026"}', b"\x00" * 10]
    pipeline.send("transactions_agg", strange)
    pipeline.produce(500)
    pipeline.verify()
    reports = re.findall(
        r"skipped topic transactions_agg partition \d offset \d+: (.+)", pipeline.log(GROUP)
    )
    assert len(reports) == len(strange)


def test_the_consumer_keeps_its_rows_while_clickhouse_is_away(pipeline: Pipeline) -> None:
    pipeline.stack.stop("clickhouse-server")
    pipeline.produce(2000)
    eventually(lambda: "next try in" in pipeline.log(GROUP), "the consumer says it waits")
    time.sleep(5)  # long enough for several attempts
    pipeline.stack.start("clickhouse-server")
    pipeline.verify()
    assert "Traceback" not in pipeline.log(GROUP)


def test_a_killed_job_goes_on_from_its_checkpoint(pipeline: Pipeline) -> None:
    logged = job_counts(pipeline).get("records", 0)
    pipeline.produce(500)
    eventually(lambda: job_counts(pipeline).get("records", 0) >= logged + 500, "the job logs them")
    eventually(lambda: committed_lag(pipeline) == 0, "nothing is under way")
    read_before, raw_before = job_counts(pipeline)["records"], pipeline.raw_records()
    os.kill(pipeline.pid("spark-job"), signal.SIGKILL)
    pipeline.produce(1000)
    pipeline.verify()
    eventually(lambda: job_counts(pipeline)["records"] >= read_before + 1000, "it logs the rest")
    # Not the whole topic again, only what the last batches before the kill may have held.
    assert job_counts(pipeline)["records"] < read_before + raw_before + 1000


def test_a_job_without_its_checkpoint_starts_over_and_the_table_stays_right(
    pipeline: Pipeline,
) -> None:
    pipeline.stack.stop("spark-job")
    shutil.rmtree(pipeline.stack.directory / "checkpoint")
    pipeline.produce(1000)
    pipeline.stack.start("spark-job")
    pipeline.verify()


def test_a_broker_that_was_away_costs_nothing_that_it_acknowledged(pipeline: Pipeline) -> None:
    before = pipeline.raw_records()
    producer = pipeline.producer(RATE=200, COUNT=6000)
    eventually(lambda: pipeline.raw_records() > before, "the producer sends")
    os.kill(pipeline.pid("kafka"), signal.SIGKILL)
    _, log = producer.communicate(timeout=180)
    assert producer.returncode == 0, log
    totals = re.search(r"acknowledged (\d+), failed 0", log.splitlines()[-1])
    assert totals, log
    assert pipeline.raw_records() - before == int(totals[1])
    pipeline.verify()


@contextmanager
def running_job(pipeline: Pipeline, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A job beside the one of the stack, in one process, with its log in the stack's folder."""
    with (pipeline.stack.directory / "log" / "other-job.log").open("w") as log:
        job = subprocess.Popen(
            [PYTHON, PROJECT / "spark-job" / "stream_job.py"],
            env=pipeline.environment(
                **{"SPARK_MASTER": "local[1]", "SPARK_LOCAL_IP": "127.0.0.1", **settings}
            ),
            cwd=pipeline.stack.directory,
            stderr=log,
            text=True,
        )
        try:
            yield job
        finally:
            job.kill()
            job.wait()


def test_repeated_orders_count_once_with_deduplication(pipeline: Pipeline) -> None:
    pipeline.create_topics("repeats_raw", "repeats_agg")
    moment = now()
    orders = [transaction(order_id=f"o{n % 40}", transaction_time=moment) for n in range(100)]
    pipeline.send("repeats_raw", orders)
    checkpoint = pipeline.stack.directory / "repeats"
    settings = {
        "RAW_TOPIC": "repeats_raw",
        "AGG_TOPIC": "repeats_agg",
        "CHECKPOINT_LOCATION": str(checkpoint),
    }
    with running_job(pipeline, DEDUPLICATE_ORDERS="true", **settings) as job:
        (window,) = pipeline.read("repeats_agg", messages=1)
        assert (window["total_orders"], window["total_sales"]) == (40, 796.0)
        eventually((checkpoint / "commits" / "0").exists, "the batch is committed")
        assert list(checkpoint.glob("state/0/*/*.changelog")), "the order ids are in RocksDB"
        job.terminate()
        assert job.wait(timeout=60) == 0, pipeline.log("other-job")
    assert "records=100 valid=100 rejected=0" in pipeline.log("other-job")
    assert " repeated=60 " in pipeline.log("other-job")
    # The same checkpoint with another query is refused in one line that says what to do.
    pipeline.send("repeats_raw", orders)
    with running_job(pipeline, DEDUPLICATE_ORDERS="false", **settings) as job:
        assert job.wait(timeout=120) == 1, pipeline.log("other-job")
    log = pipeline.log("other-job")
    assert "set CHECKPOINT_LOCATION to a new folder" in log.splitlines()[-1]
    assert "\tat " not in log


def test_records_that_were_deleted_unread_end_the_job_with_the_way_out(pipeline: Pipeline) -> None:
    pipeline.create_topics("aged_raw", "aged_agg")
    checkpoint = pipeline.stack.directory / "aged"
    settings = {
        "RAW_TOPIC": "aged_raw",
        "AGG_TOPIC": "aged_agg",
        "CHECKPOINT_LOCATION": str(checkpoint),
    }
    pipeline.send("aged_raw", [transaction(transaction_time=now())])
    with running_job(pipeline, **settings) as job:
        eventually((checkpoint / "commits" / "0").exists, "the batch is committed")
        job.terminate()
        assert job.wait(timeout=60) == 0, pipeline.log("other-job")
    pipeline.send("aged_raw", [transaction(transaction_time=now())] * 2)
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        to_the_end = -1
        admin.delete_records({TopicPartition("aged_raw", n): to_the_end for n in range(3)})
    with running_job(pipeline, **settings) as job:
        assert job.wait(timeout=120) == 1, pipeline.log("other-job")
    last_line = pipeline.log("other-job").splitlines()[-1]
    assert "deleted records of aged_raw that this job had not read" in last_line


def test_a_query_that_cannot_start_ends_with_the_cause(pipeline: Pipeline) -> None:
    with running_job(pipeline, CHECKPOINT_LOCATION="/dev/null/checkpoint") as job:
        assert job.wait(timeout=120) == 1, pipeline.log("other-job")
    last_line = pipeline.log("other-job").splitlines()[-1]
    assert re.search(r"the query failed: .*/dev/null", last_line)


def test_the_services_find_each_other_in_whatever_order_they_start(pipeline: Pipeline) -> None:
    against_the_flow = ("clickhouse-consumer", "spark-job", "spark-worker", "spark-master",
                        "kafka", "zookeeper", "clickhouse-server")  # fmt: skip
    for service in against_the_flow:
        pipeline.stack.stop(service)
    for service in against_the_flow:
        pipeline.stack.start(service)
        time.sleep(1)
    pipeline.produce(1000)
    pipeline.verify()


def test_rows_and_offsets_survive_down_and_up(pipeline: Pipeline) -> None:
    pipeline.produce(500)
    pipeline.verify()
    orders = pipeline.stored_orders()
    pipeline.stack.down()
    read_before = job_counts(pipeline).get("records", 0)  # its last line comes when it stops
    pipeline.stack.up(deadline_sec=240)
    assert pipeline.stored_orders() == orders
    pipeline.produce(500)
    pipeline.verify()
    pipeline.stack.stop("spark-job")
    assert job_counts(pipeline)["records"] == read_before + 500  # it has not started over
