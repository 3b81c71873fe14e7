"""Records as the producer makes them."""

import json
import random
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any

from producer import PAYMENT_TYPES
from settings import Settings
from shop import Shop, make_records, make_shop

NOW = 1_795_386_600.123
NOW_TEXT = "2026-11-22T22:30:00.123+00:00"


@lru_cache
def shop(seed: int = 1) -> Shop:
    return make_shop(seed, PAYMENT_TYPES)


@lru_cache
def records(
    count: int, seed: int = 1, now: float = NOW, **settings: float
) -> tuple[tuple[bytes, bytes], ...]:
    """The first (key, value) pairs that a producer with this seed and these settings makes."""
    made = make_records(Settings(**settings), random.Random(seed), shop(seed), lambda: now)
    return tuple(islice(made, count))


def keys(count: int, seed: int) -> list[bytes]:
    return [key for key, _ in records(count, seed)]


@lru_cache
def valid_records(count: int, **settings: float) -> tuple[dict[str, Any], ...]:
    """As the job reads them: numbers as Decimal."""
    made = records(count, invalid_share=0, **settings)
    return tuple(json.loads(value, parse_float=Decimal) for _, value in made)
