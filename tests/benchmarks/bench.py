"""Measure what the pipeline carries, each part beside the bare engine in the same run.

A stack of its own on free ports in .local/bench. QUICK=1 takes small sizes, which try the benchmark
rather than the pipeline; ONLY=producer,job runs some parts. Figures are reported, none is judged.

Writes .local/bench/results.json, and at full size tests/benchmarks/results.json and the figures in
tests/benchmarks/README.md. Exits 0, 1 if a part could not be measured, 2 if a setting is wrong.
"""

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

import draining
import overload
import running
import sending
import storing
import tuning
import watching
from results import Results, Row
from stack import PROJECT, ConfigError, Stack, StackError
from testbed import FULL, QUICK, RESULTS, Testbed

HERE = PROJECT / "tests" / "benchmarks"
# The parts that ask the table come first: the last one fills it with windows of its own.
PARTS: dict[str, Callable[[Testbed], list[Row]]] = {
    "start": running.start,
    "freshness": running.fresh,
    "page": watching.page,
    "footprint": running.footprint,
    "overload": overload.overload,
    "producer": sending.fastest,
    "pace": sending.pace,
    "job": draining.backlog,
    "growth": draining.growth,
    "windows": draining.windows,
    "stages": tuning.stages,
    "settings": tuning.settings,
    "consumer": storing.backlog,
}


def chosen(env: Mapping[str, str]) -> list[str]:
    """The parts to run, in their order. Raises ConfigError."""
    wanted = (env.get("ONLY") or ",".join(PARTS)).split(",")
    if unknown := [name for name in wanted if name not in PARTS]:
        raise ConfigError(f"ONLY must be some of {','.join(PARTS)}, not {','.join(unknown)}")
    return [name for name in PARTS if name in wanted]


def run(bed: Testbed, parts: list[str], results: Results) -> None:
    for name in parts:
        say(f"\n{name} ...")
        begun = time.monotonic()
        rows = PARTS[name](bed)
        results.add(name, rows, time.monotonic() - begun, bed.sizes.name)
        results.show([name])
        if bed.sizes is FULL:
            publish(name)


def publish(part: str) -> None:
    """What was measured at full size becomes part of the project."""
    published = Results(HERE / "results.json")
    published.parts[part] = Results(RESULTS / "results.json").parts[part]
    published.save(list(PARTS))
    published.write_into(HERE / "README.md")


def say(line: str) -> None:
    print(line, flush=True)


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(env: Mapping[str, str]) -> int:
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        parts = chosen(env)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    bed = Testbed(QUICK if env.get("QUICK") == "1" else FULL)
    begun = time.monotonic()
    try:
        if old := Stack.left_in(RESULTS / "stack"):  # by a run that was killed
            old.down(say=lambda _: None)
        shutil.rmtree(RESULTS / "stack", ignore_errors=True)
        run(bed, parts, Results(RESULTS / "results.json"))
    except (StackError, RuntimeError, AssertionError) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        bed.end()
    say(f"{len(parts)} parts in {time.monotonic() - begun:.0f} s; {RESULTS / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
