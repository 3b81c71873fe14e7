"""What can happen to a cluster, and in which order a seed makes it happen."""

import random
from collections.abc import Iterator
from itertools import chain, count

from faults import FREEZE_SEC, SERVICE, Fault, numbered
from ports import CLUSTER


def instances(component: str) -> tuple[str, ...]:
    """All instances of a component: "broker", "broker-2" and "broker-3"."""
    last = CLUSTER[SERVICE[component]]
    return tuple(numbered(component, number) for number in range(1, last + 1))


CONSUMERS = instances("consumer")
CONSUMERS_PER_TABLE = len(CONSUMERS) // len(instances("clickhouse"))
# Some go by what they do at the moment of the fault; cluster_roles.py finds out who it is.
ROLES = {
    "executors": "executor",  # all at once
    "busy-worker": "worker",  # with the most executors
    "idle-worker": "worker",
    "active-master": "master",
    "standby-master": "master",
    "leader": "broker",  # of the first partition of transactions_raw
    "controller": "broker",
    "zookeeper-leader": "zookeeper",
}
# What one fault hits. The consumers of the same place in their groups fail together: the groups
# have nothing to do with each other.
TARGETS = (
    *((name,) for name in ("producer", "job", "driver", *list(ROLES)[:5])),
    *((name,) for kind in ("broker", "zookeeper", "clickhouse") for name in instances(kind)),
    *zip(CONSUMERS[:CONSUMERS_PER_TABLE], CONSUMERS[CONSUMERS_PER_TABLE:], strict=True),
)
COMPONENTS = tuple(chain.from_iterable(TARGETS))
OUT_OF_SYNC_SEC = 45  # longer than a replica may lag (replica.lag.time.max.ms, 30 s)
ONE_BROKER_SEC = 10


def specials(rng: random.Random, number: int) -> tuple[Fault, ...]:
    """The faults of a round that need a cluster."""
    if number % 2:
        return (
            fault("kill", "leader"),
            fault("freeze", "controller"),
            fault("kill", "zookeeper-leader"),
            Fault("outage", tuple(rng.sample(instances("broker"), 2)), ONE_BROKER_SEC),
        )
    return (
        Fault("freeze", ("leader",), OUT_OF_SYNC_SEC),
        fault("kill", "controller"),
        fault("freeze", "zookeeper-leader"),
        Fault("restart", ("everything",)),  # one after the other
    )


def fault(kind: str, *components: str) -> Fault:
    names = [ROLES.get(each, each).partition("-")[0] for each in components]
    seconds = max(FREEZE_SEC[name] for name in names) if kind == "freeze" else 0
    return Fault(kind, components, seconds)


def cluster_schedule(seed: int) -> Iterator[Fault]:
    """Endless faults in rounds of 22, of which the seed is the number of the first.

    Each round hits every component once, and has four special faults. What it kills, the next round
    freezes, so that two rounds have every kind of fault.
    """
    rng = random.Random(seed)
    for number in count(seed):
        kinds = ("freeze", "kill") if number % 2 else ("kill", "freeze")
        faults = [fault(kinds[n % 2], *target) for n, target in enumerate(TARGETS)]
        faults += specials(rng, number)
        rng.shuffle(faults)
        yield from faults
