"""What must be true before services start. Each check raises StackError with what to do."""

import json
import shutil
from collections.abc import Collection

from paths import TOOLS
from ports import StackSettings, is_free
from services import ports_of
from supervision import StackError

MIN_FREE_MB = 500


def check_startable(stack: StackSettings) -> None:
    """The set-up is done, and the disk has room for the folder of the stack, which is made."""
    if not all((TOOLS / tool).exists() for tool in ("java", "kafka", "clickhouse")):
        raise StackError("not set up yet: run make setup")
    stack.directory.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(stack.directory).free // 2**20
    if free_mb < MIN_FREE_MB:
        raise StackError(f"{MIN_FREE_MB} MB are needed in {stack.directory}, {free_mb} are free")


def check_ports(services: Collection[str], stack: StackSettings) -> None:
    """No other program listens on the ports of these services."""
    for variable, port in ports_of(services, stack).items():
        if not is_free(port):
            raise StackError(
                f"port {port} is in use by another program; choose another one with {variable},"
                f" for example {variable}={port + 10000} make local-up"
            )


def check_same_ports(stack: StackSettings) -> None:
    """A stack that is running was started with the ports that are set now."""
    running = json.loads((stack.directory / "ports.json").read_text())
    for variable, port in stack.ports().items():
        if running[variable] != port:
            raise StackError(
                f"the stack in {stack.directory} runs with {variable}={running[variable]};"
                " stop it with make local-down first"
            )
