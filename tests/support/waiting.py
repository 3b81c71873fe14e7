"""Wait for something to come true, never for a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def eventually(
    condition: Callable[[], Seen],
    what: str,
    deadline_sec: float = 180,
    interval_sec: float = 0.2,
) -> Seen:
    """Poll until the condition returns something true, and return that.

    Raises AssertionError with `what` and the last value seen when the deadline has passed.
    """
    deadline = time.monotonic() + deadline_sec
    while not (seen := condition()):
        assert time.monotonic() < deadline, (
            f"not within {deadline_sec} s: {what}; last seen: {seen!r}"
        )
        time.sleep(interval_sec)
    return seen
