"""How a step runs: only if its result is missing, with its output in a log."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from locales import LOCALE
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
    with ExitStack() as stack:
        with suppress(OSError):  # nobody can write here, which is fine if nothing is missing
            TOOLS.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((TOOLS / "setup.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up(steps: Sequence[Step], workers: int) -> None:
    """Make what is missing, up to `workers` steps at a time. Raises SetupError or OSError."""
    missing = [step for step in steps if not step.is_done()]
    needed_mb = sum(step.size_mb for step in missing)
    free_mb = shutil.disk_usage(PROJECT).free // 2**20
    if free_mb < needed_mb:
        raise SetupError(f"about {needed_mb} MB of disk are needed here, {free_mb} MB are free")
    if missing:
        LOG.open("a").close()  # raises OSError before a download that could not be kept
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
        env={**os.environ, **environment, **LOCALE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with LOG.open("ab") as log:
        log.write(os.fsencode(f"$ {' '.join(map(str, command))}\n") + result.stdout + b"\n")
    if result.returncode != 0:
        output = result.stdout.decode(errors="replace")
        tail = "\n".join(line for line in output.splitlines() if line.strip(" ."))[-1500:]
        raise SetupError(f"{Path(command[0]).name} failed; all of its output is in {LOG}\n{tail}")


def fingerprint(*sources: object) -> str:
    """Changes when a source does: a text, or the content of a file."""
    texts = [
        source.read_bytes() if isinstance(source, Path) else os.fsencode(str(source))
        for source in sources
    ]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def write_stamp(stamp: Path, *sources: object, made: Iterable[Path] = ()) -> None:
    """Write from which sources a step has made which files below the stamp. Call this last."""
    sizes = [f"{file.stat().st_size} {file.relative_to(stamp.parent)}" for file in made]
    stamp.write_text("\n".join([fingerprint(*sources), *sizes]))


def is_stamped(stamp: Path, *sources: object) -> bool:
    """Whether a step was made from these sources, and its files are still as they were."""
    try:
        written, *sizes = stamp.read_text().split("\n")
        files = [line.split(" ", 1) for line in sizes]
        return written == fingerprint(*sources) and all(
            (stamp.parent / name).stat().st_size == int(size) for size, name in files
        )
    except (OSError, ValueError):  # a file is missing, or the stamp is damaged
        return False


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
