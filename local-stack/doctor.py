"""Say what this machine lacks for the pipeline, with Docker and without. Changes nothing.

Needs only Python's standard library, and runs on a Python that is too old for the pipeline. Exits 1
if neither way would work.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from paths import PROJECT, VENV
from ports import DEFAULT_PORTS, SettingsError, is_free, port_from

MIN_PYTHON = (3, 11)
MIN_DOCKER = (20, 10, 10)  # older versions forbid system calls that the images' libc makes
MIN_DISK_GB = 3  # .venv and .local, or the images
MIN_MEMORY_GB = 4
MOUNTED = ("clickhouse-init", "clickhouse-config", "verify")
# Not published by docker-compose.yml.
LOCAL_PORTS = (
    "ZOOKEEPER_PORT",
    "SPARK_WORKER_WEBUI_PORT",
    "JOB_METRICS_PORT",
    "CONSUMER_METRICS_PORT",
)
BOTH, DOCKER, LOCAL = {"docker", "local"}, {"docker"}, {"local"}


class Check(NamedTuple):
    """One thing that the machine has or lacks; `ways` are the ways of running that need it."""

    ways: set[str]
    is_fine: bool
    found: str
    advice: str = ""


def checks() -> Iterator[Check]:
    yield disk()
    yield from ports()
    yield from local()
    yield from docker()
    yield mounted_files()


def disk() -> Check:
    free_gb = shutil.disk_usage(PROJECT).free / 2**30
    need = f"{MIN_DISK_GB} GB are needed"
    return Check(BOTH, free_gb >= MIN_DISK_GB, f"{free_gb:.0f} GB of free disk", need)


def memory(way: str, size: int, place: str) -> Check:
    size_gb = size / 2**30
    need = f"{MIN_MEMORY_GB} GB are needed"
    return Check({way}, size_gb > MIN_MEMORY_GB - 0.5, f"{size_gb:.0f} GB of memory {place}", need)


def ports() -> Iterator[Check]:
    for variable in DEFAULT_PORTS:
        ways = LOCAL if variable in LOCAL_PORTS else BOTH
        try:
            port = port_from(os.environ, variable)
        except SettingsError as error:
            yield Check(ways, False, f"{variable}={os.environ[variable]}", str(error))
            continue
        advice = f"stop what listens there (this pipeline, perhaps), or set {variable}"
        free = is_free(port)
        yield Check(ways, free, f"port {port} is {'free' if free else 'in use'}", advice)


def local() -> Iterator[Check]:
    host_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield memory("local", host_memory, "on this machine")
    version = platform.python_version()
    is_new = sys.version_info >= MIN_PYTHON
    advice = "Python 3.11 or newer is needed; choose another Python with: make PYTHON=python3.12"
    yield Check(LOCAL, is_new, f"Python {version}", advice)
    system = f"{platform.system()} on {platform.machine()}, {platform.libc_ver()[0] or 'no glibc'}"
    is_known = platform.system() == "Darwin" or platform.libc_ver()[0] == "glibc"
    yield Check(LOCAL, is_known, system, "there is no ClickHouse library for it")
    is_set_up = VENV.exists()
    yield Check(set(), True, "set up" if is_set_up else "not set up yet: make setup does it")


def docker() -> Iterator[Check]:
    server = output("docker", "version", "--format", "{{.Server.Version}}")
    version = tuple(map(int, re.findall(r"\d+", server)[:3]))
    advice = "install Docker 20.10.10 or newer, start its daemon, and be allowed to use it"
    found = f"Docker {server}" if server else "no Docker that answers"
    yield Check(DOCKER, version >= MIN_DOCKER, found, advice)
    # Docker may run in a virtual machine that has less memory than this one.
    docker_memory = output("docker", "info", "--format", "{{.MemTotal}}")
    if docker_memory.isdecimal():
        yield memory("docker", int(docker_memory), "in Docker")
    yield compose(is_docker_there=bool(server))


def compose(is_docker_there: bool) -> Check:
    plugin = output("docker", "compose", "version", "--short")
    if plugin:
        return Check(DOCKER, True, f"Compose {plugin}, typed `docker compose`")
    version = output("docker-compose", "version", "--short")
    if not version:
        return Check(DOCKER, False, "no Compose", "install docker-compose-plugin")
    found = f"Compose {version}, typed `docker-compose`"
    if not version.startswith("1."):
        return Check(DOCKER, True, found)
    found += "; v1 needs `docker-compose down` before every `up --build`"
    advice = (
        "but it cannot talk to this Docker: set COMPOSE_API_VERSION=auto, here or in .env,"
        " or install docker-compose-plugin"
    )
    # Which versions of the API Docker accepts, and which one Compose v1 speaks, differs.
    is_accepted = not is_docker_there or succeeds("docker-compose", "ps", "-q")
    return Check(DOCKER, is_accepted, found, advice)


def mounted_files() -> Check:
    """The services in containers are other users, who must be able to read what is mounted."""
    paths = [each for name in MOUNTED for each in (PROJECT / name, *(PROJECT / name).glob("*.*"))]
    closed = [path for path in paths if not path.stat().st_mode & stat.S_IROTH]
    # Docker Desktop lets containers read whatever the user can.
    is_fine = not closed or platform.system() != "Linux"
    advice = f"umask 077, perhaps; run: chmod -R a+rX {' '.join(MOUNTED)}"
    found = f"configuration that containers can{'' if is_fine else 'not'} read"
    return Check(DOCKER, is_fine, found, advice)


def output(*command: str) -> str:
    """What a command prints; empty if it is missing or fails."""
    result = run(*command)
    return result.stdout.strip() if result and result.returncode == 0 else ""


def succeeds(*command: str) -> bool:
    result = run(*command)
    return result is not None and result.returncode == 0


def run(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run a command in the folder of the project; None if it is missing or hangs."""
    try:
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None


def main() -> int:
    found = list(checks())
    for check in found:
        print(f"{'ok     ' if check.is_fine else 'MISSING'}  {check.found}", end="")
        print("" if check.is_fine else f": {check.advice}")
    missing = {way: any(way in c.ways and not c.is_fine for c in found) for way in sorted(BOTH)}
    commands = {"docker": "docker compose up --build", "local": "make demo, make local-up"}
    for way, is_missing in missing.items():
        print(f"{commands[way]:<26} {'would NOT work yet' if is_missing else 'can run'}")
    return 1 if all(missing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
