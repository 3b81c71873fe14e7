"""Which records count, in plain Python: the rules of docs/validity.md, edge cases included.

This file shares no code with the job on purpose. Where it mentions Spark, Jackson or Java, it
reproduces what their JSON reader does, because the job judges what that reader returns.
"""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

PAYMENT_TYPES = {"credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery"}
REASONS = ("malformed", "identity", "amount", "payment_type", "time")
AHEAD_LIMIT = timedelta(minutes=5)
MAX_ID_LENGTH = 200
CENT = Decimal("0.01")
MAX_AMOUNT = Decimal("9999999999999.99")
MAX_DEPTH, MAX_DIGITS, MAX_KEY_LENGTH = 1000, 1000, 50_000  # Jackson's limits
SCIENTIFIC = re.compile(r"-?[0-9]\.[0-9]+E-?[0-9]+", re.ASCII)  # a large or small double in Java
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
TIMESTAMP = re.compile(
    r"([1-9]\d{3})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?:Z|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)

ESCAPE = re.compile(r"\\(?:u(.{4})|.)", re.DOTALL)

# Enough for an object nested as deeply as Jackson reads it; deeper ones are malformed.
sys.setrecursionlimit(10 * MAX_DEPTH)


class Rejected(ValueError):
    """The record does not count; the text is one of REASONS, or "late"."""


class Transaction(NamedTuple):
    order_id: str
    product_id: str
    amount: Decimal
    event_time: datetime


def judge(value: bytes | None, arrival: datetime, watermark: timedelta) -> Transaction:
    """The valid transaction in a record that Kafka stamped `arrival`.

    Raises Rejected with the first rule that the record breaks.
    """
    fields = read_object(value)
    order_id, product_id = (read_id(fields.get(name)) for name in ("order_id", "product_id"))
    amount = read_amount(as_text(fields.get("total_amount")))
    if as_text(fields.get("payment_type")) not in PAYMENT_TYPES:
        raise Rejected("payment_type")
    event_time = read_time(as_text(fields.get("transaction_time")))
    if event_time - arrival > AHEAD_LIMIT:
        raise Rejected("time")
    if arrival - event_time > watermark:
        raise Rejected("late")
    return Transaction(order_id, product_id, amount, event_time)


def read_object(value: bytes | None) -> dict[str, object]:
    """The JSON object that the record starts with. Raises Rejected."""
    try:
        text = ESCAPE.sub(as_jackson_reads, (value or b"").decode().lstrip(" \t\r\n"))
        if too_deep(text):
            raise Rejected("malformed")
        fields, _ = DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        raise Rejected("malformed") from None
    if not isinstance(fields, dict):
        raise Rejected("malformed")
    return fields


def as_jackson_reads(escape: re.Match[str]) -> str:
    r"""An escape sequence such as \u00e9, with the digits that Jackson sees.

    It looks at the lower byte of each digit only, so that "Ł" (U+0141) is an "A", which is 0x41.
    """
    if escape[1] is None or escape[1].isascii():
        return escape[0]
    units = memoryview(escape[1].encode("utf-16-le")).cast("H")
    digits = "".join(chr(unit & 0xFF) for unit in units[:4])
    return f"\\u{digits}{''.join(map(chr, units[4:]))}"


def too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:\\.|[^"\\])*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth == 0:  # the end of the record; what follows is ignored
            return False
        if depth > MAX_DEPTH:
            return True
    return False


def read_int(token: str) -> str:
    if len(token.lstrip("-")) > MAX_DIGITS:
        raise Rejected("malformed")
    return "0" if token == "-0" else token


def read_float(token: str) -> float:
    if sum(character.isdigit() for character in token) > MAX_DIGITS:
        raise Rejected("malformed")
    return float(token)


def read_constant(token: str) -> str:
    raise Rejected("malformed")  # NaN and Infinity are not JSON


def read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if any(len(key.encode("utf-16-le", "surrogatepass")) // 2 > MAX_KEY_LENGTH for key, _ in pairs):
        raise Rejected("malformed")
    return dict(pairs)


DECODER = json.JSONDecoder(
    parse_int=read_int,
    parse_float=read_float,
    parse_constant=read_constant,
    object_pairs_hook=read_pairs,
)


def as_text(value: object) -> str | None:
    """A JSON value as text. An object or array becomes its bracket, which no rule accepts."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):  # as in Java, unless Java uses scientific notation
        return repr(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair becomes "?"
    return "{" if isinstance(value, dict) else "["


def read_id(value: object) -> str:
    """Any scalar as text, unless that text depends on the version of Java. Raises Rejected."""
    if isinstance(value, float) and value != 0 and not 1e-3 <= abs(value) < 1e7:
        raise Rejected("identity")
    text = as_text(value)
    if not text or text[0] in '{["' or SCIENTIFIC.fullmatch(text) or len(text) > MAX_ID_LENGTH:
        raise Rejected("identity")
    return text


def read_amount(text: str | None) -> Decimal:
    """An amount, rounded half up to the cent. Raises Rejected."""
    if text is None or not NUMBER.fullmatch(text):
        raise Rejected("amount")
    number = Decimal(text)
    if number.adjusted() > MAX_AMOUNT.adjusted():
        raise Rejected("amount")
    amount = number.quantize(CENT, ROUND_HALF_UP)
    if not 0 <= amount <= MAX_AMOUNT:
        raise Rejected("amount")
    return amount


def read_time(text: str | None) -> datetime:
    """An ISO 8601 time; UTC where it has no offset. Raises Rejected."""
    match = TIMESTAMP.fullmatch(text or "")
    if not match:
        raise Rejected("time")
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if int(minutes or 0) > 59 or offset > timedelta(hours=18):
        raise Rejected("time")
    micros = int((fraction or "").ljust(6, "0")[:6])
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), micros, UTC
        )
        return local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        raise Rejected("time") from None
