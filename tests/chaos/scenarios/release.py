"""The previous release, which runs on the same data as the code of today."""

import os
import shlex
import shutil
import subprocess
import tarfile
from configparser import RawConfigParser
from io import BytesIO
from pathlib import Path

from paths import PROJECT, TOOLS, VENV
from stack import Stack
from supervision import StackError, supervisor

VERSION, COMMIT = "1.0.0", "eb45afd"
PYTHON = VENV / "bin" / "python"


def missing() -> str:
    """What this machine lacks of the code of the release, for a person; nothing if it has all."""
    result = subprocess.run(
        ["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=PROJECT, capture_output=True
    )
    if result.returncode == 0:
        return ""
    return f"release {VERSION} needs the project's history: git fetch --unshallow"


class Release:
    """The code of the previous release, beside a stack. It uses the programs installed for today's.

    All methods may raise StackError.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.folder = stack.directory.parent / f"release-{VERSION}"

    def unpack(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        archive = subprocess.run(
            ["git", "archive", COMMIT], cwd=PROJECT, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(self.folder)
        (self.folder / ".local").mkdir()
        (self.folder / ".venv").symlink_to(VENV)
        (self.folder / ".local" / "tools").symlink_to(TOOLS)

    def up(self) -> None:
        """Start this release on the data of the stack; returns when it answers."""
        self.run("local-stack/stack.py", "up")

    def down(self) -> None:
        """Stop what `up` has started."""
        self.run("local-stack/stack.py", "down")

    def produce(self, count: int) -> None:
        """Send so many records."""
        settings = {"RATE": "0", "COUNT": str(count), "INVALID_SHARE": "0.05", "LATE_SHARE": "0.05"}
        self.run("producer/producer.py", **settings)

    def run(self, *command: str, **settings: str) -> None:
        result = subprocess.run(
            [PYTHON, *command],
            cwd=self.folder,
            env={**os.environ, **self.stack.environment(), **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise StackError(f"{shlex.join(command)} of {VERSION}: {result.stdout}{result.stderr}")

    def replace_service(self, service: str, project: Path) -> None:
        """Let one service of today's running stack be that of this release, or of `PROJECT` again.

        As `docker compose up --build SERVICE` does in the folder of the other version.
        """
        file = self.stack.directory / "supervisord.conf"
        configuration = RawConfigParser()
        configuration.read(file)
        section = configuration[f"program:{service}"]
        for option in ("command", "environment"):
            for each in (PROJECT, self.folder):
                old, new = (f"{folder}/{service}/" for folder in (each, project))
                section[option] = section[option].replace(old, new)
        with file.open("w") as text:
            configuration.write(text)
        rpc = supervisor(self.stack)
        rpc.reloadConfig()
        rpc.stopProcess(service)
        rpc.removeProcessGroup(service)
        rpc.addProcessGroup(service)
