"""A made-up shop and its random transactions, encoded as the records of the topic RAW_TOPIC.

The same seed makes the same shop and the same records, except for their times.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from faker import Faker

from settings import Settings

CUSTOMERS = 5_000
PRODUCTS = 100
PRICE_RANGE_CENTS = (199, 29_999)
QUANTITIES = (1, 1, 1, 1, 2, 2, 3, 5)
LATENESS_RANGE_MS = (60_000, 300_000)  # within the job's 10-minute watermark: late, yet counted

UNKNOWN_PAYMENT_TYPE = "barter"
"""In some of the invalid records; a name that nobody would add to the payment types."""


class Shop(NamedTuple):
    """What every record is drawn from."""

    user_ids: list[int]
    products: list[tuple[str, int]]  # (id, price in cents), the popular ones many times over
    payment_types: Sequence[str]
    remarks: list[str]  # text that is not JSON


class Transaction(NamedTuple):
    """The fields of the contract, in its order; money in cents, never in binary floats."""

    order_id: str
    user_id: int
    product_id: str
    quantity: int
    price_cents: int
    total_cents: int
    payment_type: str | None
    transaction_time: str


def make_shop(seed: int | None, payment_types: Sequence[str]) -> Shop:
    """Use Faker once, at the start: it would be far too slow for every record."""
    fake = Faker()
    fake.seed_instance(seed)
    catalogue = [
        (f"P{number:04d}", fake.random_int(*PRICE_RANGE_CENTS)) for number in range(1, PRODUCTS + 1)
    ]
    best_sellers_first = enumerate(fake.random_sample(catalogue, PRODUCTS), start=1)
    return Shop(
        user_ids=[fake.unique.random_int(100_000, 999_999) for _ in range(CUSTOMERS)],
        # Zipf's law: the n-th best seller is drawn 1/n as often as the first.
        products=[product for n, product in best_sellers_first for _ in range(10 * PRODUCTS // n)],
        payment_types=payment_types,
        remarks=[fake.sentence() for _ in range(100)],
    )


def random_uuid(rng: random.Random) -> str:
    """What str(uuid.UUID(int=rng.getrandbits(128), version=4)) returns, in half the time."""
    bits = rng.getrandbits(128) & ~(0xF000_C000 << 48) | (0x4000_8000 << 48)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(maxsize=1)  # at full speed, dozens of records share a millisecond
def iso_utc(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds")


@lru_cache(maxsize=10 * PRODUCTS)  # the same few amounts come up all the time
def decimal_text(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def make_transaction(rng: random.Random, shop: Shop, epoch_ms: int) -> Transaction:
    product_id, price_cents = rng.choice(shop.products)
    quantity = rng.choice(QUANTITIES)
    return Transaction(
        order_id=random_uuid(rng),
        user_id=rng.choice(shop.user_ids),
        product_id=product_id,
        quantity=quantity,
        price_cents=price_cents,
        total_cents=quantity * price_cents,
        payment_type=rng.choice(shop.payment_types),
        transaction_time=iso_utc(epoch_ms),
    )


def encode(transaction: Transaction) -> bytes:
    """The transaction as JSON.

    Not with json.dumps: it writes 19.90 only if given a float, and takes several times as long.
    """
    payment_type = f'"{transaction.payment_type}"' if transaction.payment_type else "null"
    return (
        f'{{"order_id":"{transaction.order_id}",'
        f'"user_id":{transaction.user_id},'
        f'"product_id":"{transaction.product_id}",'
        f'"quantity":{transaction.quantity},'
        f'"price":{decimal_text(transaction.price_cents)},'
        f'"total_amount":{decimal_text(transaction.total_cents)},'
        f'"payment_type":{payment_type},'
        f'"transaction_time":"{transaction.transaction_time}"}}'
    ).encode()


def encode_invalid(rng: random.Random, shop: Shop, transaction: Transaction) -> bytes:
    """One of the four kinds of invalid record that the job must reject; made nowhere else."""
    kinds = (
        encode(transaction._replace(payment_type=None)),
        encode(transaction._replace(payment_type=UNKNOWN_PAYMENT_TYPE)),
        encode(transaction._replace(total_cents=-transaction.total_cents)),
        rng.choice(shop.remarks).encode(),
    )
    return rng.choice(kinds)


def make_records(
    settings: Settings, rng: random.Random, shop: Shop, now: Callable[[], float]
) -> Iterator[tuple[bytes, bytes]]:
    """Endless (key, value) pairs; `now` returns the time in seconds since the epoch."""
    late_share, invalid_share = settings.late_share, settings.invalid_share
    while True:
        epoch_ms = int(now() * 1000)
        if rng.random() < late_share:
            epoch_ms -= rng.randint(*LATENESS_RANGE_MS)
        transaction = make_transaction(rng, shop, epoch_ms)
        if rng.random() < invalid_share:
            value = encode_invalid(rng, shop, transaction)
        else:
            value = encode(transaction)
        yield transaction.order_id.encode(), value
