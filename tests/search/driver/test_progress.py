"""What a study says of its trials."""

import pytest

from search.driver.leaderboard import TrialRow
from search.driver.progress import write_row
from search.messages import Outcome


@pytest.mark.parametrize(
    ("seconds", "took"), [(3.2, "2 epochs in 3 s"), (75.0, "2 epochs in 1 min 15 s")]
)
def test_a_trial_is_told_with_its_score_and_its_time(seconds: float, took: str) -> None:
    row = TrialRow(number=4, outcome=Outcome.PRUNED, value=0.25, epochs=2, seconds=seconds)
    assert write_row(row, "mse") == f"trial 4 | pruned | mse 0.2500 | {took}"


def test_a_time_that_nobody_knows_is_not_told() -> None:
    row = TrialRow(number=4, outcome=Outcome.INTERRUPTED, epochs=2, reason="the driver stopped")
    assert write_row(row, "mse") == (
        "trial 4 | interrupted | no score | 2 epochs | the driver stopped"
    )
