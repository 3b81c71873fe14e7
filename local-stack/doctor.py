"""Say what this machine lacks for the pipeline, with Docker and without. Changes nothing.

Needs only Python's standard library, and runs on a Python that is too old for the pipeline. Exits 1
if neither way would work.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from paths import PROJECT, VENV
from ports import DEFAULT_PORTS, SettingsError, is_free, port_from

MIN_PYTHON = (3, 11)
MIN_DOCKER = (20, 10, 10)  # older versions forbid system calls that the images' libc makes
MIN_DISK_GB = 3  # .venv and .local, or the images
MIN_MEMORY_GB = 4
# Not published by docker-compose.yml.
LOCAL_PORTS = ("ZOOKEEPER_PORT", "SPARK_WORKER_WEBUI_PORT")
BOTH, DOCKER, LOCAL = {"docker", "local"}, {"docker"}, {"local"}


class Check(NamedTuple):
    """One thing that the machine has or lacks; `ways` are the ways of running that need it."""

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
    plugin = output("docker", "compose", "version", "--short")
    compose = plugin or output("docker-compose", "version", "--short")
    found = f"Compose {compose}" if compose else "no Compose"
    found += ", typed `docker compose`" if plugin else ""
    yield Check(DOCKER, bool(compose), found, "install docker-compose-plugin")
    cpu_info = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and cpu_info.exists():
        has_avx2 = "avx2" in cpu_info.read_text().split()
        found = f"a processor with{'' if has_avx2 else 'out'} AVX2"
        yield Check(DOCKER, has_avx2, found, "ClickHouse's image needs AVX2")


def output(*command: str) -> str:
    """What a command prints; empty if it is missing or fails."""
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
