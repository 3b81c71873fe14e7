"""docker-compose.yml and docker-compose.cluster.yml, as far as these tests read them."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def services(file: str = "docker-compose.yml") -> dict[str, str]:
    """The text of each service of a Compose file, in the order of the file."""
    text = (PROJECT / file).read_text()
    inside = re.search(r"^services:\n(.*?)^volumes:", text, re.MULTILINE | re.DOTALL)
    assert inside, f"{file} does not look as this function expects"
    _, *parts = re.split(r"^  ([a-z0-9-]+):", inside[1], flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def environment(service: str, file: str = "docker-compose.yml") -> dict[str, str]:
    """The variables of a service that a Compose file sets itself, not those it passes on."""
    text = services(file)[service]
    pairs = re.findall(r"^      ([A-Z0-9_]+): (.+?)(?: #.*)?$", text, re.MULTILINE)
    return {name: value for name, value in pairs if value != f"${{{name}:-}}"}


def published_ports() -> set[str]:
    """The variables of the ports that can be reached from this machine."""
    return set(re.findall(r"127\.0\.0\.1:\$\{([A-Z_]+):-\d+\}", "".join(services().values())))


def mounted_server_configuration() -> dict[str, str]:
    """The files for ClickHouse's config.d: path in the project -> name in config.d."""
    mount = r"- \./(clickhouse-config/\S+):/etc/clickhouse-server/config\.d/(\S+):ro"
    return dict(re.findall(mount, services()["clickhouse-server"]))
