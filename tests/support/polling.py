"""Wait for a value; a failure shows the value that was there instead."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from waiting import eventually

Value = TypeVar("Value")


class Seen(NamedTuple, Generic[Value]):
    """A value, which counts as true when it is the right one; `eventually` shows it otherwise."""

    value: Value
    is_right: bool

    def __bool__(self) -> bool:
        return self.is_right


def eventually_matches(
    read: Callable[[], Value],
    is_right: Callable[[Value], bool],
    what: str,
    deadline_sec: float = 180,
    interval_sec: float = 0.2,
) -> Value:
    """Poll `read` until `is_right` accepts its value, and return that value.

    Raises AssertionError with `what` and the last value when the deadline has passed.
    """

    def look() -> Seen[Value]:
        value = read()
        return Seen(value, is_right(value))

    return eventually(look, what, deadline_sec, interval_sec).value


def eventually_equal(
    read: Callable[[], object], expected: object, what: str, deadline_sec: float = 180
) -> None:
    """Poll `read` until it returns `expected`. Raises AssertionError like `eventually_matches`."""
    eventually_matches(
        read, lambda value: value == expected, f"{what} ({expected!r})", deadline_sec
    )
