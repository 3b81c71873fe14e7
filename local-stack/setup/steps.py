"""How a step runs: only if its result is missing, with its output in a log."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from paths import LOCAL, PROJECT, TOOLS

LOG = LOCAL / "setup.log"


class SetupError(Exception):
    """Something is missing that only the user can provide; the text says what."""


class Step(NamedTuple):
    """One part of the set-up, and the disk space that it takes."""

    what: str
    size_mb: int
    is_done: Callable[[], bool]
    make: Callable[[], None]


@contextmanager
def setup_lock() -> Iterator[None]:
    """Wait until no other set-up runs, since two would write the same folders."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "setup.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up(steps: Sequence[Step], workers: int) -> None:
    """Make what is missing, up to `workers` steps at a time. Raises SetupError."""
    missing = [step for step in steps if not step.is_done()]
    needed_mb = sum(step.size_mb for step in missing)
    free_mb = shutil.disk_usage(PROJECT).free // 2**20
    if free_mb < needed_mb:
        raise SetupError(f"about {needed_mb} MB of disk are needed here, {free_mb} MB are free")
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(set_up_one, missing))  # raises what a step raised
    if missing:
        os.sync()  # so that the disk is not busy with it while the stack starts


def set_up_one(step: Step) -> None:
    start = time.monotonic()
    say(f"- {step.what} ...")
    step.make()
    say(f"  {step.what.split(' (')[0]}: done in {time.monotonic() - start:.0f} s")


def say(line: str) -> None:
    """Print in one write: print() from several threads at once would mix up lines."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(*command: str | Path, cwd: Path = PROJECT, **environment: str) -> None:
    """Run a command with its output in LOG. Raises SetupError with the end of it if it fails."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = result.stdout.decode(errors="replace")
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(map(str, command))}\n{output}\n")
    if result.returncode != 0:
        tail = "\n".join(line for line in output.splitlines() if line.strip(" ."))[-1500:]
        raise SetupError(f"{Path(command[0]).name} failed; all of its output is in {LOG}\n{tail}")


def fingerprint(*sources: object) -> str:
    """Changes when a source does: a text, or the content of a file."""
    texts = [source.read_text() if isinstance(source, Path) else str(source) for source in sources]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def is_stamped(folder: Path, name: str, *sources: object) -> bool:
    """Whether the stamp, which is written last, is there and was made from these sources."""
    stamp = folder / name
    return stamp.exists() and stamp.read_text() == fingerprint(*sources)


def new_folder(name: str) -> Path:
    """An empty folder beside the one that it will replace."""
    folder = TOOLS / f"{name}.new"
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def put_in_place(folder: Path) -> None:
    """Turn a finished NAME.new into NAME."""
    final = folder.with_suffix("")
    if final.is_symlink():
        final.unlink()
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
