"""The metrics of the producer: what became of its records, added up over its processes."""

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sending import Counts


class DeliveryMetrics(Collector):
    """Asks `count` at each scrape."""

    def __init__(self, count: Callable[[], Counts]) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        counts = self._count()
        prefix = "purchases_producer_records"
        yield CounterMetricFamily(f"{prefix}_sent", "Records given to Kafka's client.", counts.sent)
        yield CounterMetricFamily(
            f"{prefix}_acknowledged",
            "Records that Kafka has acknowledged, on all in-sync replicas.",
            counts.acknowledged,
        )
        yield CounterMetricFamily(
            f"{prefix}_failed", "Records that Kafka will not acknowledge.", counts.failed
        )
        yield GaugeMetricFamily(
            f"{prefix}_in_flight",
            "Records sent and neither acknowledged nor failed.",
            counts.in_flight,
        )
