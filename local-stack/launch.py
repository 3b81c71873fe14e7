"""Become a service, and hold a lock on its pid file exactly as long as the service lives.

launch.py [--folder FOLDER] NAME COMMAND...

The lock proves that the pid in the file is that of the service: a supervisord that is killed does
not release it, the end of the service does. So a service whose supervisord was killed can be found,
and an unrelated process is never mistaken for a service. Runs in the folder of the stack. COMMAND
replaces this process, so the pid stays the same; it runs in FOLDER. supervisord itself runs in the
same way.
"""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ports import StackSettings

PID_FILES = "pids"
LOCK_TRIES = 10


def pid_file(directory: Path, name: str) -> Path:
    return directory / PID_FILES / name


def main(arguments: Sequence[str]) -> NoReturn:
    parser = argparse.ArgumentParser(description="Become a service that holds its pid file locked.")
    parser.add_argument("--folder", default=".")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    hold_pid_file(given.name)
    # A heartbeat of an earlier process says nothing about this one.
    StackSettings(Path()).health_file(given.name).unlink(missing_ok=True)
    os.chdir(given.folder)
    os.execvp(given.command[0], given.command)


def hold_pid_file(name: str) -> None:
    """Write this process into the pid file and lock it until the process ends.

    Exits if another process holds the lock.
    """
    file = os.open(pid_file(Path(), name), os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(LOCK_TRIES):
        with suppress(OSError):
            # Not flock(): children inherit such a lock, and a killed service may leave children.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        time.sleep(0.1)  # `running_pid` holds it, too, for a moment
    else:
        sys.exit(f"{name} already runs as process {os.read(file, 20).decode().strip()}")
    # Not emptied first: if the disk is full, something else may take its only block.
    length = os.write(file, f"{os.getpid()}\n".encode())
    os.ftruncate(file, length)
    os.set_inheritable(file, True)


def running_pid(directory: Path, name: str) -> int | None:
    """The pid of a service in the folder of its stack, whoever started it; None if it has ended."""
    try:
        with pid_file(directory, name).open("r+") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return int(file.readline() or 0) or None
    except (FileNotFoundError, NotADirectoryError):
        pass
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
