import math
import statistics

import pytest

from search.driver.leaderboard import TrialRow
from search.driver.plateaus import find_noise, find_plateau
from search.messages import Outcome


def make_rows(*values: float | None, units: tuple[int, ...] = ()) -> list[TrialRow]:
    return [
        TrialRow(
            number=number,
            value=value,
            outcome=Outcome.PRUNED if value is None else Outcome.COMPLETE,
            parameters={"units": units[number] if units else number},
        )
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_a_seed_does_is_no_gain(direction: str) -> None:
    sign = 1 if direction == "maximize" else -1
    first = [0.50, 0.54, 0.46]  # of one candidate: 0.04 apart
    later = [0.57, None, 0.52, 0.60, 0.61]
    values = [v if v is None else sign * v for v in (*first, *later)]
    rows = make_rows(*values, units=(0, 0, 0, 1, 2, 3, 4, 5))
    assert find_noise(rows) == pytest.approx(statistics.stdev(first))
    plateau = find_plateau(rows, direction, 4)
    assert plateau is not None
    # 0.57 is better than 0.50 by more than 0.04, 0.60 and 0.61 are not better than 0.57 by so much.
    assert (plateau.best, plateau.length, plateau.needed) == (3, 4, 4)
    assert plateau.reached
    rows += [TrialRow(number=8, value=sign * 0.62, outcome=Outcome.COMPLETE)]
    after = find_plateau(rows, direction, 4)
    assert after is not None
    assert (after.best, after.length, after.reached) == (8, 0, False)


def test_a_long_study_has_to_stand_still_for_longer() -> None:
    rows = make_rows(*[0.5] * 31)
    plateau = find_plateau(rows, "maximize", 5)
    assert plateau is not None
    assert (plateau.length, plateau.needed) == (30, 11)


def test_noise_is_pooled_over_candidates_by_their_degrees_of_freedom() -> None:
    rows = make_rows(1.0, 3.0, 10.0, 10.0, 13.0, 7.0, 99.0, units=(0, 0, 1, 1, 1, 1, 2))
    squares = 2.0 + sum((value - 10.0) ** 2 for value in (10.0, 10.0, 13.0, 7.0))
    assert find_noise(rows) == pytest.approx(math.sqrt(squares / 4))
    assert find_noise(rows[-1:]) == 0.0


def test_there_is_no_plateau_before_a_trial_is_complete() -> None:
    assert find_plateau(make_rows(None, None), "maximize", 1) is None
