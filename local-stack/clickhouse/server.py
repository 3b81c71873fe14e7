"""Run the ClickHouse library as a server.

server.py LIBRARY CONFIG_FILE INIT_SQL

The library runs queries, and serves its ports while a query is running. So the last query reads a
FIFO that this process holds open: closing it ends the query, and the engine shuts down cleanly. An
engine that aborts (a wrong password over the native protocol is enough) ends this process, too.
"""

import argparse
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

# Both in the working folder.
FIFO = Path("clickhouse-hold")
QUERIES = Path("clickhouse-start.sql")
CLEAN_STOP_SEC = 10


def script(init_sql: str) -> str:
    """Queries that create what is missing, then listen, then wait until the FIFO is closed."""
    return "\n".join(
        [
            init_sql.rstrip().removesuffix(";") + ";",
            "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;",
            f"SELECT count() FROM file('{FIFO}', LineAsString, 'line String')",
        ]
    )


def run_engine(library: str, config_file: str, queries: str) -> str:
    """Block until the queries are done; return their error message, empty if there is none."""
    engine = ctypes.CDLL(library)
    engine.chdb_query_cmdline.restype = ctypes.c_void_p
    engine.chdb_result_error.argtypes = [ctypes.c_void_p]
    engine.chdb_result_error.restype = ctypes.c_char_p
    # The engine's own handlers take our signals, and spend seconds on a stack trace if it aborts.
    engine.chdb_set_signal_handlers_enabled(0)
    options = [f"--config-file={config_file}", f"--queries-file={queries}", "--log-level=warning"]
    texts = ["clickhouse", *options]
    arguments = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
    error = engine.chdb_result_error(engine.chdb_query_cmdline(len(texts), arguments))
    return error.decode() if error else ""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Run the ClickHouse library as a server.")
    parser.add_argument("library")
    parser.add_argument("config_file")
    parser.add_argument("init_sql", type=Path)
    given = parser.parse_args(arguments)
    FIFO.unlink(missing_ok=True)
    os.mkfifo(FIFO)
    hold = os.open(FIFO, os.O_RDWR)
    QUERIES.write_text(script(given.init_sql.read_text()))

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        os.close(hold)
        signal.alarm(CLEAN_STOP_SEC)  # ends the process if the engine has not ended it by then

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def serve() -> None:
        error = run_engine(given.library, given.config_file, str(QUERIES))
        print(error or "ClickHouse stopped", flush=True)
        os._exit(1 if error else 0)  # skips the library's destructors, which report errors

    engine = threading.Thread(target=serve)  # Python handles signals in the main thread only
    engine.start()
    engine.join()


if __name__ == "__main__":
    main(sys.argv[1:])
