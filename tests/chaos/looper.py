"""Work that goes on in the background of a run."""

import threading
from collections.abc import Callable

from faults import NotRecovered


class Looper:
    """Calls `work` again and again in a thread of its own, until the `with` block ends.

    Raises NotRecovered at the end of the block if `work` has raised anything.
    """

    def __init__(self, work: Callable[[], None], interval_sec: float) -> None:
        self.work, self.interval_sec = work, interval_sec
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.error: Exception | None = None

    def loop(self) -> None:
        try:
            while not self.ended.wait(self.interval_sec):
                self.work()
        except Exception as error:
            self.error = error

    def __enter__(self) -> "Looper":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        if self.error:
            raise NotRecovered(f"the test itself failed: {self.error!r}") from self.error
