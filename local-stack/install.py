"""Set up what runs the project without Docker: `.venv`, and Java, Kafka, ClickHouse in `.local`.

With --lint, only what `make lint` needs. Needs only Python's standard library. Makes only what is
missing or damaged, so it may be run at any time, and again after an interruption: each step writes
its stamp last.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python the user has
    sys.exit(
        "setup: Python 3.11 or newer is needed, this is {}.{};".format(*sys.version_info)
        + " choose another Python with: make PYTHON=python3.12"
    )

import argparse
import importlib.util
from collections.abc import Sequence

from paths import PROJECT, USABLE_PATHS, is_usable
from setup import clickhouse_library
from setup.classes import CLASSES_STEP
from setup.clickhouse_library import CLICKHOUSE_STEP
from setup.jars import CONNECTOR_STEP, KAFKA_STEP
from setup.java import JAVA_STEP
from setup.packages import LINT_STEP, PACKAGES_STEP, SPARK_STEP
from setup.steps import SetupError, set_up, setup_lock

FIRST_STEPS = (SPARK_STEP, JAVA_STEP, CONNECTOR_STEP)  # the others use them
OTHER_STEPS = (CLASSES_STEP, PACKAGES_STEP, KAFKA_STEP, CLICKHOUSE_STEP)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Set up what is missing.")
    parser.add_argument("--lint", action="store_true", help="only what `make lint` needs")
    is_for_lint = parser.parse_args(arguments).lint
    try:
        check_machine()
        (set_up_lint if is_for_lint else set_up_all)()
    except (SetupError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to continue", file=sys.stderr)
        return 130
    return 0


def set_up_lint() -> None:
    with setup_lock():
        set_up([LINT_STEP], workers=1)
    print("Set up: .local/lint is complete.", file=sys.stderr)


def set_up_all() -> None:
    clickhouse_library.package()
    with setup_lock():
        set_up(FIRST_STEPS, workers=1)
        set_up(OTHER_STEPS, workers=len(OTHER_STEPS))
    print("Set up: .venv and .local/tools are complete.", file=sys.stderr)


def check_machine() -> None:
    """Raise SetupError if nothing could be set up here."""
    if not is_usable(PROJECT):
        raise SetupError(f"the folders of the project {USABLE_PATHS}, unlike {str(PROJECT)!r}")
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        raise SetupError(
            "this Python cannot make virtual environments;"
            " on Debian and Ubuntu: apt install python3-venv"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
