"""Print the answer of the running ClickHouse to one query, as the user `consumer`.

query.py SQL

Needs nothing but Python, so that it also serves the pipeline in Docker. Exits 1 with what
ClickHouse says, or with one line if it does not answer.
"""

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    port = os.environ.get("CLICKHOUSE_HTTP_PORT") or "8123"
    request = urllib.request.Request(
        f"http://localhost:{port}/?default_format=PrettyCompact",
        data=sys.argv[1].encode(),
        headers={
            "X-ClickHouse-User": "consumer",
            "X-ClickHouse-Key": os.environ.get("CONSUMER_PASSWORD") or "MySecret",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            sys.stdout.write(answer.read().decode())
    except urllib.error.HTTPError as refusal:
        print(refusal.read().decode().strip(), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no ClickHouse at localhost:{port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
