"""Measure what the pipeline can carry, each service beside the bare engine in the same run.

Starts a stack of its own on free ports in .local/bench. ONLY=producer,job runs some parts. QUICK=1
takes small sizes, which test the benchmark rather than the pipeline. It judges no figure.
BASE=main ONLY=job measures the job in turns with that of another commit instead of the bare engine.

Writes .local/bench/results.json, and at full size tests/benchmarks/results.json and the tables in
tests/benchmarks/README.md; with BASE, only .local/bench/beside-base.json.

Exits 0, 1 if a part could not be measured, 2 if a setting is wrong.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import checkpoint_cost
import consumer_speed
import footprint
import job_settings
import job_speed
import job_stages
import latency
import metrics_cost
import overload
import page_latency
import processor_time
import producer_speed
import secured_speed
import start_up
from report import print_table, update_readme
from results import PUBLISHED, Results, Row
from setup.steps import SetupError
from sizes import FULL, QUICK
from stack import PROJECT, Stack, StackError
from testbed import RESULTS, Testbed

Part = Callable[[Testbed], list[Row]]

# The parts that query the table come first: the last one fills it with windows of its own.
PARTS: dict[str, Part] = {
    "start": start_up.start,
    "recovery": start_up.recovery,
    "freshness": latency.freshness,
    "page": page_latency.page,
    "processor": processor_time.processor,
    "checkpoint": checkpoint_cost.checkpoint,
    "footprint": footprint.footprint,
    "overload": overload.overload,
    "producer": producer_speed.fastest,
    "pace": producer_speed.pace,
    "job": job_speed.backlog,
    "metrics": metrics_cost.metrics_cost,
    "security": secured_speed.secured_speed,
    "stages": job_stages.stages,
    "settings": job_settings.settings,
    "consumer": consumer_speed.backlog,
}
BESIDE_BASE: dict[str, Callable[[Testbed, Path], list[Row]]] = {"job": job_speed.beside}


def parts_of(env: Mapping[str, str]) -> dict[str, Part]:
    """The parts to run, in their order, by name. Raises ValueError."""
    parts = PARTS
    if base := env.get("BASE"):
        parts = {name: partial(part, base=copy_of(base)) for name, part in BESIDE_BASE.items()}
    wanted = (env.get("ONLY") or ",".join(parts)).split(",")
    if unknown := [name for name in wanted if name not in parts]:
        raise ValueError(f"ONLY must be some of {','.join(parts)}, not {','.join(unknown)}")
    return {name: part for name, part in parts.items() if name in wanted}


def copy_of(commit: str) -> Path:
    """A copy of the job as it is in that commit. Raises ValueError if there is none."""
    folder = RESULTS / "base"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = ["git", "-C", str(PROJECT), "archive", "--format=tar", commit, "spark-job"]
    found = subprocess.run(archive, capture_output=True)
    if found.returncode != 0:
        raise ValueError(f"BASE must be a commit, not {commit}: {found.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=found.stdout, check=True)
    return folder


def run(bed: Testbed, parts: Mapping[str, Part], results: Results, is_published: bool) -> None:
    for name, part in parts.items():
        say(f"\n{name} ...")
        begun = time.monotonic()
        rows = part(bed)
        results.add(name, rows, time.monotonic() - begun, bed.sizes.name)
        print_table(name, results.parts[name])
        if is_published:
            publish(name, results)


def publish(part: str, measured: Results) -> None:
    """Make what was measured at full size part of the project."""
    published = Results(PUBLISHED)
    published.parts[part] = measured.parts[part]
    published.save(list(PARTS))
    update_readme()


def say(line: str) -> None:
    print(line, flush=True)


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(env: Mapping[str, str]) -> int:
    try:
        parts = parts_of(env)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, interrupt)
    # It is meant for this process. The services that it starts see only their own folders.
    os.environ.pop("PYTHONPATH", None)
    bed = Testbed(QUICK if env.get("QUICK") == "1" else FULL)
    file = RESULTS / ("beside-base.json" if env.get("BASE") else "results.json")
    begun = time.monotonic()
    try:
        if old := Stack.last_started_in(RESULTS / "stack"):  # by a run that was killed
            old.down(say=lambda _: None)
        shutil.rmtree(RESULTS / "stack", ignore_errors=True)
        run(bed, parts, Results(file), is_published=bed.sizes is FULL and not env.get("BASE"))
    except (StackError, SetupError, RuntimeError, AssertionError) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        bed.end()
    say(f"{len(parts)} parts in {time.monotonic() - begun:.0f} s; {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
