import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.driver.leaderboard import TrialRow, find_front, rank
from search.messages import Outcome


def make_row(number: int, value: float | None, **settings: object) -> TrialRow:
    row = {"number": number, "outcome": Outcome.COMPLETE, "value": value, **settings}
    return TrialRow(**row)


@pytest.mark.parametrize(("direction", "order"), [("maximize", [2, 0, 1]), ("minimize", [1, 0, 2])])
def test_the_best_value_stands_first(direction: str, order: list[int]) -> None:
    rows = [make_row(0, 0.5), make_row(1, 0.2), make_row(2, 0.9), make_row(3, None)]
    rows.append(make_row(4, 1.0, outcome=Outcome.PRUNED))
    assert [row.number for row in rank(rows, direction)] == order


def test_of_equals_the_one_that_is_surer_stands_first_and_then_the_earlier() -> None:
    rows = [
        make_row(0, 0.9),
        make_row(1, 0.9, metrics={"val_log_loss": 0.3}),
        make_row(2, 0.9, metrics={"val_log_loss": math.nan}),
        make_row(3, 0.9, metrics={"val_log_loss": 0.2}),
        make_row(4, 0.8, metrics={"val_log_loss": 0.1}),
    ]
    assert [row.number for row in rank(rows, "maximize")] == [3, 1, 0, 2, 4]


COARSE = st.integers(0, 4)


@given(st.lists(st.tuples(COARSE, COARSE, COARSE), max_size=12), st.booleans())
def test_the_front_holds_who_is_beaten_by_nobody_and_one_of_equals(
    points: list[tuple[int, int, int]], up: bool
) -> None:
    direction = "maximize" if up else "minimize"
    rows = [
        make_row(number, float(value), latency_ms=float(first), parameter_count=second)
        for number, (value, first, second) in enumerate(points)
    ]
    costs = [lambda row: row.latency_ms, lambda row: row.parameter_count]
    front = find_front(rank(rows, direction), direction, costs)
    signed = [(-value if up else value, *rest) for value, *rest in points]
    best = {
        one
        for one in signed
        if not any(
            other != one and all(a <= b for a, b in zip(other, one, strict=True))
            for other in signed
        )
    }
    assert sorted(signed[row.number] for row in front) == sorted(best)
    assert front == rank(front, direction)


def test_who_was_not_measured_is_on_no_front() -> None:
    rows = [make_row(0, 0.9), make_row(1, 0.5, latency_ms=2.0)]
    found = find_front(rank(rows, "maximize"), "maximize", [lambda row: row.latency_ms])
    assert [row.number for row in found] == [1]
