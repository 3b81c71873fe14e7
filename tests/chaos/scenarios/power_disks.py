"""Disks that can lose power: a file system of its own, in a file, for each folder that has data."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from waiting import eventually

FOLDERS = ("kafka", "zookeeper", "clickhouse", "checkpoint")
SIZE_MB = 2048  # of the sparse files
# EXT4_IOC_SHUTDOWN, without a flush of the journal: what the kernel has not written yet is lost.
SHUT_DOWN, NO_FLUSH = 0x8004587D, struct.pack("I", 2)
UNMOUNT_SEC = 30


class Disks:
    """The disks of a stack, by the name of their folder. `options` are those of their mounts."""

    def __init__(self, directory: Path, options: Mapping[str, str]) -> None:
        self.directory, self.options = directory, options

    def mount(self, name: str) -> None:
        options = ",".join(filter(None, ["loop", self.options.get(name)]))
        run("mount", "-o", options, self.directory / f"{name}.disk", self.directory / name)

    def lose_power(self, names: Iterable[str]) -> None:
        """From now on, nothing is written to these disks, and all writes fail."""
        for name in names:
            folder = os.open(self.directory / name, os.O_RDONLY)
            fcntl.ioctl(folder, SHUT_DOWN, NO_FLUSH)
            os.close(folder)

    def mount_again(self, name: str) -> None:
        """What a machine does when it starts. No process may use the disk."""
        unmount(self.directory / name)
        self.mount(name)


@contextmanager
def disks(directory: Path, options: Mapping[str, str]) -> Iterator[Disks]:
    """New disks in a folder without services; those that a killed run has left go first."""
    unmount_below(directory)
    made = Disks(directory, options)
    try:
        for name in FOLDERS:
            file, folder = directory / f"{name}.disk", directory / name
            folder.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as disk:
                disk.truncate(SIZE_MB * 2**20)
            run("mkfs.ext4", "-q", "-F", file)
            made.mount(name)
            (folder / "lost+found").rmdir()  # to Kafka, a folder that is no partition is an error
        yield made
    finally:
        unmount_below(directory)


def unmount_below(directory: Path) -> None:
    mounted = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    for folder in mounted:
        if folder.is_relative_to(directory):
            unmount(folder)


def unmount(folder: Path) -> None:
    """Return once no process uses it any more."""
    eventually(
        lambda: subprocess.run(["umount", folder], stderr=subprocess.DEVNULL).returncode == 0,
        f"{folder} is not in use",
        UNMOUNT_SEC,
    )


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
