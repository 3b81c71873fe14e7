"""Run a service that kills itself at a chosen moment."""

import signal
import subprocess

from lag import consumer_lag, wait_for_consumer, wait_for_job
from paths import PROJECT
from pipeline import DEADLINE_SEC, PYTHON, Pipeline

# A patch may use all of these. patch() raises an error if the name to replace does not exist.
PREAMBLE = """
import os, signal, sys
from unittest.mock import patch

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def if_rows(action):
    "A flush that does something else if there are rows. An idle consumer flushes none, as a check."
    import loader
    flush = loader.Loader.flush
    return lambda self: action(self) if self.rows else flush(self)
"""


def start_patched(
    pipeline: Pipeline, folder: str, module: str, patch: str, **settings: str
) -> "subprocess.Popen[str]":
    """Start a service as its main module would, after running `patch`, which replaces code of it.

    Only the service's folder is on the import path. A patch has to replace a name in the module
    that uses it: `from x import y` makes a second name.
    """
    code = f"{PREAMBLE}\nimport {module}\n{patch}\nsys.exit({module}.main())"
    return subprocess.Popen(
        [PYTHON, "-c", code],
        env=pipeline.environment(PYTHONPATH=str(PROJECT / folder), **settings),
        stderr=subprocess.PIPE,
        text=True,
    )


def start_patched_consumer(
    pipeline: Pipeline, patch: str, **settings: str
) -> "subprocess.Popen[str]":
    return start_patched(pipeline, "clickhouse-consumer", "consumer", patch, **settings)


def assert_kills_itself(process: "subprocess.Popen[str]") -> None:
    """Fails if the patch had no effect: then the process runs on, or ends in another way."""
    try:
        _, log = process.communicate(timeout=DEADLINE_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        _, log = process.communicate()
        raise AssertionError(f"has not killed itself within {DEADLINE_SEC} s:\n{log}") from None
    assert process.returncode == -signal.SIGKILL, log


def let_consumer_die(pipeline: Pipeline, patch: str, **settings: str) -> None:
    """In place of the consumer, run one that kills itself while 2,000 transactions are new."""
    wait_for_consumer(pipeline)
    pipeline.stack.stop("clickhouse-consumer")
    pipeline.produce(2000)
    wait_for_job(pipeline)
    assert consumer_lag(pipeline) > 0
    assert_kills_itself(start_patched_consumer(pipeline, patch, **settings))
