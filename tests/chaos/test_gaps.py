"""How the gaps of a run on a cluster are measured."""

import pytest

from gaps import fault_name, longest_gap, worst_gaps


@pytest.mark.parametrize(
    ("moments", "longest"),
    [
        ([1.0, 2.0, 5.0, 9.0], 4.0),
        ([9.0], 9.0),  # since the begin
        ([1.0], 9.0),  # until the end
        ([-1.0, 11.0], 10.0),  # nothing in between
    ],
)
def test_the_longest_gap_is_within_the_time_of_the_fault(
    moments: list[float], longest: float
) -> None:
    assert longest_gap(moments, begin=0.0, end=10.0) == longest


def test_faults_of_any_instance_are_one_kind() -> None:
    assert fault_name({"kind": "kill", "components": ["broker-3"]}) == "kill broker"
    assert fault_name({"kind": "freeze", "components": ["zookeeper-leader"]}) == (
        "freeze zookeeper-leader"
    )
    both = {"kind": "kill", "components": ["consumer-2", "consumer-4"]}
    assert fault_name(both) == "kill 2 consumers"


def test_the_worst_gaps_are_those_of_each_kind_of_fault() -> None:
    def fault(component: str, writes: float, rows: float, answers: float) -> dict[str, object]:
        gaps = {"writes_gap_sec": writes, "rows_gap_sec": rows, "answers_gap_sec": answers}
        return {"kind": "kill", "components": [component], **gaps}

    done = [fault("broker", 5, 1, 0.2), fault("broker-2", 3, 4, 0.1), fault("driver", 0.3, 20, 0.2)]
    assert worst_gaps(done) == {
        "kill broker": {"writes_gap_sec": 5, "rows_gap_sec": 4, "answers_gap_sec": 0.2},
        "kill driver": {"writes_gap_sec": 0.3, "rows_gap_sec": 20, "answers_gap_sec": 0.2},
    }
