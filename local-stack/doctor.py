"""Say what this machine lacks for the pipeline, with Docker and without. Changes nothing.

Needs nothing but Python's standard library. Exits 1 if neither way would work.
"""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent
MIN_PYTHON = (3, 11)
MIN_DOCKER = (20, 10, 10)  # older ones forbid system calls that the images' libc makes
MIN_DISK_GB = 3  # .venv and .local, or the images
MIN_MEMORY_GB = 4
PORTS = {
    "KAFKA_PORT": 9092,
    "CLICKHOUSE_PORT": 9000,
    "CLICKHOUSE_HTTP_PORT": 8123,
    "SPARK_MASTER_PORT": 7077,
    "SPARK_MASTER_WEBUI_PORT": 8080,
    "SPARK_UI_PORT": 4040,
}
LOCAL_PORTS = {"ZOOKEEPER_PORT": 2181, "SPARK_WORKER_WEBUI_PORT": 8081}
BOTH, DOCKER, LOCAL = {"docker", "local"}, {"docker"}, {"local"}


class Check(NamedTuple):
    """One look at the machine; `ways` are those that need it."""

    ways: set[str]
    is_fine: bool
    found: str
    advice: str = ""


def checks() -> Iterator[Check]:
    yield from machine()
    yield from ports()
    yield from local()
    yield from docker()


def machine() -> Iterator[Check]:
    disk_gb = shutil.disk_usage(PROJECT).free / 2**30
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    need = f"{MIN_DISK_GB} GB are needed"
    yield Check(BOTH, disk_gb >= MIN_DISK_GB, f"{disk_gb:.0f} GB of free disk", need)
    need = f"{MIN_MEMORY_GB} GB are needed"
    yield Check(BOTH, memory_gb > MIN_MEMORY_GB - 0.5, f"{memory_gb:.0f} GB of memory", need)


def ports() -> Iterator[Check]:
    for ways, variables in ((BOTH, PORTS), (LOCAL, LOCAL_PORTS)):
        for variable, default in variables.items():
            port = os.environ.get(variable) or str(default)
            if not port.isdecimal() or int(port) > 65535:
                yield Check(ways, False, f"{variable}={port}", "a port is a number up to 65535")
                continue
            advice = f"stop what listens there (this pipeline, perhaps), or set {variable}"
            free = is_free(int(port))
            yield Check(ways, free, f"port {port} is {'free' if free else 'in use'}", advice)


def local() -> Iterator[Check]:
    version = platform.python_version()
    is_new = sys.version_info >= MIN_PYTHON
    advice = "Python 3.11 or newer is needed; name another one with: make PYTHON=python3.12"
    yield Check(LOCAL, is_new, f"Python {version}", advice)
    system = f"{platform.system()} on {platform.machine()}, {platform.libc_ver()[0] or 'no glibc'}"
    is_known = platform.system() == "Darwin" or platform.libc_ver()[0] == "glibc"
    yield Check(LOCAL, is_known, system, "there is no ClickHouse library for it")
    is_set_up = (PROJECT / ".venv").exists()
    yield Check(set(), True, "set up" if is_set_up else "not set up yet: make setup does it")


def docker() -> Iterator[Check]:
    server = output("docker", "version", "--format", "{{.Server.Version}}")
    version = tuple(map(int, re.findall(r"\d+", server)[:3]))
    advice = "install Docker 20.10.10 or newer, start its daemon, and be allowed to use it"
    found = f"Docker {server}" if server else "no Docker that answers"
    yield Check(DOCKER, version >= MIN_DOCKER, found, advice)
    plugin = output("docker", "compose", "version", "--short")
    compose = plugin or output("docker-compose", "version", "--short")
    found = f"Compose {compose}" if compose else "no Compose"
    found += ", typed `docker compose`" if plugin else ""
    yield Check(DOCKER, bool(compose), found, "install docker-compose-plugin")
    cpu_info = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and cpu_info.exists():
        has_avx2 = "avx2" in cpu_info.read_text().split()
        found = f"a processor with{'' if has_avx2 else 'out'} AVX2"
        yield Check(DOCKER, has_avx2, found, "ClickHouse's image needs one that has it")


def is_free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def output(*command: str) -> str:
    """What a command prints in one line; nothing if it is missing or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def main() -> int:
    found = list(checks())
    for check in found:
        print(f"{'ok     ' if check.is_fine else 'MISSING'}  {check.found}", end="")
        print("" if check.is_fine else f": {check.advice}")
    missing = {way: any(way in c.ways and not c.is_fine for c in found) for way in sorted(BOTH)}
    commands = {"docker": "docker-compose up --build", "local": "make demo, make local-up"}
    for way, is_missing in missing.items():
        print(f"{commands[way]:<26} {'would NOT work yet' if is_missing else 'can run'}")
    return 1 if all(missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
