"""Turn the value of a record of `transactions_agg` into a row of `aggregated_analytics`.

Strict about what each field is, lenient about how a time is written. Amounts never pass through a
binary float.
"""

import json
import re
import reprlib
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache, partial
from typing import Any, NamedTuple, NoReturn

from dateutil.parser import isoparse

MAX_CONSECUTIVE_INVALID = 1000
CENT = Decimal("0.01")
EPOCH_TEXT = re.compile(r"[0-9]{10}|[0-9]{13}")
ISO_TEXT = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}:?[0-9]{2}.{0,30}")


class Row(NamedTuple):
    """The totals of one window. The fields are the columns of the INSERT, in its order."""

    window_start: datetime
    window_end: datetime
    total_sales: Decimal
    total_orders: int
    average_order_value: Decimal
    top_product: str


class InvalidMessage(ValueError):
    """The value of a record is not a window that the table can hold; the text says why."""

    kind = "invalid"


class Malformed(InvalidMessage):
    """It is not even a JSON object."""

    kind = "malformed"


class TooManyInvalid(Exception):
    """So many records in a row were refused that a bug is more likely than bad data."""


def raise_if_too_many(in_a_row: int) -> None:
    """Raises TooManyInvalid at the limit, given the number of records refused in a row so far."""
    if in_a_row >= MAX_CONSECUTIVE_INVALID:
        raise TooManyInvalid(
            f"refused {in_a_row} records in a row:"
            " looks like a bug or a foreign producer, not bad data"
        )


def to_datetime(value: Any) -> datetime:
    """Read ISO 8601 (no offset means UTC) or epoch time, cut to the whole seconds of a DateTime.

    Raises ValueError or ArithmeticError, as all the readers below do.
    """
    if type(value) is str:
        return datetime_from_text(value)
    if type(value) in (int, Decimal):
        return datetime_from_epoch(value)
    raise ValueError


@lru_cache(maxsize=4096)  # isoparse is slow, and each window is updated many times
def datetime_from_text(text: str) -> datetime:
    if EPOCH_TEXT.fullmatch(text):
        return datetime_from_epoch(int(text))
    if not ISO_TEXT.fullmatch(text):  # isoparse also reads a date without a time
        raise ValueError
    moment = isoparse(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime_from_seconds(moment.timestamp())


def datetime_from_epoch(value: int | Decimal) -> datetime:
    """Read seconds if below 10^11 (the year 5138), otherwise milliseconds."""
    return datetime_from_seconds(value if value < 10**11 else value // 1000)


def datetime_from_seconds(seconds: float | Decimal) -> datetime:
    if not 0 <= seconds < 2**32:  # the range of ClickHouse's DateTime
        raise ValueError
    return datetime.fromtimestamp(int(seconds), UTC)


def to_cents(value: Any, context: Context) -> Decimal:
    if type(value) not in (int, Decimal):
        raise ValueError
    return Decimal(value).quantize(CENT, ROUND_HALF_UP, context)


def to_uint64(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError
    return value


def to_string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    value.encode()  # fails on half of a surrogate pair, which is legal in JSON and cannot be stored
    return value


# How to read each field, and in words what it must be.
READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "window_start": (to_datetime, "a time from 1970 to 2106"),
    "window_end": (to_datetime, "a time from 1970 to 2106"),
    "total_sales": (partial(to_cents, context=Context(38)), "an amount of at most 38 digits"),
    "total_orders": (to_uint64, "a whole number from 0 to 2^64 - 1"),
    "average_order_value": (
        partial(to_cents, context=Context(18)),
        "an amount of at most 18 digits",
    ),
    "top_product": (to_string, "text"),
}


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Built once: json.loads with these arguments would build a decoder per record.
JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=refuse_constant)


def parse(value: bytes | None) -> Row:
    """Read the value of one record. Raises InvalidMessage, and nothing else, if that fails."""
    if value is None:
        raise Malformed("no value (a tombstone)")
    try:
        message = JSON.decode(value.decode())
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise Malformed("not a JSON object")
    row = Row(*(read(message, column) for column in Row._fields))
    if row.window_end <= row.window_start:
        raise InvalidMessage("window_end is not after window_start")
    return row


def read(message: dict[str, Any], column: str) -> Any:
    if column not in message:
        raise InvalidMessage(f"{column} is missing")
    convert, expected = READERS[column]
    try:
        return convert(message[column])
    except (ValueError, ArithmeticError):
        found = reprlib.repr(message[column])[:100]
        raise InvalidMessage(f"{column} is not {expected}: {found}") from None
