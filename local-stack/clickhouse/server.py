"""Run the ClickHouse library as a server.

server.py LIBRARY CONFIG_FILE INIT_SQL

The library is made to run queries, and serves its ports while one runs. So the last query reads a
FIFO that this process holds open: closing it ends the query, and the engine shuts down cleanly. An
engine that aborts (a wrong password over the native protocol is enough) takes this process along.
"""

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

FIFO = Path("clickhouse-hold")  # in the working folder
CLEAN_STOP_SEC = 10


def script(init_sql: str) -> str:
    """Create what is missing, then listen, then wait for the FIFO to be closed."""
    return "\n".join(
        [
            init_sql.rstrip().removesuffix(";") + ";",
            "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;",
            f"SELECT count() FROM file('{FIFO}', LineAsString, 'line String')",
        ]
    )


def run_engine(library: str, config_file: str, queries: str) -> str:
    """Block until the queries are done; their error message, or nothing."""
    engine = ctypes.CDLL(library)
    engine.chdb_query_cmdline.restype = ctypes.c_void_p
    engine.chdb_result_error.argtypes = [ctypes.c_void_p]
    engine.chdb_result_error.restype = ctypes.c_char_p
    # Its own take our signals, and spend seconds on a stack trace when it aborts.
    engine.chdb_set_signal_handlers_enabled(0)
    options = [f"--config-file={config_file}", f"--queries-file={queries}", "--log-level=warning"]
    texts = ["clickhouse", *options]
    arguments = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
    error = engine.chdb_result_error(engine.chdb_query_cmdline(len(texts), arguments))
    return error.decode() if error else ""


def main() -> None:
    library, config_file, init_sql = sys.argv[1:]
    FIFO.unlink(missing_ok=True)
    os.mkfifo(FIFO)
    hold = os.open(FIFO, os.O_RDWR)
    Path("clickhouse-start.sql").write_text(script(Path(init_sql).read_text()))

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        os.close(hold)
        signal.alarm(CLEAN_STOP_SEC)  # the default action of which ends the process

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def serve() -> None:
        error = run_engine(library, config_file, "clickhouse-start.sql")
        print(error or "ClickHouse stopped", flush=True)
        os._exit(1 if error else 0)  # without the library's destructors, which complain

    engine = threading.Thread(target=serve)  # the main thread has to stay free for signals
    engine.start()
    engine.join()


if __name__ == "__main__":
    main()
