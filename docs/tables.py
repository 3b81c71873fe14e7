"""Tables in docs/ that come from code. Cog inserts them into the pages: see `make docs`.

Each public function returns one Markdown table. Settings are read in a subprocess per service:
every service has its own `settings.py`, so no two services can share an import path.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from wrong_settings import REFUSED, WRONG

PROJECT = Path(__file__).resolve().parent.parent

# Runs in the folder of a service. Prints [name, default, allowed values, description] per setting.
READ_SETTINGS = """
import json
from datetime import timedelta
from settings import Settings

def text(default):
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    if isinstance(default, timedelta):
        return f"{default // timedelta(minutes=1)} minutes"
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)

print(json.dumps([
    [name.upper(), text(field.default), field.title or "text", field.description]
    for name, field in Settings.model_fields.items()
]))
"""

# Runs in local-stack/. Prints [name, default] per setting.
READ_PORTS = """
import json
from paths import PROJECT
from ports import StackSettings

stack = StackSettings()
directory = str(stack.directory.relative_to(PROJECT))
print(json.dumps([["STACK_DIR", directory], *([k, str(v)] for k, v in stack.ports().items())]))
"""


# Runs in local-stack/. Prints [user, right, resource] per ACL.
READ_ACLS = """
import json
from secured import ACLS

print(json.dumps([
    [user, operation.name, f"{kind.name.lower()} `{name}`"]
    for user, rights in ACLS.items() for kind, name, operation in rights
]))
"""


def settings(folder: str) -> str:
    """The settings of the service in this folder, without those that all services have."""
    return settings_table(
        each for each in read_settings(folder) if not is_of_kafka(each) and not is_of_metrics(each)
    )


def kafka_settings() -> str:
    """The settings with which every service reaches Kafka."""
    return settings_table(each for each in read_settings("producer") if is_of_kafka(each))


def metrics_settings() -> str:
    """The settings of the metrics that every service serves."""
    return settings_table(each for each in read_settings("producer") if is_of_metrics(each))


def read_settings(folder: str) -> list[list[str]]:
    return run_in(folder, READ_SETTINGS)


def is_of_kafka(setting: list[str]) -> bool:
    return setting[0].startswith("KAFKA_")


def is_of_metrics(setting: list[str]) -> bool:
    return setting[0].startswith("METRICS_")


def settings_table(settings: Iterable[list[str]]) -> str:
    rows = (
        [f"`{name}`", as_code(default), allowed, " ".join(description.split())]
        for name, default, allowed, description in settings
    )
    return table(["variable", "default", "allowed", "meaning"], rows)


def acls() -> str:
    """What each service may do in the secured local stack."""
    return table(["service", "right", "on"], run_in("local-stack", READ_ACLS))


def wrong_settings() -> str:
    """Settings that the services refuse before they connect, and the line that says so."""
    rows = [
        [", ".join(f"`{name}={value}`" for name, value in settings.items()), line]
        for settings, line in WRONG
    ]
    return table(["settings", "line"], rows)


def refusals() -> str:
    """What only Kafka can refuse, and what the line says of it."""
    return table(["what is wrong", "line"], [[what, line] for what, line in REFUSED.items()])


def alarms() -> str:
    """Real faults, the alerts that they caused, and how long that took."""
    result = json.loads((PROJECT / "tests" / "compose" / "alarms.json").read_text())
    rows = ([what, f"`{alert}`", str(seconds)] for what, alert, seconds in result["fired"])
    return table(["fault", "alert", "seconds until it fired"], rows)


def local_stack() -> str:
    """The folder and the ports of the stack without Docker."""
    rows = [[f"`{name}`", as_code(default)] for name, default in run_in("local-stack", READ_PORTS)]
    return table(["variable", "default"], rows)


def docker() -> str:
    """The variables of the stack and of its monitoring: name, default, and who gets it."""
    files = ("docker-compose.yml", "docker-compose.monitoring.yml")
    services: dict[tuple[str, str], list[str]] = {}
    for service, block in chain.from_iterable(blocks((PROJECT / f).read_text()) for f in files):
        for variable in dict.fromkeys(re.findall(r"\$\{(\w+):-(.*?)\}", block)):
            services.setdefault(variable, []).append(f"`{service}`")
    rows = [
        [f"`{name}`", f"`{default}`" if default else "default of the service", ", ".join(names)]
        for (name, default), names in services.items()
    ]
    return table(["variable", "default", "services"], rows)


def blocks(compose: str) -> Iterable[tuple[str, str]]:
    """(service, text of its block) for each service of a Compose file."""
    body = re.split(r"^services:\n", compose, flags=re.MULTILINE)[1]
    body = re.split(r"^\w", body, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^  ([a-z-]+):.*\n", body, flags=re.MULTILINE)
    return zip(parts[1::2], parts[2::2], strict=True)


def run_in(folder: str, script: str) -> list[list[str]]:
    """What a Python script prints, as JSON, when only this folder is on its import path."""
    path = PROJECT / folder
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise RuntimeError(f"cannot read the settings of {folder}:\n{result.stderr}")
    rows: list[list[str]] = json.loads(result.stdout)
    return rows


def as_code(text: str) -> str:
    return f"`{text}`" if text else "(empty)"


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
