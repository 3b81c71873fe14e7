"""Following records from Kafka into the table."""

from datetime import timedelta

from freshness import Freshness
from orders import MINUTE, NOON, WATERMARK, order, row
from windows import Expected

ARRIVALS = [NOON + timedelta(seconds=second) for second in (1, 2, 3)]


def test_a_record_is_counted_by_the_first_row_that_includes_it() -> None:
    freshness = Freshness(Expected(WATERMARK))
    for number, arrival in enumerate(ARRIVALS):
        freshness.arrived(order(str(number), "P1", "1", 0), arrival)
    assert freshness.counted([]) == []
    assert freshness.counted([row(total_orders=2)]) == ARRIVALS[:2]
    assert freshness.counted([row(total_orders=2)]) == []
    assert freshness.counted([row(total_orders=3), row(NOON + MINUTE)]) == ARRIVALS[2:]


def test_records_that_do_not_count_are_not_waited_for() -> None:
    freshness = Freshness(Expected(WATERMARK))
    freshness.arrived(b"x", ARRIVALS[0])
    freshness.arrived(order("late", "P1", "1", -3600), ARRIVALS[1])
    freshness.arrived(order("a", "P1", "1", 0), ARRIVALS[2])
    assert freshness.counted([row(total_orders=1)]) == [ARRIVALS[2]]
    assert not any(freshness.waiting.values())
