"""The verdict on every record of a run, in one byte each: a long run has millions of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping

NO_RECORD = 0  # at an offset of an aborted transaction


class Verdicts:
    """Verdicts by partition and offset."""

    def __init__(self) -> None:
        self.names: list[str] = [""]  # by number
        self.numbers: defaultdict[int, bytearray] = defaultdict(bytearray)  # by partition

    def add(self, partition: int, offset: int, verdict: str) -> None:
        if verdict not in self.names:
            self.names.append(verdict)
        numbers = self.numbers[partition]
        numbers.extend(bytes(max(0, offset + 1 - len(numbers))))
        numbers[offset] = self.names.index(verdict)

    def since(self, first: Mapping[int, int]) -> Counter[str]:
        """The number of records of each verdict, from these offsets on; without one, from 0."""
        found = Counter[str]()
        for partition, numbers in self.numbers.items():
            for number, records in Counter(numbers[first.get(partition, 0) :]).items():
                found[self.names[number]] += records
        found.pop(self.names[NO_RECORD], None)
        return found
