import math

import pytest

from search.driver.leaderboard import TrialRow, rank
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
