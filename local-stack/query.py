"""Print the answer of the running ClickHouse to one query, as the user `consumer`.

query.py SQL

Needs only Python's standard library, so that it also serves the pipeline in Docker. Exits 1 with
what ClickHouse says, or with one line if it does not answer.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException

from ports import HOST, SettingsError, port_from

TIMEOUT_SEC = 60
# Anything else is TLS: the password must not go out in plain text by mistake.
NOT_SECURE = ("", "0", "false", "f", "no", "n", "off")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Print ClickHouse's answer to one query.")
    parser.add_argument("sql", metavar="SQL")
    sql = parser.parse_args(arguments).sql
    try:
        port = port_from(os.environ, "CLICKHOUSE_HTTP_PORT")
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    host = os.environ.get("CLICKHOUSE_HOST") or HOST
    try:
        table = answer(f"{host}:{port}", sql)
    except urllib.error.HTTPError as refusal:
        print(refusal.read().decode(errors="replace").strip(), file=sys.stderr)
        return 1
    except (OSError, HTTPException) as error:
        print(f"no ClickHouse at {host}:{port}: {str(error).strip()}", file=sys.stderr)
        return 1
    print_table(table)
    return 0


def answer(address: str, sql: str) -> str:
    """The answer of the ClickHouse at host:port as a table.

    Raises HTTPError if ClickHouse refuses, OSError or HTTPException if it is not there.
    """
    charset = "UTF-8" if sys.stdout.encoding.lower() == "utf-8" else "ASCII"
    # As bytes, because other headers than Authorization carry neither every character nor the
    # spaces at the end of a password. fsencode returns what the user typed, whatever the locale.
    login = b"consumer:" + os.fsencode(os.environ.get("CONSUMER_PASSWORD") or "MySecret")
    is_secure = os.environ.get("CLICKHOUSE_SECURE", "").lower() not in NOT_SECURE
    request = urllib.request.Request(
        f"{'https' if is_secure else 'http'}://{address}/?default_format=PrettyCompact"
        f"&output_format_pretty_grid_charset={charset}",
        data=os.fsencode(sql),
        headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"},
    )
    tls = ssl.create_default_context(cafile=os.environ.get("CLICKHOUSE_CAFILE") or None)
    # A proxy of the environment cannot reach this machine, and must not see the password.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    with opener.open(request, timeout=TIMEOUT_SEC) as response:
        return str(response.read().decode(errors="replace"))


def print_table(table: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that are not UTF-8
    try:
        print(table, end="", flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
