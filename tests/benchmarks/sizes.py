"""How much the benchmark does: FULL to measure, QUICK to try the benchmark itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Rates are per second.

    `settle_sec` is longer than ClickHouse keeps merged parts (8 minutes) and Spark the files of old
    batches; from then on, as many old files go as new ones come.
    """

    name: str
    runs: int
    sent_records: int
    pace_sec: int
    job_records: int
    tuning_records: int
    stored_rows: int
    fresh_rates: tuple[int, ...]
    fresh_sec: int
    page_rate: int
    page_warm_up_sec: int
    page_sec: int
    settle_sec: int
    footprint_sec: int
    processor_warm_up_sec: int
    processor_sec: int
    kills: int
    overload_rate: int
    overload_sec: int


FULL = Sizes(
    name="full",
    runs=3,
    sent_records=500_000,
    pace_sec=10,
    job_records=3_000_000,
    tuning_records=1_000_000,
    stored_rows=300_000,
    fresh_rates=(100, 1_000, 10_000),
    fresh_sec=60,
    page_rate=10_000,
    page_warm_up_sec=90,
    page_sec=40,
    settle_sec=600,
    footprint_sec=100,
    processor_warm_up_sec=120,
    processor_sec=60,
    kills=5,
    overload_rate=20_000,
    overload_sec=150,
)
QUICK = Sizes(
    name="quick",
    runs=1,
    sent_records=30_000,
    pace_sec=2,
    job_records=60_000,
    tuning_records=20_000,
    stored_rows=30_000,
    fresh_rates=(1_000,),
    fresh_sec=6,
    page_rate=1_000,
    page_warm_up_sec=10,
    page_sec=6,
    settle_sec=2,
    footprint_sec=2,
    processor_warm_up_sec=2,
    processor_sec=2,
    kills=1,
    overload_rate=2_000,
    overload_sec=6,
)
