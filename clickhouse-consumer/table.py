"""Insert rows into the ClickHouse table, and say what its answers mean."""

from dataclasses import dataclass, field

from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException, TypeMismatchError

from message import Row, raise_if_too_many
from refusals import of_clickhouse
from settings import Settings

# TYPE_MISMATCH, ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, TOO_LARGE_STRING_SIZE,
# VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, DECIMAL_OVERFLOW and
# VIOLATED_CONSTRAINT. Any other error is about the server, not about a row: a retry may succeed.
REFUSED_ROW_CODES = {53, 69, 70, 131, 321, 349, 407, 469}
# What the driver raises when a value does not fit the type of its column.
REFUSED_ROW_ERRORS = (TypeMismatchError, TypeError, AttributeError, UnicodeEncodeError)


class RowRefused(Exception):
    """ClickHouse stored nothing of a block because of at least one of its rows."""


class NotAcknowledged(Exception):
    """An insert failed for another reason; whether its rows are stored is unknown."""


@dataclass(frozen=True)
class Inserted:
    """What became of the rows of a batch."""

    stored: list[Row] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    """The reason for each row that ClickHouse refused, by the row's position in the batch."""
    inserts: int = 0
    """The number of blocks that ClickHouse acknowledged."""

    def __add__(self, other: "Inserted") -> "Inserted":
        return Inserted(
            self.stored + other.stored,
            self.refused | other.refused,
            self.inserts + other.inserts,
        )


class Table:
    """The table of windows.

    Counts the refusals since a row was last stored; a row that is retried and refused counts again.
    """

    def __init__(self, clickhouse: Client, settings: Settings) -> None:
        self.clickhouse = clickhouse
        self.statement = insert_statement(settings)
        self.refused_in_a_row = 0

    def insert(self, rows: list[Row], first: int = 0) -> Inserted:
        """Insert rows as one block, or without those that ClickHouse refuses.

        A refused block is halved until the refused row is alone. `first` is the position of the
        first of the rows in their batch.

        Raises NotAcknowledged, and TooManyInvalid if too many rows in a row are refused.
        """
        try:
            insert_block(self.clickhouse, self.statement, rows)
        except RowRefused as reason:
            if half := len(rows) // 2:
                return self.insert(rows[:half], first) + self.insert(rows[half:], first + half)
            self.refused_in_a_row += 1
            raise_if_too_many(self.refused_in_a_row)
            return Inserted(refused={first: str(reason)})
        self.refused_in_a_row = 0
        return Inserted(stored=rows, inserts=1)


def connect_clickhouse(settings: Settings) -> Client:
    """Does not block: the client connects, and reconnects, when it inserts."""
    return Client(
        settings.clickhouse_host,
        port=settings.clickhouse_port,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
        database=settings.clickhouse_database,
        secure=settings.clickhouse_secure,
        ca_certs=settings.clickhouse_cafile,
        settings={"async_insert": 0},  # acknowledged must mean stored
        connect_timeout=3,
        sync_request_timeout=3,
        send_receive_timeout=10,
    )


def insert_statement(settings: Settings) -> str:
    table = f"`{settings.clickhouse_database}`.`{settings.clickhouse_table}`"
    return f"INSERT INTO {table} ({', '.join(Row._fields)}) VALUES"


def insert_block(clickhouse: Client, statement: str, rows: list[Row]) -> None:
    """Insert rows as one block: all of them or none. Raises RowRefused or NotAcknowledged."""
    try:
        acknowledged = clickhouse.execute(statement, rows)
    except Exception as error:  # whatever it is, the rows are kept or reported
        reason = " ".join(str(error).partition("Stack trace")[0].split())[:300]
        if rows and is_about_a_row(error):
            raise RowRefused(reason) from error
        raise NotAcknowledged(of_clickhouse(f"{type(error).__name__} {reason}")) from error
    if acknowledged != len(rows):
        raise NotAcknowledged(f"{acknowledged} rows acknowledged")


def is_about_a_row(error: Exception) -> bool:
    if isinstance(error, ServerException):
        return error.code in REFUSED_ROW_CODES
    return isinstance(error, REFUSED_ROW_ERRORS)
