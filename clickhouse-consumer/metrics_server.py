"""Serve metrics to Prometheus: the same file in each service; a test compares the copies."""

import logging
from typing import Annotated

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector
from pydantic import Field

from kafka_access import KafkaSettings

logger = logging.getLogger(__name__)

Port = Annotated[int | None, Field(ge=1, le=65535, title="a port from 1 to 65535, or empty")]


class ServiceSettings(KafkaSettings):
    """What every service can be told: where Kafka is, and where to serve metrics."""

    metrics_port: Port = None
    """Port of `/metrics`, for Prometheus. Empty: no metrics."""
    metrics_host: str = "127.0.0.1"
    """Address to serve them on. `0.0.0.0`: every address of the machine."""


def serve(collector: Collector, settings: ServiceSettings) -> None:
    """Serve the metrics of `collector` and of this process; do nothing if there is no port.

    Threads of the server call `collector.collect()` at each scrape, so the service itself only
    counts. If it cannot listen, it logs that: a service that works matters more than its metrics.
    """
    if settings.metrics_port is None:
        return
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        logger.error("no metrics: cannot listen on %s: %s", address, error.strerror)
