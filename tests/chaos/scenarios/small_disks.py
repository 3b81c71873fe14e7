"""Small disks for the folders of a stack, which can be filled to the last block."""

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scenarios import disks

BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Disk:
    """A file system of its own, mounted at `path`."""

    path: Path

    @property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Take every free block. Call this again and again: others delete files meanwhile.

        Raises FileNotFoundError if the disk is gone: its folder is then on that of the machine.
        """
        if not self.path.is_mount():
            raise FileNotFoundError(f"no disk is mounted at {self.path}")
        with self.ballast.open("ab", buffering=0) as ballast:
            # ext4 refuses a large write as a whole, although there are some blocks left.
            for size in (2**20, BLOCK_BYTES):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Give back what `fill` has taken."""
        self.ballast.unlink(missing_ok=True)


def place(stack: Path) -> Path:
    """The folder of the disks of a stack: beside its own, which may be deleted at any time."""
    return stack.with_name(f"{stack.name}-disks")


def disk_of(stack: Path, name: str) -> Disk:
    return Disk(place(stack) / name)


@contextmanager
def small_disks(stack: Path, wanted: Mapping[str, tuple[int, Sequence[str]]]) -> Iterator[None]:
    """Disks by their names, each with its size in MB and the folders of the stack that are on it.

    The folders are links. Afterwards, only the logs are left.
    """
    with ExitStack() as cleanup:
        cleanup.callback(remove, place(stack))
        stack.mkdir(parents=True, exist_ok=True)
        for name, (size_mb, folders) in wanted.items():
            disk = disk_of(stack, name)
            make(disk, size_mb)
            for folder in folders:
                (disk.path / folder).mkdir()
                (stack / folder).symlink_to(disk.path / folder)
        cleanup.callback(keep, stack / "log")
        yield


def keep(link: Path) -> None:
    """Replace a link to a folder by a copy of the folder."""
    target = link.readlink()
    link.unlink()
    shutil.copytree(target, link)


def make(disk: Disk, size_mb: int) -> None:
    image = disk.path.with_suffix(".ext4")
    # -m 0: root, as whom the services run, gets no blocks of its own.
    disks.make(image, size_mb, "-m", "0", "-b", str(BLOCK_BYTES))
    disks.mount(image, disk.path)


def remove(place: Path) -> None:
    """Unmount all disks in a folder, and delete it. Their stack is stopped."""
    # The log of a producer may still be open; nobody reads it any more.
    disks.unmount_below(place, "--lazy")
    shutil.rmtree(place, ignore_errors=True)
