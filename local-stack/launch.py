"""Become a service, under a pid file that stays locked exactly as long as the service lives.

launch.py NAME COMMAND [ARGUMENT...]

The lock is what makes the pid in the file true: it outlives supervisord, never the process. So a
service whose supervisord was killed can be found, and no foreign process is ever taken for one.
Run in the folder of the stack; the pid stays that of this process, since COMMAND replaces it.
"""

import fcntl
import os
import sys
from pathlib import Path

PID_FILES = "pids"


def main() -> None:
    name, *command = sys.argv[1:]
    pid_file = os.open(f"{PID_FILES}/{name}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Not flock(): children inherit such a lock, and a killed service may leave children.
        fcntl.lockf(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"{name} already runs as process {os.read(pid_file, 20).decode()}")
    os.ftruncate(pid_file, 0)
    os.write(pid_file, str(os.getpid()).encode())
    os.set_inheritable(pid_file, True)
    os.execvp(command[0], command)


def running_pid(directory: Path, name: str) -> int | None:
    """The pid of the service NAME of the stack in this folder, whoever started it, or None."""
    try:
        with open(directory / PID_FILES / name, "r+") as pid_file:
            try:
                fcntl.lockf(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return int(pid_file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


if __name__ == "__main__":
    main()
