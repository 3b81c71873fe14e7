"""The addresses of the page and its data, without a browser."""

from urllib.error import HTTPError
from urllib.request import Request

import pytest

from clickhouse_server import ClickHouse
from local_http import urlopen

pytestmark = pytest.mark.services

LOGIN = {"X-ClickHouse-User": "consumer", "X-ClickHouse-Key": "MySecret"}


def test_the_data_is_refused_without_a_password(clickhouse: ClickHouse) -> None:
    with pytest.raises(HTTPError):
        urlopen(f"{clickhouse.url}/analytics/windows?since=0", timeout=10)


@pytest.mark.parametrize("path", ["/analytics", "/analytics/", "/analytics/windows?since=0"])
def test_head_and_get_agree(clickhouse: ClickHouse, path: str) -> None:
    heads = []
    for method in ("GET", "HEAD"):
        request = Request(f"{clickhouse.url}{path}", method=method, headers=LOGIN)
        with urlopen(request, timeout=10) as answer:
            heads.append((answer.status, answer.headers["Content-Type"]))
            assert bool(answer.read()) == (method == "GET")
    assert heads[0] == heads[1]


@pytest.mark.parametrize("path", ["/analyticsx", "/x/analytics", "/analytics/x"])
def test_other_addresses_are_not_found(clickhouse: ClickHouse, path: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{clickhouse.url}{path}", timeout=10)
