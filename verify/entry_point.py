"""How the programs of this folder end: with an exit code, and never with a traceback."""

import io
import sys
from collections.abc import Callable

from kafka.errors import CorruptRecordError, KafkaTimeoutError

from kafka_access import SettingsError


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def exit_code(run: Callable[[], int]) -> int:
    """What `run` returns. If it raises, one line on stderr, and 2 for a wrong setting, else 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8
    try:
        return run()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except CorruptRecordError as error:
        print(
            "Kafka has a damaged batch of records, which nobody can read: cut it out"
            f" (docs/troubleshooting.md): {error.args[0]}",
            file=sys.stderr,
        )
        return 1
    except KafkaTimeoutError as error:
        line = first_line(error).removeprefix("KafkaTimeoutError: ")
        print(f"Kafka does not answer: {line}", file=sys.stderr)
        return 1
    except Exception as error:
        name, line = type(error).__name__, first_line(error)
        what = line if line.startswith(name) else f"{name}: {line}"
        print(f"unexpected error: {what}", file=sys.stderr)
        return 1
