"""List the records of the raw topic that do not count: rejected for a reason, or late.

Reads what verify.py reads, judges it by the same rules, and needs no ClickHouse. Prints one line
per record, oldest first: reason, partition, offset, time of arrival, text. REASON, MAX and SINCE
choose which ones (see Options). The last line, on stderr, counts all records since SINCE.

Exits 1 when it cannot go on, 2 when a setting is wrong.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from heapq import heappush, heappushpop
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from entry_point import exit_code
from kafka_access import load, security_options
from raw_topic import EPOCH, RawTopic, Record
from rules import REASONS, Rejected, judge
from settings import Settings, parse_duration

SHOWN_CHARACTERS = 1000


def to_moment(value: object) -> object:
    return parse_moment(value, datetime.now(UTC)) if isinstance(value, str) else value


def parse_moment(text: str, now: datetime) -> datetime:
    """A time in ISO 8601 (UTC where it has no offset), or one so long ago. Raises ValueError."""
    try:
        ago = parse_duration(text)
    except ValueError:
        time = datetime.fromisoformat(text)
        return max(EPOCH, time if time.tzinfo else time.replace(tzinfo=UTC))
    return now - min(ago, now - EPOCH)


class Options(Settings):
    """The settings of verify.py, and which records to show."""

    reason: Annotated[
        str | None,
        Field(pattern=f"^({'|'.join(REASONS)}|late)$", title=f"{', '.join(REASONS)} or late"),
    ] = None
    """Show records rejected for this reason only."""
    max: Annotated[int, Field(ge=0, title="a number from 0 on")] = 10
    """Show so many records, the newest ones."""
    since: Annotated[
        datetime,
        BeforeValidator(to_moment),
        Field(title="a duration such as '10 minutes' or a time such as '2026-11-01T12:30:00Z'"),
    ] = EPOCH
    """Read only records that arrived at this time or later, or so long ago at most."""


class Line(NamedTuple):
    """What is shown of a record; the fields are in the order to sort by."""

    arrival: datetime
    partition: int
    offset: int
    reason: str
    text: str

    def __str__(self) -> str:
        arrival = self.arrival.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        place = f"partition {self.partition} offset {self.offset}"
        return f"{self.reason:12} {place} {arrival} {self.text}"


def verdict_on(record: Record, watermark: timedelta) -> str:
    """ "valid", or why the record does not count."""
    try:
        judge(record.value, record.arrival, watermark)
    except Rejected as rejected:
        return str(rejected)
    return "valid"


def one_line(value: bytes | None) -> str:
    """The text of a record, safe for a terminal: what cannot be printed is escaped."""
    if value is None:
        return "(tombstone)"
    text = value.decode(errors="backslashreplace")
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[:SHOWN_CHARACTERS]
    )
    return shown if len(text) <= SHOWN_CHARACTERS else f"{shown}... ({len(value)} bytes)"


def newest_rejected(
    records: Iterable[Record], watermark: timedelta, reason: str | None, most: int
) -> tuple[list[Line], Counter[str]]:
    """The newest lines, at most `most`, oldest first; and how many records got each verdict.

    Without a `reason`, those of all reasons. Keeps no more in memory than it returns.
    """
    newest: list[Line] = []
    verdicts: Counter[str] = Counter()
    for record in records:
        verdict = verdict_on(record, watermark)
        verdicts[verdict] += 1
        if verdict == "valid" or verdict != (reason or verdict):
            continue
        place = (record.arrival, record.partition, record.offset)
        keep = heappush if len(newest) < most else heappushpop
        keep(newest, Line(*place, verdict, one_line(record.value)))
    return sorted(newest), verdicts


def summary(verdicts: Counter[str], shown: int) -> str:
    """The counts in the order of the job's log."""
    reasons = {name: verdicts[name] for name in REASONS if verdicts[name]}
    by_reason = ", ".join(f"{name} {number}" for name, number in reasons.items())
    return (
        f"{verdicts.total()} records: {verdicts['valid']} valid,"
        f" {sum(reasons.values())} rejected{f' ({by_reason})' if reasons else ''},"
        f" {verdicts['late']} late; {shown} shown"
    )


def print_lines(lines: Iterable[Line]) -> None:
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit


def run() -> int:
    options = load(Options)
    security = security_options(options)
    raw = RawTopic(options.kafka_bootstrap_servers, options.raw_topic, security)
    raw.skip_before(options.since)
    lines, verdicts = newest_rejected(
        raw.read_new(), options.watermark, options.reason, options.max
    )
    print_lines(lines)
    print(summary(verdicts, len(lines)), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(run))
