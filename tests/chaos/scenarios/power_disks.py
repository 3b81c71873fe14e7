"""Disks that can lose power, one for each folder that has data."""

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scenarios import disks

FOLDERS = ("kafka", "zookeeper", "clickhouse", "checkpoint")
SIZE_MB = 2048  # of the sparse files
# EXT4_IOC_SHUTDOWN, without a flush of the journal: what the kernel has not written yet is lost.
SHUT_DOWN, NO_FLUSH = 0x8004587D, struct.pack("I", 2)


class Disks:
    """The disks of a stack, by the name of their folder. `options` are those of their mounts."""

    def __init__(self, directory: Path, options: Mapping[str, str]) -> None:
        self.directory, self.options = directory, options

    def mount(self, name: str) -> None:
        disks.mount(self.image(name), self.directory / name, self.options.get(name, ""))

    def image(self, name: str) -> Path:
        return self.directory / f"{name}.disk"

    def lose_power(self, names: Iterable[str]) -> None:
        """From now on, nothing is written to these disks, and all writes fail."""
        for name in names:
            folder = os.open(self.directory / name, os.O_RDONLY)
            fcntl.ioctl(folder, SHUT_DOWN, NO_FLUSH)
            os.close(folder)

    def mount_again(self, name: str) -> None:
        """What a machine does when it starts. No process may use the disk."""
        disks.unmount(self.directory / name)
        self.mount(name)


@contextmanager
def power_disks(directory: Path, options: Mapping[str, str]) -> Iterator[None]:
    """New disks in a folder without services, until there are none again."""
    new = Disks(directory, options)
    try:
        for name in FOLDERS:
            disks.make(new.image(name), SIZE_MB)
            new.mount(name)
            # To Kafka, a folder that is no partition is an error.
            (directory / name / "lost+found").rmdir()
        yield
    finally:
        disks.unmount_below(directory)
