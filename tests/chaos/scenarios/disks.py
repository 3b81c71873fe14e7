"""File systems of their own for folders of a stack: ext4 in sparse files, on loop devices."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from supervision import eventually

UNMOUNT_SEC = 30


def missing() -> str:
    """What this machine lacks for such disks, for a person; nothing if it has all."""
    if os.geteuid() != 0:
        return "only root can mount disks"
    if not Path("/dev/loop-control").exists():
        return "this machine has no loop devices"
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 is missing: install e2fsprogs"
    return ""


def make(image: Path, size_mb: int, *options: str) -> None:
    """Make a file with an empty file system, with these options of mkfs.ext4."""
    image.parent.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    run("mkfs.ext4", "-q", "-F", *options, image)


def mount(image: Path, folder: Path, options: str = "") -> None:
    folder.mkdir(exist_ok=True)
    run("mount", "-o", ",".join(filter(None, ["loop", options])), image, folder)


def unmount(folder: Path, *options: str) -> None:
    """Return once no process uses it any more. Raises StackError."""
    command: list[str | Path] = ["umount", *options, folder]
    eventually(
        lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0,
        UNMOUNT_SEC,
        f"{folder} could not be unmounted",
    )


def unmount_below(directory: Path, *options: str) -> None:
    """Unmount everything in a folder, as `unmount` does."""
    for folder in reversed(mounted()):
        if folder.is_relative_to(directory.resolve()):
            unmount(folder, *options)


def mounted() -> list[Path]:
    """Where something is mounted, in the order in which that was done."""
    lines = Path("/proc/mounts").read_text().splitlines()
    # A space is written as \040.
    return [
        Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[1]))
        for line in lines
    ]


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
