"""What the benchmark does with the producer's own code, or in its place.

testbed.py runs this with only producer/ on the path: inside_producer.py send_bare | fill, with the
arguments of the function as a JSON object on stdin. Prints what it returns as JSON on stdout.
"""

import json
import random
import sys
import time
from collections.abc import Callable

from kafka import KafkaProducer

from lifecycle import Stop, set_up_logging
from processes import stay_on_one_core
from producer import PAYMENT_TYPES
from sending import Delivery, finish, new_producer, produce, wait_for_topic
from settings import Settings
from shop import make_records, make_shop

RECORD = (
    b'{"order_id":"5f0c2b34-9a3e-4c53-8f0e-1df2a1b7c001","user_id":481516,"product_id":"P0042",'
    b'"quantity":2,"price":9.95,"total_amount":19.90,"payment_type":"paypal",'
    b'"transaction_time":"2026-11-01T12:30:14.123+00:00"}'
)


def send_bare(topic: str, count: int) -> None:
    """Send one encoded record again and again, with the fastest settings known.

    On one core, as the producer does.
    """
    stay_on_one_core(1)
    servers = Settings().kafka_bootstrap_servers
    kafka = KafkaProducer(bootstrap_servers=servers, linger_ms=20, batch_size=64 * 1024)
    for _ in range(count):
        kafka.send(topic, RECORD)
    kafka.flush()
    kafka.close()


def fill(topic: str, count: int, seed: str) -> None:
    """Send the producer's records as fast as possible. Raises RuntimeError if some fail."""
    settings = Settings(raw_topic=topic, rate=0, count=count)
    rng, kafka, stop = random.Random(seed), new_producer(settings), Stop()
    records = make_records(settings, rng, make_shop(1, PAYMENT_TYPES), time.time)
    wait_for_topic(kafka, settings, stop)
    delivery = Delivery()
    produce(kafka, records, settings, delivery, stop)
    if finish(kafka, delivery) != 0:
        raise RuntimeError(f"{topic}: {delivery}")


FUNCTIONS: dict[str, Callable[..., None]] = {"send_bare": send_bare, "fill": fill}

if __name__ == "__main__":
    set_up_logging()
    json.dump(FUNCTIONS[sys.argv[1]](**json.load(sys.stdin)), sys.stdout)
