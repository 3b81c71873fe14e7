"""The pipeline on disks that run full, and the disks themselves."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

import chaos
from launch import PID_FILES, hold_pid_file, pid_file
from scenarios import disk, disks
from scenarios.disks import missing
from scenarios.small_disks import Disk, disk_of, place, small_disks
from stack import Stack

needs_disks = pytest.mark.skipif(bool(missing()), reason=missing())


def test_the_same_seed_fills_the_same_disks() -> None:
    assert list(islice(disk.schedule(7), 14)) == list(islice(disk.schedule(7), 14))
    assert list(islice(disk.schedule(7), 14)) != list(islice(disk.schedule(8), 14))


def test_seven_faults_fill_each_disk_once_and_all_at_once() -> None:
    filled = [fault.components for fault in islice(disk.schedule(7), 7)]
    assert sorted(filled) == sorted([*((name,) for name in disk.DISKS), tuple(disk.DISKS)])


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    with small_disks(tmp_path / "stack", {"small": (16, ["log"])}):
        yield disk_of(tmp_path / "stack", "small")


@needs_disks
def test_a_full_disk_has_no_room_for_a_block(small: Disk) -> None:
    small.fill()
    with pytest.raises(OSError, match="No space left on device"):
        (small.path / "new").write_bytes(b"x")
    small.empty()
    assert (small.path / "new").write_bytes(b"x") == 1


def test_the_disk_of_the_machine_is_never_filled(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no disk is mounted"):
        Disk(tmp_path).fill()
    assert not list(tmp_path.iterdir())


@needs_disks
def test_a_service_starts_again_although_every_free_block_is_taken_at_once(
    small: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.path)
    (small.path / PID_FILES).mkdir()
    pid_file(small.path, "kafka").write_text("4194304\n")
    small.fill()
    truncate = os.ftruncate

    def truncate_and_fill(file: int, length: int) -> None:
        truncate(file, length)
        small.fill()

    monkeypatch.setattr(os, "ftruncate", truncate_and_fill)
    hold_pid_file("kafka")
    assert pid_file(small.path, "kafka").read_text() == f"{os.getpid()}\n"


@needs_disks
def test_what_a_killed_run_has_left_is_deleted_with_its_disks(tmp_path: Path) -> None:
    directory = tmp_path / "a stack"
    folders = [directory / "kafka", place(directory) / "broker"]
    for folder in folders:
        image = folder.with_suffix(".disk")
        disks.make(image, size_mb=16)
        disks.mount(image, folder)
    assert mounted_below(tmp_path) == folders
    chaos.clear(directory)
    assert mounted_below(tmp_path) == []
    assert not directory.exists() and not place(directory).exists()


def mounted_below(folder: Path) -> list[Path]:
    return [each for each in disks.mounted() if each.is_relative_to(folder)]


@needs_disks
@pytest.mark.services
def test_a_run_whose_disks_are_all_full_at_once_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = disk.Fault("full disk", tuple(disk.DISKS), seconds=5)
    monkeypatch.setattr(disk, "schedule", lambda seed: iter([everything]))
    stack = Stack.on_free_ports(tmp_path / "stack")
    assert chaos.run(stack, chaos.Settings(scenario="disk", seed=0, faults=1)) == 0
    result = json.loads((chaos.RESULTS / "disk-seed-0.json").read_text())
    assert result["hits"] == dict.fromkeys(disk.DISKS, 1)
