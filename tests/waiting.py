"""Wait for something to come true, never for a fixed time."""

import time
from collections.abc import Callable


def eventually(
    condition: Callable[[], object],
    what: str,
    deadline_sec: float = 180,
    interval_sec: float = 0.2,
) -> None:
    """Poll until the condition holds; fails with `what` when it never does."""
    deadline = time.monotonic() + deadline_sec
    while not condition():
        assert time.monotonic() < deadline, f"not within {deadline_sec} s: {what}"
        time.sleep(interval_sec)
