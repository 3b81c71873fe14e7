"""Sends endless random purchase transactions to Kafka: one JSON object per record, key = order_id.

Reads only its settings (environment or --flags) and writes only the topic RAW_TOPIC. Some records
are deliberately invalid or late (INVALID_SHARE, LATE_SHARE): everything downstream must cope.

Delivery: acks=all and idempotent, so retries neither lose nor repeat a record. While Kafka is away,
it keeps a bounded number of records and waits; then it continues by itself. SIGTERM and Ctrl-C
flush first; a kill -9 loses only what Kafka has not acknowledged. Exit code: 0 if Kafka has
acknowledged all records, 1 if not, 2 for a wrong setting. One process uses one core; with
PROCESSES=n, n processes share RATE and COUNT.
"""

import gc
import logging
import random
import sys
import time
from threading import Thread, Timer

from kafka_access import SettingsError
from lifecycle import RESTART_DELAY_SEC, Stop, guarded, set_up_logging
from metrics import DeliveryMetrics
from metrics_server import serve
from processes import run_processes, stay_on_one_core
from refusals import Refused
from sending import Delivery, finish, new_producer, produce, report, wait_for_topic
from settings import Settings, load
from shop import make_records, make_shop

logger = logging.getLogger("producer")

PAYMENT_TYPES = ("credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery")


def with_seed(settings: Settings) -> Settings:
    """The settings, with a random seed if they have none: the log then shows the one in use."""
    if settings.seed is not None:
        return settings
    return settings.model_copy(update={"seed": random.randrange(2**32)})


def stop_after(duration_sec: float, stop: Stop) -> None:
    """Request the stop when the time is over; 0 means never."""
    if duration_sec:
        timer = Timer(duration_sec, stop.request)
        timer.daemon = True  # must not keep the process alive
        timer.start()


def run(settings: Settings, stop: Stop, delivery: Delivery, number: int = 1) -> int:
    """Send until done or stopped; `number` tells the processes of one producer apart.

    Counts in `delivery`. Returns the exit code.
    """
    if settings.rate == 0:
        stay_on_one_core(number)  # before kafka-python starts its thread
    # A record in flight is a dozen objects, none of them in a cycle: collecting garbage after
    # every 700 of those, as Python does by default, costs a tenth of the speed.
    gc.set_threshold(20_000)
    # All processes sell from one shop, and none repeats the orders of another, whatever the seed.
    shop = make_shop(settings.seed, PAYMENT_TYPES)
    rng = random.Random(settings.seed if number == 1 else f"{settings.seed}/{number}")
    producer = new_producer(settings)
    try:
        is_there = wait_for_topic(producer, settings, stop)
    except Refused as error:
        logger.error("%s", error)
        producer.close(timeout=0)
        stop.wait(RESTART_DELAY_SEC)  # who restarts it must not try too often
        return 1
    if is_there:
        stop_after(settings.duration_sec, stop)
        Thread(target=report, args=(delivery, settings, stop), daemon=True).start()
        produce(producer, make_records(settings, rng, shop, time.time), settings, delivery, stop)
        stop.request()  # ends the thread that reports
    return finish(producer, delivery)


def main() -> int:
    set_up_logging()
    try:
        settings = with_seed(load(sys.argv[1:]))
    except SettingsError as error:
        logger.error("%s", error)
        return 2
    logger.info("starting with %s", settings)
    stop = Stop()
    stop.on_signals()
    if settings.processes > 1:
        return guarded(lambda: run_processes(settings, stop, run), stop)
    delivery = Delivery()
    serve(DeliveryMetrics(delivery.counts), settings)
    return guarded(lambda: run(settings, stop, delivery), stop)


if __name__ == "__main__":
    sys.exit(main())
