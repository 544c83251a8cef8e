"""What trials have cost predicts what others will cost, and how long a study still takes."""

import numpy as np
import pytest

from search.driver.costs import (
    LEAST,
    find_rest,
    learn_rates,
    predict_again,
    predict_rest,
    predict_search,
    typical_epoch,
)
from search.driver.leaderboard import TrialRow
from search.driver.repeats import list_missing
from search.messages import Cost, Outcome, Rates

RATES = Rates(epoch=0.5, step=0.002, wait=1e-4, work=1e-9)


def costs(count: int) -> list[Cost]:
    source = np.random.default_rng(0)
    sizes = source.integers((20, 8, 1000), (400, 200, 1_000_000), (count, 3)).tolist()
    return [
        Cost(steps=steps, waits=steps * waits, work=float(steps * work))
        for steps, waits, work in sizes
    ]


def rows(count: int, noise: float = 0.0) -> list[TrialRow]:
    source = np.random.default_rng(1)
    return [
        TrialRow(
            number=number,
            outcome=Outcome.COMPLETE,
            cost=cost,
            epochs=4,
            epoch_seconds=RATES.predict(cost) * float(np.exp(noise * source.standard_normal())),
        )
        for number, cost in enumerate(costs(count))
    ]


def test_rates_are_those_that_the_epochs_were_made_with() -> None:
    found = learn_rates(rows(20))
    assert found is not None
    assert vars(found) == pytest.approx(vars(RATES), rel=1e-6)


def test_of_noisy_epochs_a_new_one_is_predicted_within_their_noise() -> None:
    known, unseen = rows(40, noise=0.1), costs(60)[40:]
    found = learn_rates(known)
    assert found is not None
    assert min(vars(found).values()) >= 0.0
    wrong = [abs(np.log(found.predict(one) / RATES.predict(one))) for one in unseen]
    assert np.median(wrong) < 0.1


def test_nothing_is_predicted_from_too_few_trials_or_epochs() -> None:
    assert learn_rates(rows(LEAST - 1)) is None
    assert learn_rates(rows(LEAST)) is not None
    assert learn_rates([TrialRow(number=n, seconds=3.0, epochs=1) for n in range(20)]) is None


def test_equal_trials_are_predicted_as_they_were() -> None:
    cost = Cost(steps=10, waits=0, work=100.0)
    found = learn_rates([TrialRow(number=n, cost=cost, epoch_seconds=2.0) for n in range(6)])
    assert found is not None
    assert found.predict(cost) == pytest.approx(2.0)


def test_the_first_epoch_compiles_and_is_none_of_the_usual_ones() -> None:
    assert typical_epoch([]) is None
    assert typical_epoch([9.0]) is None
    assert typical_epoch([9.0, 1.0, 3.0, 2.0]) == 2.0


def ended(number: int, epochs: int, each: float | None = 2.0, fixed: float = 5.0) -> TrialRow:
    return TrialRow(
        number=number,
        outcome=Outcome.COMPLETE,
        epochs=epochs,
        epoch_seconds=each,
        seconds=fixed + epochs * (each or 1.0),
    )


def test_a_running_trial_goes_as_far_as_those_that_came_as_far() -> None:
    known = [ended(0, 3), ended(1, 3), ended(2, 3), ended(3, 11)]
    new = TrialRow(number=9, cost=Cost(steps=1, waits=0, work=0.0))
    rates = Rates(epoch=4.0, step=0.0, wait=0.0, work=0.0)
    assert predict_rest(new, find_rest(0, known), rates) == pytest.approx(
        5.0 * 4.0 + 5.0
    )  # five epochs usually
    later = TrialRow(number=9, epochs=4, epoch_seconds=3.0)
    assert predict_rest(later, find_rest(later.epochs, known), None) == pytest.approx(7 * 3.0)
    assert predict_rest(TrialRow(number=9, epochs=11), find_rest(11, known), None) is None


def test_without_costs_a_running_trial_takes_what_others_took() -> None:
    known = [ended(0, 4), ended(1, 4)]
    assert predict_rest(TrialRow(number=9), find_rest(0, known), None) == pytest.approx(13.0)
    assert predict_rest(TrialRow(number=9, epochs=2), find_rest(2, known), None) == pytest.approx(
        6.5
    )


def test_what_is_not_begun_takes_what_trials_usually_take() -> None:
    known = [ended(0, 4), ended(1, 8)]
    assert predict_search([], [], 5, None) is None
    assert predict_search([], known, 3, None) == pytest.approx(3 * 17.0)
    running = TrialRow(number=9, epochs=6, epoch_seconds=1.0)
    assert predict_search([running], known, 0, None) == pytest.approx(2.0)
    longest = TrialRow(number=9, epochs=9, epoch_seconds=1.0)  # nobody came as far
    assert predict_search([longest], known, 0, None) == pytest.approx(17.0)


def test_the_longest_of_the_last_trainings_begin_first() -> None:
    short, long = (
        TrialRow(number=n, epochs=5, best_epoch=4, epoch_seconds=each, seconds=5 * each)
        for n, each in enumerate((1.0, 3.0))
    )
    found = list_missing([short, long], 2, {(1, 0)})
    assert [(row.number, repeat) for row, repeat in found] == [(1, 1), (0, 0), (0, 1)]


def test_a_training_again_takes_its_epochs_and_what_is_beside_them() -> None:
    assert predict_again(ended(0, 10), 4) == pytest.approx(5.0 + 4 * 2.0)
    assert predict_again(ended(0, 10, each=None, fixed=0.0), 4) == pytest.approx(4.0)
