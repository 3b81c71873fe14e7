"""The scripts of clickhouse-init, run by the real ClickHouse engine inside this process (chdb)."""

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chdb.session import Session

from message import Row
from settings import Settings

INIT_FOLDER = Path(__file__).resolve().parents[2] / "clickhouse-init"
USER_SCRIPT = INIT_FOLDER / "01-create-user.sql"
READER_SCRIPT = INIT_FOLDER / "03-reader.sh"
TABLE_SCRIPT = INIT_FOLDER / "init.sql"
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
TABLE = "default.aggregated_analytics"


def statements(script: Path) -> list[str]:
    without_comments = re.sub(r"--.*", "", script.read_text())
    return [text.strip() for text in without_comments.split(";") if text.strip()]


ALL_STATEMENTS = [*statements(USER_SCRIPT), *statements(TABLE_SCRIPT)]
open_session: Any = Session  # chdb has no type hints


class Engine:
    def __init__(self, folder: Path) -> None:
        self.session = open_session(str(folder))

    def query(self, sql: str) -> list[Any]:
        lines = str(self.session.query(sql, "JSONCompactEachRow")).splitlines()
        return [json.loads(line) for line in lines]

    def formatted(self, statement: str) -> str:
        escaped = statement.replace("\\", "\\\\").replace("'", "\\'")
        text: str = self.query(f"SELECT formatQuerySingleLine('{escaped}')")[0][0]
        return text

    def insert(self, *windows: tuple[int, int]) -> None:
        """Insert windows, each given as (minute, number of orders), as one block."""
        midnight = int(MIDNIGHT.timestamp())
        values = ", ".join(
            f"({midnight + minute * 60}, {midnight + minute * 60 + 60},"
            f" {orders * 2.5}, {orders}, 2.5, 'P{orders}')"
            for minute, orders in windows
        )
        columns = ", ".join(Row._fields)
        self.session.query(f"INSERT INTO {TABLE} ({columns}) VALUES {values}")

    def windows(self) -> dict[int, tuple[int, float, str]]:
        """Read (orders, sales, top product) by minute, as the user `consumer` does."""
        found = self.query(
            "SELECT toUnixTimestamp(window_start), total_orders, total_sales, top_product"
            f" FROM {TABLE} SETTINGS final = 1"
        )
        midnight = int(MIDNIGHT.timestamp())
        windows = {(start - midnight) // 60: (*totals,) for start, *totals in found}
        assert len(windows) == len(found)
        return windows


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("chdb"))
    for _ in range(2):  # running an init script again must do no harm
        for statement in statements(TABLE_SCRIPT):
            engine.query(statement)
    yield engine
    engine.session.close()


@pytest.fixture
def table(engine: Engine) -> Engine:
    engine.query(f"TRUNCATE TABLE {TABLE}")
    engine.query(f"SYSTEM STOP MERGES {TABLE}")  # what a SELECT returns must not depend on them
    return engine


def test_the_image_which_runs_scripts_by_name_creates_the_user_before_the_table() -> None:
    scripts = sorted(path.name for path in INIT_FOLDER.glob("*.sql"))
    assert scripts == [USER_SCRIPT.name, TABLE_SCRIPT.name]


@pytest.mark.parametrize("statement", ALL_STATEMENTS)
def test_every_statement_is_valid_and_can_run_again(engine: Engine, statement: str) -> None:
    assert engine.query(f"EXPLAIN AST {statement}")
    can_run_again = r"CREATE (USER|TABLE) IF NOT EXISTS |GRANT |ALTER TABLE \S+ \(MODIFY SETTING "
    assert re.match(can_run_again, engine.formatted(statement))


def test_the_user_has_no_other_right_than_to_select_and_insert_on_the_table(engine: Engine) -> None:
    assert [engine.formatted(statement) for statement in statements(USER_SCRIPT)] == [
        "CREATE USER IF NOT EXISTS consumer IDENTIFIED WITH sha256_password BY 'MySecret' HOST ANY"
        " DEFAULT DATABASE default SETTINGS final = 1, async_insert = 0",
        f"GRANT SELECT, INSERT ON {TABLE} TO consumer",
    ]


