"""What must be true before services start. Each check raises StackError with what to do."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Collection

from paths import TOOLS
from ports import MAX_PORT, SAFE_PORTS, StackSettings, is_free
from services import ports_of
from supervision import StackError

MIN_FREE_MB = 500


def check_startable(stack: StackSettings) -> None:
    """The set-up is done, and the folder of the stack, which is made, has room for files."""
    if not all((TOOLS / tool).exists() for tool in ("java", "kafka", "clickhouse")):
        raise StackError("not set up yet: run make setup")
    try:
        stack.directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=stack.directory).close()
    except OSError as error:
        raise StackError(f"STACK_DIR must be a folder to write to: {error}") from None
    last = StackSettings.last_started_in(stack.directory)
    if last and last.cluster != stack.cluster:
        kind = "a cluster" if last.cluster else "a stack without CLUSTER=1"
        raise StackError(f"{stack.directory} has the data of {kind}: choose another STACK_DIR")
    free_mb = shutil.disk_usage(stack.directory).free // 2**20
    if free_mb < MIN_FREE_MB:
        raise StackError(f"{MIN_FREE_MB} MB are needed in {stack.directory}, {free_mb} are free")


def check_ports(services: Collection[str], stack: StackSettings) -> None:
    """No other program listens on the ports of these services."""
    for port, variable in ports_of(services, stack).items():
        if not is_free(port):
            raise StackError(
                f"port {port} is in use by another program; choose another one with {variable},"
                f" for example {variable}={other_port(port, stack)} make local-up"
            )


def other_port(port: int, stack: StackSettings) -> int:
    """A free port that the stack does not use, 10,000 above this one if possible."""
    candidates: list[int] = [port + 10000, *SAFE_PORTS]
    own = {used for first in stack.ports().values() for used in stack.block(first)}
    blocks = (stack.block(p) for p in candidates if stack.block(p)[-1] <= MAX_PORT)
    return next(b[0] for b in blocks if own.isdisjoint(b) and all(map(is_free, b)))


def check_same_ports(stack: StackSettings) -> None:
    """A stack that is running was started with the ports that are set now."""
    running = StackSettings.last_started_in(stack.directory)
    if running is None:
        raise StackError(
            f"the stack in {stack.directory} runs, but its ports.json is damaged;"
            " stop it with make local-down first"
        )
    wanted = stack.saved()
    for variable, value in running.saved().items():
        if wanted.get(variable, value) != value:
            raise StackError(
                f"the stack in {stack.directory} runs with {variable}={value or 0};"
                " stop it with make local-down first"
            )


def check_user(services: Collection[str]) -> None:
    """The user has a name if one of the services needs it."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        if any(name.startswith("spark") for name in services):
            raise StackError(
                f"Spark needs a user with a name, and user {os.getuid()} has none: add a line to"
                f" /etc/passwd, for example spark:x:{os.getuid()}:{os.getgid()}::/tmp:/bin/sh"
            ) from None
