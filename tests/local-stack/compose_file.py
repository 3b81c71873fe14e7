"""docker-compose.yml, as far as these tests read it."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def services() -> dict[str, str]:
    """The text of each service of docker-compose.yml, in the order of the file."""
    text = (PROJECT / "docker-compose.yml").read_text()
    inside = re.search(r"^services:\n(.*?)^volumes:", text, re.MULTILINE | re.DOTALL)
    assert inside, "docker-compose.yml does not look as this function expects"
    _, *parts = re.split(r"^  ([a-z-]+):", inside[1], flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def environment(service: str) -> dict[str, str]:
    """The variables of a service that docker-compose.yml sets itself, not those it passes on."""
    pairs = re.findall(r"^      ([A-Z0-9_]+): (.+?)(?: #.*)?$", services()[service], re.MULTILINE)
    return {name: value for name, value in pairs if value != f"${{{name}:-}}"}


def published_ports() -> set[str]:
    """The variables of the ports that can be reached from this machine."""
    return set(re.findall(r"127\.0\.0\.1:\$\{([A-Z_]+):-\d+\}", "".join(services().values())))


def mounted_server_configuration() -> dict[str, str]:
    """The files for ClickHouse's config.d: path in the project -> name in config.d."""
    mount = r"- \./(clickhouse-config/\S+):/etc/clickhouse-server/config\.d/(\S+):ro"
    return dict(re.findall(mount, services()["clickhouse-server"]))
