"""Who wins, and what is said of it, from scores that are given."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from search.config import make_config
from search.driver.decision import Decision, Repeat, decide
from search.driver.intervals import find_mean
from search.driver.leaderboard import TrialRow
from search.messages import Outcome

NAIVE = {"majority class": 0.5, "logistic regression": 0.6}


def row(number: int, value: float) -> TrialRow:
    return TrialRow(number=number, outcome=Outcome.COMPLETE, value=value, best_epoch=3)


def repeats(
    number: int, values: list[float | None], naive: dict[str, float] = NAIVE, overlap: float = 0.0
) -> list[Repeat]:
    return [
        Repeat(
            number=number,
            repeat=place,
            seed=place,
            outcome="diverged" if value is None else "complete",
            value=value,
            naive=naive,
            overlap=overlap,
            targets=str(place) if overlap else "own",
        )
        for place, value in enumerate(values)
    ]


def judge(
    finalists: list[TrialRow],
    trained: list[Repeat],
    direction: str = "maximize",
    together: Sequence[float] = (),
    **winner: int,
) -> Decision:
    settings = {"objective": {"metric": "accuracy"}, "winner": {"repeats": 3, **winner}}
    config = make_config({"name": "s", **settings})
    return decide(finalists, trained, direction, config, together)


def test_the_best_mean_wins_and_not_the_best_score_of_the_search() -> None:
    trained = repeats(7, [0.70, 0.71, 0.69]) + repeats(0, [0.74, 0.75, 0.76])
    decision = judge([row(7, 0.80), row(0, 0.72)], trained)
    assert decision.trial == 0
    assert decision.means["0"].value == pytest.approx(0.75)
    assert decision.gap == pytest.approx(-0.03)
    assert decision.epochs == {"0": 4}
    assert decision.members == [0]
    assert decision.default is None
    assert "the default hyperparameters won" in decision.sentence


def test_the_gap_is_what_the_search_promised_too_much() -> None:
    trained = repeats(7, [0.72, 0.70, 0.74]) + repeats(0, [0.6, 0.6, 0.6])
    decision = judge([row(7, 0.80), row(0, 0.72)], trained)
    assert decision.found == 0.80
    assert decision.gap == pytest.approx(0.08)
    assert "in the search trial 7 had 0.8000, better by 0.0800 than now" in decision.sentence


def test_where_less_is_better_signs_are_turned() -> None:
    trained = repeats(7, [2.0, 2.1, 1.9], {"mean": 3.0}) + repeats(0, [2.5, 2.6, 2.4])
    decision = judge([row(7, 1.5), row(0, 2.2)], trained, "minimize")
    assert decision.trial == 7
    assert decision.gap == pytest.approx(0.5)
    assert decision.default is not None
    assert decision.default.value == pytest.approx(0.5)
    assert decision.naive is not None
    assert decision.naive.value == pytest.approx(1.0)


def test_a_finalist_that_fails_once_cannot_win() -> None:
    trained = repeats(7, [0.9, None, 0.9]) + repeats(0, [0.6, 0.6, 0.6])
    decision = judge([row(7, 0.9), row(0, 0.6)], trained)
    assert decision.trial == 0
    assert "7" not in decision.means


def test_defaults_that_failed_are_not_passed_over() -> None:
    trained = repeats(7, [0.9] * 3) + repeats(0, [0.6, None, 0.6])
    decision = judge([row(7, 0.9), row(0, 0.6)], trained)
    assert decision.trial == 7
    assert decision.default is None
    assert "the default hyperparameters failed" in decision.sentence


def test_the_members_are_the_best_by_their_mean() -> None:
    trained = repeats(7, [0.70] * 3) + repeats(4, [0.80] * 3) + repeats(0, [0.75] * 3)
    three = [row(7, 0.9), row(4, 0.8), row(0, 0.7)]
    decision = judge(three, trained, members=2, together=[0.82, 0.84, 0.83])
    assert (decision.trial, decision.members) == (4, [4, 0])
    assert decision.epochs == {"4": 4, "0": 4}
    lower = judge(three, trained, "minimize", members=5, together=[0.6] * 3)
    assert lower.members == [7, 0, 4]


def test_what_is_said_of_several_members_is_said_of_their_mean() -> None:
    trained = repeats(4, [0.80] * 3) + repeats(0, [0.81] * 3)
    finalists = [row(4, 0.8), row(0, 0.7)]
    decision = judge(finalists, trained, members=2, together=[0.82, 0.84, 0.83])
    assert decision.together is not None
    assert decision.default is not None
    assert decision.naive is not None
    assert decision.together.value == pytest.approx(0.83)
    assert decision.naive.value == pytest.approx(0.83 - 0.6)
    alone = "in the search trial 0 had 0.7000, worse by 0.1100 than when it was trained again alone"
    assert alone in decision.sentence
    # The best alone is the default, and the mean is compared with it all the same.
    assert decision.trial == 0
    assert decision.default.value == pytest.approx(0.83 - 0.81)
    assert decision.sentence.startswith("The mean of trials 0, 4 has accuracy 0.8300")
    assert "better than the default hyperparameters (by 0.0200" in decision.sentence
    assert "won" not in decision.sentence


def test_where_all_fail_the_best_of_the_search_is_kept_and_it_is_said() -> None:
    trained = repeats(7, [None, 0.6, 0.6]) + repeats(0, [0.6, None, None])
    decision = judge([row(7, 0.9), row(0, 0.6)], trained)
    assert (decision.trial, decision.members, decision.epochs) == (7, [7], {"7": 4})
    assert "failed when it was trained again" in decision.sentence


def test_it_is_better_only_where_the_whole_interval_says_so() -> None:
    sure = judge([row(0, 0.7)], repeats(0, [0.70, 0.71, 0.69]))
    assert sure.baseline == "logistic regression"
    assert "better than logistic regression (by 0.1000" in sure.sentence
    assert "not shown" not in sure.sentence
    unsure = judge([row(0, 0.7)], repeats(0, [0.8, 0.55, 0.62]))
    assert "not shown to be better than logistic regression" in unsure.sentence
    worse = judge([row(0, 0.7)], repeats(0, [0.40, 0.41, 0.39]))
    assert "worse than logistic regression (by 0.2000 (0.1752 to 0.2248))" in worse.sentence


def test_equal_scores_are_no_certainty() -> None:
    decision = judge([row(0, 0.7)], repeats(0, [0.9] * 3))
    assert math.isinf(decision.means["0"].high)
    assert "not shown to be better than logistic regression (by 0.3000)" in decision.sentence


def test_an_interval_ends_where_the_metric_does() -> None:
    mean = judge([row(0, 0.7)], repeats(0, [0.8, 0.95, 0.99])).means["0"]
    assert mean.high == 1.0
    assert mean.low > 0


def test_where_one_side_could_not_be_drawn_anew_the_interval_is_as_wide_as_of_those_drawn() -> None:
    drawn = repeats(0, [0.7, 0.75, 0.8], overlap=0.25)
    mixed = [replace(drawn[0], overlap=0.0, targets="own"), *drawn[1:]]
    assert judge([row(0, 0.7)], mixed).means == judge([row(0, 0.7)], drawn).means
    assert "each on another validation side" in judge([row(0, 0.7)], mixed).sentence


def test_sides_that_were_drawn_twice_are_counted_once() -> None:
    drawn = repeats(0, [0.7, 0.75, 0.8], overlap=0.25)
    twice = [replace(drawn[0], targets="1"), *drawn[1:]]
    assert "in 3 trainings, on 2 validation sides; " in judge([row(0, 0.7)], twice).sentence
    once = [replace(one, targets="1") for one in drawn]
    assert "in 3 trainings, on 1 validation side; " in judge([row(0, 0.7)], once).sentence


def test_a_baseline_without_a_score_is_none_to_compare_with() -> None:
    undefined = repeats(0, [0.7, 0.7, 0.7], {"majority class": math.nan})
    decision = judge([row(0, 0.7)], undefined)
    assert (decision.naive, decision.baseline) == (None, "")


def test_more_trainings_than_are_asked_for_count_no_more() -> None:
    assert judge([row(0, 0.7)], repeats(0, [0.6, 0.6, 0.9]), repeats=2).means["0"].value == 0.6


def test_the_interval_is_students() -> None:
    mean = find_mean([1.0, 2.0, 3.0])
    # t(2) = 4.3027 at 97.5 %; standard error 1 / sqrt(3)
    assert (mean.low, mean.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert math.isinf(find_mean([1.0]).high)
    assert str(find_mean([1.0])) == "1.0000"


def test_the_interval_covers_the_truth_where_sides_overlap() -> None:
    """Draw scores as correlated as those of overlapping sides: 95 % of intervals hold the mean."""
    rng = np.random.default_rng(0)
    # Correlation of two hold-out scores: Nadeau and Bengio take validation / all targets.
    overlap, count = 1 / 3, 5
    correlation = overlap / (1 + overlap)
    shared = rng.normal(size=(4000, 1)) * math.sqrt(correlation)
    scores = shared + rng.normal(size=(4000, count)) * math.sqrt(1 - correlation)
    wide = [find_mean(list(line), overlap) for line in scores]
    narrow = [find_mean(list(line)) for line in scores]
    assert np.mean([one.low < 0 < one.high for one in wide]) == pytest.approx(0.95, abs=0.02)
    assert np.mean([one.low < 0 < one.high for one in narrow]) < 0.85
