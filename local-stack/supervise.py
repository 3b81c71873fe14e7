"""supervisord that goes on while its logs cannot be written, as on a full disk.

The one of supervisor 4.3.0 prints a traceback for each line that it cannot write. If that cannot be
written either, it ends, and no service is started again any more.
"""

from contextlib import suppress

from supervisor import supervisord
from supervisor.loggers import LogRecord, RotatingFileHandler

write = RotatingFileHandler.emit


def write_if_possible(handler: RotatingFileHandler, record: LogRecord) -> None:
    """Write a line to a log, or lose it."""
    try:
        write(handler, record)
    except (OSError, ValueError):
        if handler.stream.closed:  # a full log was closed, and no new one begun
            with suppress(OSError):
                handler.stream = open(handler.baseFilename, handler.mode)  # noqa: SIM115


if __name__ == "__main__":
    RotatingFileHandler.emit = write_if_possible
    RotatingFileHandler.handleError = lambda handler: None
    supervisord.main()
