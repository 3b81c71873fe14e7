"""How rows get into the ClickHouse table, and what its answers mean."""

from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException, TypeMismatchError

from message import Row
from settings import Config

# TYPE_MISMATCH, ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, TOO_LARGE_STRING_SIZE,
# VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, DECIMAL_OVERFLOW and
# VIOLATED_CONSTRAINT. Any other answer is about the server, not about a row, and is waited out.
REFUSED_ROW_CODES = {53, 69, 70, 131, 321, 349, 407, 469}
# What the driver raises when a value does not fit the type of its column.
REFUSED_ROW_ERRORS = (TypeMismatchError, TypeError, AttributeError, UnicodeEncodeError)


class RowRefused(Exception):
    """ClickHouse stored nothing of a block because of at least one of its rows."""


class NotAcknowledged(Exception):
    """An insert failed for another reason; whether the rows are stored is unknown."""


def connect_clickhouse(config: Config) -> Client:
    """Wait for nothing: the client connects, and connects again, when it inserts."""
    return Client(
        config.clickhouse_host,
        port=config.clickhouse_port,
        user=config.clickhouse_user,
        password=config.clickhouse_password,
        database=config.clickhouse_database,
        settings={"async_insert": 0},  # acknowledged must mean stored
        connect_timeout=3,
        sync_request_timeout=3,
        send_receive_timeout=10,
    )


def insert_statement(config: Config) -> str:
    table = f"`{config.clickhouse_database}`.`{config.clickhouse_table}`"
    return f"INSERT INTO {table} ({', '.join(Row._fields)}) VALUES"


def store(clickhouse: Client, statement: str, rows: list[Row]) -> None:
    """Insert rows as one block. Raises RowRefused or NotAcknowledged."""
    try:
        acknowledged = clickhouse.execute(statement, rows)
    except Exception as error:  # whatever it is, the rows are kept or reported
        reason = " ".join(str(error).partition("Stack trace")[0].split())[:300]
        if is_about_a_row(error):
            raise RowRefused(reason) from error
        raise NotAcknowledged(f"{type(error).__name__} {reason}") from error
    if acknowledged != len(rows):
        raise NotAcknowledged(f"{acknowledged} rows acknowledged")


def is_about_a_row(error: Exception) -> bool:
    if isinstance(error, ServerException):
        return error.code in REFUSED_ROW_CODES
    return isinstance(error, REFUSED_ROW_ERRORS)
