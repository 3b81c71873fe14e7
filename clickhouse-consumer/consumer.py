"""Store window totals. This is the service's entry point; loader.py has its loop.

Reads the topic `transactions_agg` and writes one row per update of a window to the ClickHouse table
`aggregated_analytics`.

Delivery: at least once, and the table makes it exactly once. Offsets are committed only after
ClickHouse has acknowledged the rows. After a crash at any point, a rebalance, or an insert whose
acknowledgement was lost, records are read again; none is lost. Reading one again changes nothing:
for each window, the table keeps the row with the most orders (ReplacingMergeTree by total_orders).
A record that is not a valid window, and a row that ClickHouse refuses, are logged with topic,
partition and offset, and skipped.
"""

import logging
import sys

import topic
from coordinator import TopicReplaced
from kafka_access import SettingsError
from lifecycle import RESTART_DELAY_SEC, Stop, guarded, set_up_logging
from loader import Loader, State
from message import TooManyInvalid
from metrics import ConsumerMetrics
from metrics_server import serve
from refusals import Refused
from reporting import Monitor, Stuck
from settings import Settings, load
from table import connect_clickhouse

logger = logging.getLogger(__name__)


def step(loader: Loader, monitor: Monitor) -> None:
    """Work for about a second at most.

    Raises TooManyInvalid, Stuck, TopicReplaced, Refused or DamagedTopic.
    """
    loader.step()
    if loader.state is State.IDLE:  # all is stored; after a restart it could not be read again
        topic.raise_if_replaced(loader.kafka)
    monitor.look(loader.totals, is_waiting=loader.state is State.RETRYING)


def run(settings: Settings, stop: Stop) -> int:
    """Work until a stop is requested, then flush once. Returns the exit code."""
    kafka, clickhouse = topic.connect_kafka(settings), connect_clickhouse(settings)
    loader, monitor = Loader(kafka, clickhouse, settings), Monitor(kafka, settings)
    serve(ConsumerMetrics(loader.totals, loader.insert_metrics, monitor), settings)
    try:
        while not stop.requested:
            step(loader, monitor)
        loader.finish()
        return 0
    except (TooManyInvalid, Stuck, TopicReplaced) as error:
        logger.error("%s", error)
        return 1
    except (Refused, topic.DamagedTopic) as error:
        logger.error("%s", error)
        topic.close(kafka)  # or it would try again meanwhile
        stop.wait(RESTART_DELAY_SEC)
        return 1
    finally:
        topic.close(kafka)
        clickhouse.disconnect()
        logger.info("stopped: %s", loader.totals)


def main() -> int:
    set_up_logging()
    try:
        settings = load()
    except SettingsError as error:
        logger.error("%s", error)
        return 2
    logger.info("starting with %s", settings)
    stop = Stop()
    stop.on_signals()
    return guarded(lambda: run(settings, stop), stop)


if __name__ == "__main__":
    sys.exit(main())