@pytest.mark.parametrize("password", ["plain", "it's \\ one"])
def test_a_password_of_the_reader_creates_a_user_who_can_only_read(
    engine: Engine, tmp_path: Path, password: str
) -> None:
    user, grant = run_reader_script(tmp_path, READER_PASSWORD=password)
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    assert engine.formatted(user) == (
        f"CREATE USER OR REPLACE reader IDENTIFIED WITH sha256_password BY '{escaped}' HOST ANY"
        " DEFAULT DATABASE default SETTINGS final = 1"
    )
    assert engine.formatted(grant) == f"GRANT SELECT ON {TABLE} TO reader"


def test_without_a_password_there_is_no_reader(tmp_path: Path) -> None:
    assert run_reader_script(tmp_path, READER_PASSWORD="") == []


def run_reader_script(folder: Path, **variables: str) -> list[str]:
    """The statements that the script gives to clickhouse-client."""
    client = folder / "clickhouse-client"
    client.write_text(f"#!/bin/sh\nexec cat >> {folder}/sql\n")
    client.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run([READER_SCRIPT], env={**os.environ, **variables, "PATH": path}, check=True)
    sql = folder / "sql"
    text = sql.read_text() if sql.exists() else ""
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def test_the_defaults_of_the_consumer_name_the_account_and_the_table_that_are_created() -> None:
    fields = Settings.model_fields
    assert fields["clickhouse_user"].default == "consumer"
    assert fields["clickhouse_password"].default.get_secret_value() == "MySecret"
    database, table = fields["clickhouse_database"].default, fields["clickhouse_table"].default
    assert f"{database}.{table}" == TABLE


def test_the_columns_are_the_fields_of_a_row_then_updated_at_with_a_default(engine: Engine) -> None:
    columns = engine.query(
        "SELECT name, type, default_expression FROM system.columns"
        f" WHERE concat(database, '.', table) = '{TABLE}' ORDER BY position"
    )
    assert columns == [
        ["window_start", "DateTime('UTC')", ""],
        ["window_end", "DateTime('UTC')", ""],
        ["total_sales", "Decimal(38, 2)", ""],
        ["total_orders", "UInt64", ""],
        ["average_order_value", "Decimal(18, 2)", ""],
        ["top_product", "String", ""],
        ["updated_at", "DateTime64(3, 'UTC')", "now64(3)"],
    ]
    assert [name for name, _, default in columns if not default] == list(Row._fields)


def test_the_number_of_orders_is_the_version_of_the_row_of_a_window(engine: Engine) -> None:
    (found,) = engine.query(
        "SELECT engine_full, sorting_key, partition_key FROM system.tables"
        f" WHERE concat(database, '.', name) = '{TABLE}'"
    )
    assert found[0].startswith("ReplacingMergeTree(total_orders) ORDER BY window_start")
    assert found[1:] == ["window_start", ""]


def test_an_update_replaces_rows_with_fewer_orders_and_never_one_with_more(table: Engine) -> None:
    table.insert((0, 2))
    table.insert((0, 3))
    table.insert((0, 1))
    assert table.windows() == {0: (3, 7.5, "P3")}


def test_the_row_with_the_most_orders_also_wins_within_one_block(table: Engine) -> None:
    table.insert((0, 2), (0, 3), (1, 1), (0, 1))
    assert table.windows() == {0: (3, 7.5, "P3"), 1: (1, 2.5, "P1")}


def test_inserting_rows_again_changes_nothing(table: Engine) -> None:
    table.insert((0, 2), (1, 5))
    before = table.windows()
    table.insert((0, 2), (1, 5))
    assert table.windows() == before == {0: (2, 5, "P2"), 1: (5, 12.5, "P5")}


def test_a_merge_does_not_change_what_a_select_returns(table: Engine) -> None:
    for orders in (2, 3, 1):
        table.insert((0, orders))
    before = table.windows()
    table.query(f"SYSTEM START MERGES {TABLE}")
    table.query(f"OPTIMIZE TABLE {TABLE} FINAL")
    assert table.query(f"SELECT count() FROM {TABLE}") == [[1]]
    assert table.windows() == before


@pytest.mark.parametrize("seed", range(5))
def test_after_updates_and_replays_in_any_order_each_window_has_its_row_with_the_most_orders(
    table: Engine, seed: int
) -> None:
    rng = random.Random(seed)
    updates = [(minute, orders) for minute in range(4) for orders in range(1, 6)] * 2
    rng.shuffle(updates)
    while updates:
        block = [updates.pop() for _ in range(min(len(updates), rng.randint(1, 8)))]
        table.insert(*block)
    assert table.windows() == dict.fromkeys(range(4), (5, 12.5, "P5"))
