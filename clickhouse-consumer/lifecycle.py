"""How a service logs and stops: the same file in each service; a test compares the copies."""

import logging
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

# kafka-python, py4j and clickhouse-driver log several lines, or a traceback, per reconnect attempt.
CHATTY_LOGGERS = ("kafka", "py4j", "clickhouse_driver")
SLICE_SEC = 0.1
RESTART_DELAY_SEC = 5.0


class Stop:
    """A request to stop, made by a signal or by the code itself.

    Not threading.Event: its lock is not reentrant, so a signal handler that sets the event while
    the main thread is inside wait() can deadlock.
    """

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        self.requested = True

    def on_signals(self) -> None:
        """Let the first SIGTERM or SIGINT request the stop; a second one ends the process.

        May be called again, to replace handlers that a library has installed.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if self.requested else self._handle)

    def _handle(self, _number: int, _frame: object) -> None:
        self.request()
        self.on_signals()

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` or until a stop is requested; returns whether one was requested."""
        end = time.monotonic() + seconds
        # In slices: a signal handler runs at once, but time.sleep() then sleeps on.
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_SEC))
        return self.requested


def set_up_logging(prefix: str = "") -> None:
    """Log to stderr, with UTC times and `prefix` before each message; may be called again."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO,
        format=f"%(asctime)s %(levelname)s {prefix}%(message)s",
        datefmt="%Y-%m-%dT%H:%M:%SZ",
        force=True,
    )
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def guarded(run: Callable[[], int], stop: Stop) -> int:
    """Return the exit code of `run`; if it raises an unexpected error, log one line and return 1.

    Waits before it returns 1, unless a stop is requested, so that a supervisor does not restart the
    service in a tight loop.
    """
    try:
        return run()
    except Exception as error:
        logger.error("unexpected error, stopping: %s", summary(error))
        stop.wait(RESTART_DELAY_SEC)
        return 1


def summary(error: Exception) -> str:
    """The type, the first line of the text, and the last place in this service's own code."""
    name = type(error).__name__
    line = next(iter(str(error).strip().splitlines()), name)
    what = line if line.startswith(name) else f"{name}: {line}"
    frames = traceback.extract_tb(error.__traceback__)
    folder = Path(__file__).parent
    frame = [each for each in frames if Path(each.filename).parent == folder][-1]
    return f"{what} (at {Path(frame.filename).name}:{frame.lineno})"
