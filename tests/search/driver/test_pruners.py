import optuna
import pytest

from search.config import PrunerConfig
from search.driver.pruners import make_pruner, prune_reason


def make_study(direction="maximize", **settings):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction=direction,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=make_pruner(PrunerConfig(**settings)),
    )


def play(study, curve):
    """Report a curve until it is pruned; return the epoch, counted from 1, or None."""
    trial = study.ask()
    for step, value in enumerate(curve):
        trial.report(value, step)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return step + 1
    study.tell(trial, curve[-1])
    return None


def test_the_best_quarter_goes_on_and_the_rest_ends_at_the_epoch():
    study = make_study(epoch=3, keep=0.25)
    ends = [play(study, [0, 0, value, 1, 1]) for value in (0.5, 0.4, 0.6, 0.5, 0.7, 0.55)]
    # After trials 1 to 4 the best alone goes on; from the fifth on, the two best of so many.
    assert ends == [None, 3, None, 3, None, 3]


def test_pruned_trials_count():
    study = make_study(epoch=1, keep=0.5)
    ends = [play(study, [value, 1]) for value in (0.9, 0.1, 0.2, 0.3, 0.4)]
    # Among survivors alone (0.9) the later trials would be the worse half of two each time.
    assert ends == [None, 1, None, None, None]


def test_the_smaller_value_is_the_better_one_where_it_is_minimised():
    study = make_study("minimize", epoch=2, keep=0.25)
    assert [play(study, [9, value, 0]) for value in (0.5, 0.6, 0.4)] == [None, 2, None]


def test_an_equal_value_goes_on():
    study = make_study(epoch=1, keep=0.25)
    assert [play(study, [0.5, 0.5]) for _ in range(3)] == [None, None, None]


def test_a_running_trial_is_compared_too():
    study = make_study(epoch=1, keep=0.5)
    running = study.ask()
    running.report(0.9, 0)
    assert play(study, [0.1, 0.9]) == 1


def test_the_reason_names_value_epoch_share_and_bar():
    study = make_study(epoch=3, keep=0.25)
    play(study, [0, 0, 0.74])
    trial = study.ask()
    for step, value in enumerate([0.2, 0.61, 0.61]):
        trial.report(value, step)
    assert trial.should_prune()
    (_, frozen) = study.trials
    assert prune_reason(study, frozen) == (
        "The objective's best 0.61 after epoch 3 is not among the best 25% of 2 trials (bar 0.74)."
    )


def test_the_median_is_asked_for_from_its_epoch_on():
    study = make_study(name="median", epoch=2)
    for _ in range(5):
        play(study, [0.5, 0.5, 0.5])
    assert play(study, [0.1, 0.1, 0.1]) == 2
    assert prune_reason(study, study.trials[-1]) == (
        "The objective's best 0.1 after epoch 2 is worse than the median of the completed trials "
        "at that epoch."
    )


def test_none_ends_nothing():
    study = make_study(name="none", epoch=1)
    assert [play(study, [value, value]) for value in (0.9, 0.1)] == [None, None]


@pytest.mark.parametrize("keep", [0.1, 1.0])
def test_the_first_trial_always_goes_on(keep):
    assert play(make_study(epoch=1, keep=keep), [0.0, 0.0]) is None
