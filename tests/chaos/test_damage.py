"""One byte of a file changes: it is noticed, and the numbers stay right."""

import re
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import pytest

import chaos
import scenarios.damage
from clickhouse_server import ClickHouse
from faults import Fault
from scenarios.damage import FILES, DamageInjector, DamageRun, batches, damage, schedule
from stack import Stack


def test_five_seeds_damage_each_kind_of_file_three_times() -> None:
    runs = [list(schedule(seed)) for seed in range(1, 6)]
    assert runs == [list(schedule(seed)) for seed in range(1, 6)]
    counts = Counter(name for run in runs for fault in run for name in fault.components)
    assert counts == dict.fromkeys(FILES, 3)


def test_a_byte_really_changes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\0a")
    assert damage(file, 0) == "byte 0 of 2: 0 -> 255"
    assert damage(file, 1) == "byte 1 of 2: 97 -> 0"
    assert file.read_bytes() == b"\xff\0"


def test_a_segment_is_read_as_its_batches(tmp_path: Path) -> None:
    segment = tmp_path / "0.log"
    header = b"\0" * 7 + b"\5" + (61 - 12 + 3).to_bytes(4, "big") + b"\0" * 45 + b"\0\0\0\2"
    segment.write_bytes((header + b"abc") * 2)
    assert [tuple(batch) for batch in batches(segment)] == [(0, 64, 5, 2), (64, 64, 5, 2)]


@pytest.mark.parametrize("kind", FILES)
def test_a_folder_without_files_yet_is_no_error(kind: str, tmp_path: Path) -> None:
    injector = DamageInjector(Stack(tmp_path), producer=Mock(), seed=1, raw=Mock(), readers=[])
    assert injector.files(kind) == []


def test_nothing_is_read_or_blocked_until_a_damaged_batch_is_cut_out(tmp_path: Path) -> None:
    run = DamageRun.__new__(DamageRun)
    run.stack, run.raw = Stack(tmp_path), Mock(read_new=Mock(return_value=[]))
    run.injector = DamageInjector(run.stack, Mock(), seed=1, raw=run.raw, readers=[])
    run.injector.notes = {"seen": []}
    run.injector.is_paused = True
    run.read_raw()
    assert not run.raw.read_new.called
    run.take_note("spark-job", "Kafka has a damaged batch", "cut out the batch")
    run.read_raw()
    assert run.raw.read_new.called


@pytest.mark.services
def test_clickhouse_names_a_damaged_part_that_it_puts_aside(tmp_path: Path) -> None:
    server = ClickHouse(Stack.on_free_ports(tmp_path))
    server.start()
    try:
        server.insert({"window_start": 60, "window_end": 120, "total_orders": 7})
        server.stop()
        (checksums,) = tmp_path.glob("clickhouse/store/*/*/all_*/checksums.txt")
        damage(checksums, 100)
        server.start()
        assert server.query("SELECT count() FROM aggregated_analytics") == [(0,)]
        named = re.search(
            r"Part \S+/(\S+)/ is broken and needs manual correction", server.log_file.read_text()
        )
        assert named and named[1] == checksums.parent.name
    finally:
        server.stop()


@pytest.mark.services
def test_a_run_with_damaged_files_is_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [Fault("damage", ("job-offsets", "part-checksums", "transactions_agg"))]
    monkeypatch.setattr(scenarios.damage, "schedule", lambda seed: iter(faults))
    stack = Stack.on_free_ports(tmp_path / "stack")
    settings = chaos.Settings(scenario="damage", seed=0, faults=len(faults))
    assert chaos.run(stack, settings) == 0
