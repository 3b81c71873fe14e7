"""A run on a cluster, in which any one process may die: nobody may notice for long.

A prober keeps account of what Kafka acknowledged. The next fault comes when both tables count an
order that arrived after the last one, and all replicas are in sync again.
"""

import time
from collections.abc import Callable
from typing import Any

from chaos_run import ChaosRun, say
from cluster_faults import cluster_schedule
from cluster_injection import ClusterInjector
from cluster_roles import Roles
from faults import Fault
from gaps import GAPS, longest_gap, show_gaps, worst_gaps
from looper import Looper
from prober import Prober, longest_write_gap, lost_or_repeated
from raw_topic import RawTopic
from stack import Stack

PROBE_SEC = 0.1
NO_GAP_SEC = 3  # a reader polls every 0.2 s, on a machine that is busy with the fault


class ClusterRun(ChaosRun):
    """A run on one cluster, which has to be up."""

    injector: ClusterInjector

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        self.prober = Prober(self.pipeline.bootstrap_servers)
        self.roles = Roles(stack)
        self.injector = ClusterInjector(stack, self.producer, self.roles, self.prober)
        self.faults = cluster_schedule(seed)

    def inflict_faults(self, is_enough: Callable[[int], bool]) -> None:
        """As ChaosRun does. Raises NotRecovered or StackError."""
        with self.prober, Looper(self.prober.send, PROBE_SEC):
            super().inflict_faults(is_enough)

    def inflict_and_wait(self, fault: Fault) -> None:
        """As ChaosRun does; also wait until every replica is in sync, and note the gaps.

        Raises NotRecovered or StackError.
        """
        begin = time.monotonic()
        super().inflict_and_wait(fault)
        self.roles.wait_until_in_sync()
        end = time.monotonic()
        gaps = self.gaps(begin, end)
        in_sync = {"in_sync_after_sec": round(end - begin, 1)}
        self.done[-1] |= {"hit": self.injector.hit, **in_sync, **gaps}
        say(f"{'':12}hit {' '.join(self.injector.hit)}: {gaps}")
        is_hit = [reader.component in self.injector.hit for reader in self.readers]
        if any(is_hit) and not all(is_hit) and gaps["answers_gap_sec"] > NO_GAP_SEC:
            self.injector.wrong.append(f"{fault}: the other ClickHouse left a gap in its answers")

    def gaps(self, begin: float, end: float) -> dict[str, float]:
        """How long nothing happened in this time; without the ClickHouse server that was hit."""
        others = [each for each in self.readers if each.component not in self.injector.hit]
        readers = others or self.readers
        gaps = (
            longest_write_gap(self.prober.acknowledged, begin, end),
            max(longest_gap(reader.stored_at, begin, end) for reader in readers),
            max(longest_gap(reader.answered_at, begin, end) for reader in readers),
        )
        return {name: round(gap, 1) for name, gap in zip(GAPS, gaps, strict=True)}

    def findings(self) -> dict[str, Any]:
        worst = worst_gaps(self.done)
        show_gaps(worst)
        return {"gaps_sec": worst}

    def settle(self) -> list[str]:
        """As ChaosRun does; also check that no acknowledged order is lost or repeated."""
        wrong = super().settle()
        raw = RawTopic(self.pipeline.bootstrap_servers, "transactions_raw")
        lost = lost_or_repeated(self.prober.acknowledged, raw)
        return [*wrong, *self.injector.wrong, *lost]
