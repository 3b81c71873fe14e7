"""Print the answer of the running ClickHouse to one query, as the user `consumer`.

query.py SQL

Needs only Python's standard library, so that it also serves the pipeline in Docker. Exits 1 with
what ClickHouse says, or with one line if it does not answer.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence

from ports import SettingsError, port_from


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Print ClickHouse's answer to one query.")
    parser.add_argument("sql", metavar="SQL")
    sql = parser.parse_args(arguments).sql
    try:
        port = port_from(os.environ, "CLICKHOUSE_HTTP_PORT")
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        sys.stdout.write(answer(port, sql))
    except urllib.error.HTTPError as refusal:
        print(refusal.read().decode().strip(), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no ClickHouse at localhost:{port}: {error}", file=sys.stderr)
        return 1
    return 0


def answer(port: int, sql: str) -> str:
    """The answer as a table. Raises HTTPError if ClickHouse refuses, OSError if it is not there."""
    request = urllib.request.Request(
        f"http://localhost:{port}/?default_format=PrettyCompact",
        data=sql.encode(),
        headers={
            "X-ClickHouse-User": "consumer",
            "X-ClickHouse-Key": os.environ.get("CONSUMER_PASSWORD") or "MySecret",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
