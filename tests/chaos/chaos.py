"""Break every component of a running pipeline and prove that the numbers stay exact.

A stack of its own gets good, bad, late and repeated records throughout, and faults in an order
that SEED decides. The next fault comes only when an order that arrived after the last one is
counted. A reader polls the table like any user. At the end, every window is recomputed from
transactions_raw. Settings: SEED (1), FAULTS (24) or MINUTES, RATE (200 records per second),
DEDUPLICATE_ORDERS (false).

CLUSTER=1 runs on a cluster: see cluster_run.py. SCENARIO=power and others do more than kill and
freeze: see scenarios/.

Writes .local/chaos/seed-SEED.json, of a cluster or a scenario with its name in front. Exits with 0
if all is equal, 1 if not, 2 if a setting is wrong, the machine lacks something, or too little
happened to prove anything, 3 if a component did not recover.
"""

import json
import logging
import reprlib
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from chaos_run import ChaosRun, say
from cluster_run import ClusterRun
from faults import COMPONENTS, NotRecovered
from paths import LOCAL
from ports import SettingsError
from result import EXIT_CODES, result, show
from scenarios import disks, small_disks
from scenarios.clocks import ClocksRun
from scenarios.damage import DamageRun
from scenarios.disk import DiskRun
from scenarios.network import NetworkRun
from scenarios.power import PowerRun
from scenarios.soak import SoakRun
from scenarios.upgrade import UpgradeRun
from stack import Stack, StackError

RUNS: dict[str, type[ChaosRun]] = {
    "": ChaosRun,
    "cluster": ClusterRun,
    "power": PowerRun,
    "disk": DiskRun,
    "network": NetworkRun,
    "clocks": ClocksRun,
    "damage": DamageRun,
    "upgrade": UpgradeRun,
    "soak": SoakRun,
}
RESULTS = LOCAL / "chaos"
DIRECTORY = RESULTS / "stack"
READY_SEC = 240

Number = Annotated[int, Field(ge=0, title="a whole number")]
Flag = Annotated[bool, Field(title="true or false")]
SCENARIOS = [name for name in RUNS if name != "cluster"]  # that has a setting of its own
Scenario = Annotated[Literal[tuple(SCENARIOS)], Field(title=f"one of {', '.join(SCENARIOS[1:])}")]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    seed: Number = 1
    """Decides the faults and their order, and the records."""
    faults: Number = 2 * len(COMPONENTS) + 4
    """Faults to inflict; the default has every kind of them."""
    minutes: Number = 0
    """Inflict faults for this time instead; 0: FAULTS decides."""
    rate: Number = 200
    """Records per second of the producer."""
    deduplicate_orders: Flag = False
    """As for the job."""
    cluster: Flag = False
    """Run on a cluster, whose faults are in cluster_faults.py: 44 have every kind of them."""
    scenario: Scenario = ""
    """Which faults to inflict, other than to kill and freeze: see RUNS."""

    @property
    def run_name(self) -> str:
        """The name of the result, such as seed-1, cluster-seed-1 or power-seed-1."""
        kind = "cluster" if self.cluster else self.scenario
        return f"{kind}-seed-{self.seed}".removeprefix("-")

    @property
    def kind(self) -> type[ChaosRun]:
        return RUNS["cluster" if self.cluster else self.scenario]


def load() -> Settings:
    """Read and check the environment; an empty variable counts as not set. Raises SettingsError."""
    try:
        settings = Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        allowed = Settings.model_fields[name].title
        text = f"{name.upper()} must be {allowed}, not {reprlib.repr(problem['input'])}"
        raise SettingsError(text) from None
    if settings.cluster and settings.scenario:
        raise SettingsError(f"CLUSTER=1 has no SCENARIO={settings.scenario}: unset one of them")
    return settings


def run(stack: Stack, settings: Settings) -> int:
    """Start a stack, run chaos on it and write the result; the exit code. Raises StackError."""
    deduplicate = settings.deduplicate_orders
    with settings.kind.surroundings(stack, settings.seed) as environment:
        try:
            stack.up(
                {"DEDUPLICATE_ORDERS": str(deduplicate).lower(), **environment},
                deadline_sec=READY_SEC,
            )
            chaos = settings.kind(stack, settings.seed, settings.rate, deduplicate)
            return run_on(chaos, settings)
        finally:
            if stack.is_up():
                stack.down()


def run_on(chaos: ChaosRun, settings: Settings) -> int:
    """Run chaos on a stack that is up and write the result; the exit code. Raises StackError."""
    minutes, faults = settings.minutes, settings.faults
    end = time.monotonic() + 60 * minutes
    say(f"\nseed {settings.seed}: {f'{minutes} minutes' if minutes else f'{faults} faults'}")
    try:
        chaos.inflict_faults(lambda done: time.monotonic() > end if minutes else done >= faults)
        differences = chaos.settle()
    except (NotRecovered, StackError) as error:
        show_failure(chaos.stack, error)
        return 3
    found = result(chaos, differences)
    found |= chaos.findings()
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{settings.run_name}.json").write_text(json.dumps(found, indent=1) + "\n")
    show(found)
    return EXIT_CODES[found["verdict"]]


def show_failure(stack: Stack, error: Exception) -> None:
    say(f"NOT recovered: {error}")
    for service in stack.status():
        log = stack.log_tail(service.name)
        say(f"--- {service.name} {service.state} {service.problem}\n{log}")


def clear(directory: Path) -> None:
    """Stop and delete what a run that was killed has left, also its disks. Raises StackError."""
    if old := Stack.last_started_in(directory):
        old.down(say=lambda _: None)
    disks.unmount_below(directory)
    small_disks.remove(small_disks.place(directory))
    shutil.rmtree(directory, ignore_errors=True)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        settings = load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if missing := settings.kind.missing():
        print(f"skipped: {missing}", file=sys.stderr)
        return 2
    try:
        clear(DIRECTORY)
        return run(Stack.on_free_ports(DIRECTORY, settings.cluster), settings)
    except StackError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
