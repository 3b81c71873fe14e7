"""The local ClickHouse has the user and the configuration of the one in docker-compose.yml."""

import hashlib
import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

import compose_file
from paths import LOCAL_STACK, PROJECT


class User(NamedTuple):
    name: str
    password_sha256: str
    default_database: str
    settings: dict[str, str]
    grants: set[str]


def user_of_sql(text: str) -> User:
    text = re.sub(r"--.*", "", text)
    created = re.search(
        r"CREATE USER IF NOT EXISTS (?P<name>\w+)"
        r"\s+IDENTIFIED WITH sha256_password BY '(?P<secret>.+)'"
        r"\s+HOST ANY\s+DEFAULT DATABASE (?P<database>\w+)\s+SETTINGS (?P<settings>[^;]+);",
        text,
    )
    assert created, "this function cannot read the CREATE USER statement"
    pairs = (setting.split("=") for setting in created["settings"].split(","))
    return User(
        created["name"],
        hashlib.sha256(created["secret"].encode()).hexdigest(),
        created["database"],
        {name.strip(): value.strip() for name, value in pairs},
        set(re.findall(rf"(GRANT [^;]+?)\s+TO {created['name']};", text)),
    )


def user_of_xml(root: ET.Element, name: str) -> User:
    user = root.find(f"users/{name}")
    assert user is not None
    profile = root.find(f"profiles/{user.findtext('profile')}")
    assert profile is not None
    return User(
        name,
        user.findtext("password_sha256_hex", ""),
        user.findtext("default_database", ""),
        {setting.tag: setting.text or "" for setting in profile},
        {query.text or "" for query in user.findall("grants/query")},
    )


def test_local_clickhouse_user_is_the_one_of_the_init_script() -> None:
    created = user_of_sql((PROJECT / "clickhouse-init" / "01-create-user.sql").read_text())
    root = ET.parse(LOCAL_STACK / "clickhouse" / "users.xml").getroot()

    assert user_of_xml(root, created.name) == created
    assert created.settings == {"final": "1", "async_insert": "0"}


def test_no_other_clickhouse_user_can_log_in() -> None:
    root = ET.parse(LOCAL_STACK / "clickhouse" / "users.xml").getroot()

    assert [user.tag for user in root.findall("users/*")] == ["consumer", "default"]
    # The library's own session is the one that `default` may have.
    assert user_of_xml(root, "default").settings == {"max_sessions_for_user": "1"}


def test_local_clickhouse_has_the_live_page_and_the_metrics_of_compose() -> None:
    links = (LOCAL_STACK / "clickhouse" / "config.d").iterdir()
    local = {str(link.resolve().relative_to(PROJECT)): link.name for link in links}
    mounted = compose_file.mounted_server_configuration()
    del mounted["clickhouse-config/logs.xml"]  # the local server logs to its standard output

    assert local == mounted
    assert len(local) == 3
