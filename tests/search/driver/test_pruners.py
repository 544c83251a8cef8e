import optuna
import pytest

from search.config import PrunerConfig
from search.driver.optimization import immunity
from search.driver.pruners import check_pruner, find_first, make_pruner, prune_reason
from search.errors import ConfigError


def make_study(direction="maximize", **settings):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction=direction,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=make_pruner(PrunerConfig(**settings), max_epochs=12, seed=0),
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
    study = make_study(name="early", epoch=3, keep=0.25)
    ends = [play(study, [0, 0, value, 1, 1]) for value in (0.5, 0.4, 0.6, 0.5, 0.7, 0.55)]
    # After trials 1 to 4 the best alone goes on; from the fifth on, the two best of so many.
    assert ends == [None, 3, None, 3, None, 3]


def test_pruned_trials_count():
    study = make_study(name="early", epoch=1, keep=0.5)
    ends = [play(study, [value, 1]) for value in (0.9, 0.1, 0.2, 0.3, 0.4)]
    # Among survivors alone (0.9) the later trials would be the worse half of two each time.
    assert ends == [None, 1, None, None, None]


def test_the_smaller_value_is_the_better_one_where_it_is_minimised():
    study = make_study("minimize", name="early", epoch=2, keep=0.25)
    assert [play(study, [9, value, 0]) for value in (0.5, 0.6, 0.4)] == [None, 2, None]


def test_an_equal_value_goes_on():
    study = make_study(name="early", epoch=1, keep=0.25)
    assert [play(study, [0.5, 0.5]) for _ in range(3)] == [None, None, None]


def test_a_running_trial_is_compared_too():
    study = make_study(name="early", epoch=1, keep=0.5)
    running = study.ask()
    running.report(0.9, 0)
    assert play(study, [0.1, 0.9]) == 1


def test_the_reason_names_value_epoch_share_and_bar():
    study = make_study(name="early", epoch=3, keep=0.25)
    play(study, [0, 0, 0.74])
    trial = study.ask()
    for step, value in enumerate([0.2, 0.61, 0.61]):
        trial.report(value, step)
    assert trial.should_prune()
    (_, frozen) = study.trials
    assert prune_reason(study, frozen, PrunerConfig(name="early", epoch=3, keep=0.25)) == (
        "The objective's best 0.61 after epoch 3 is not among the best 25% of 2 trials (bar 0.74)."
    )


def test_the_median_is_asked_for_from_its_epoch_on():
    study = make_study(name="median", epoch=2)
    for _ in range(5):
        play(study, [0.5, 0.5, 0.5])
    assert play(study, [0.1, 0.1, 0.1]) == 2
    assert prune_reason(study, study.trials[-1], PrunerConfig(name="median", epoch=2)) == (
        "The objective's best 0.1 after epoch 2 is worse than the median of the completed trials "
        "at that epoch."
    )


def test_the_best_share_of_completed_trials_is_asked_for_from_its_epoch_on():
    study = make_study(name="percentile", epoch=2, keep=0.2)
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        play(study, [value, value, value])
    assert play(study, [0.6, 0.6, 0.6]) is None
    assert play(study, [0.4, 0.4, 0.4]) == 2
    assert prune_reason(
        study, study.trials[-1], PrunerConfig(name="percentile", epoch=2, keep=0.2)
    ) == (
        "The objective's best 0.4 after epoch 2 is not among the best 20% of the completed trials "
        "at that epoch."
    )


def test_halving_decides_at_rungs_that_are_counted_from_one():
    settings = {"name": "successive_halving", "epoch": 2, "keep": 0.5}
    study = make_study(**settings)
    flat = [[value] * 12 for value in (0.5, 0.4, 0.6, 0.7)]
    # Rungs at epochs 2, 4 and 8: the second trial is the worse half of two, the others lead.
    assert [play(study, curve) for curve in flat] == [None, 2, None, None]
    late = [0.9, 0.9, 0.9, *[0.55] * 8]
    assert play(study, late) == 4
    assert prune_reason(study, study.trials[-1], PrunerConfig(**settings)) == (
        "The objective's best 0.55 after epoch 4 is not in the best 1 of 2 trials at its rung of "
        "successive_halving."
    )


def test_hyperbands_brackets_begin_at_rungs_that_are_counted_from_one():
    study = make_study(name="hyperband", epoch=3, keep=1 / 3)
    ends = [play(study, [1 / (number + 2)] * 12) for number in range(30)]
    # Rungs at 3 and 9 in one bracket, 9 alone in the other; the first of each leads for good.
    assert {None, 3, 9} == set(ends)


def test_a_trial_that_gets_better_goes_on():
    study = make_study(name="early", epoch=3, keep=0.25, patience=2)
    play(study, [0.9, 0.9, 0.9])
    assert play(study, [0.1, 0.2, 0.3, 0.3, 0.3]) is None
    assert play(study, [0.3, 0.3, 0.3, 0.3, 0.3]) == 3
    assert prune_reason(
        study, study.trials[-1], PrunerConfig(name="early", epoch=3, keep=0.25, patience=2)
    ) == (
        "The objective's best 0.3 after epoch 3 is not among the best 25% of 3 trials (bar 0.9), "
        "and did not become better in 2 epochs."
    )


def test_none_ends_nothing():
    study = make_study(name="none", epoch=1)
    assert [play(study, [value, value]) for value in (0.9, 0.1)] == [None, None]


@pytest.mark.parametrize("keep", [0.1, 1.0])
def test_the_first_trial_always_goes_on(keep):
    assert play(make_study(name="early", epoch=1, keep=keep), [0.0, 0.0]) is None


def test_by_default_trials_are_judged_from_the_first_epoch_that_tells():
    study = make_study(name="median")
    assert find_first(PrunerConfig(), 0, study) == 1
    # After epoch 1 the worst lead, after epoch 2 all are alike: epoch 3 tells.
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        assert play(study, [0.1 - value / 10, 0.1, value, value + 0.1, value + 0.2]) is None
    assert find_first(PrunerConfig(), 0, study) == 3
    assert find_first(PrunerConfig(epoch=2), 0, study) == 2
    assert play(study, [0.0, 0.0, 0.25, 0.6]) == 3
    told = make_study(name="median", epoch=1)
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        play(told, [0.1 - value / 10, 0.1, value, value + 0.1, value + 0.2])
    assert play(told, [0.0, 0.0, 0.25, 0.6]) == 1


def test_trials_that_a_pruner_let_live_do_not_say_which_epoch_tells():
    settings = PrunerConfig(immune=0.3)
    study = make_study(name="median", immune=0.3)
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        play(study, [value, value])
    assert find_first(settings, 0, study) == 1
    for number in range(5, 60):
        before = find_first(settings, 0, study)
        # Those that began well end badly; immune ones alone are believed.
        trial = study.ask()
        ends = [0.5 + number / 100, 2 - number / 100]
        for step, value in enumerate(ends):
            trial.report(value, step)
        study.tell(trial, ends[-1])
        if immunity(0, number) >= 0.3:
            assert find_first(settings, 0, study) == before
    assert find_first(settings, 0, study) == 2


def test_where_no_epoch_tells_nothing_is_pruned_before_the_last():
    study = make_study(name="percentile", keep=0.2)
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        play(study, [0.0, 0.0, 0.0, value])
    assert play(study, [-1.0, -1.0, -1.0, 0.05]) == 4


def test_trials_that_all_end_alike_lose_nothing_by_early_judgement():
    study = make_study(name="median")
    for value in (0.1, 0.2, 0.3, 0.4, 0.5):
        play(study, [value, 1.0])
    assert play(study, [0.1, 1.0]) == 1


def test_trials_that_stopped_early_are_taken_as_they_stood():
    study = make_study(name="median")
    for length, value in enumerate((0.5, 0.4, 0.3, 0.2, 0.1), 1):
        play(study, [*[0.0] * (length - 1), value])
    assert find_first(PrunerConfig(), 0, study) == 1


def test_a_trial_that_began_late_counts_from_there():
    study = make_study(name="median")
    for value in (0.1, 0.2, 0.3, 0.4):
        play(study, [value, value, value])
    trial = study.ask()
    trial.report(0.9, 1)
    study.tell(trial, 0.9)
    assert find_first(PrunerConfig(), 0, study) == 2


def test_a_pruner_takes_the_settings_of_its_class():
    study = make_study(name="median", settings={"n_startup_trials": 2, "n_min_trials": 2})
    assert [play(study, [value, value]) for value in (0.5, 0.6, 0.1)] == [None, None, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"settings": {"n_warmup_steps": 2}},
            r"Received: n_warmup_steps\. Known: n_startup_trials, interval_steps, n_min_trials\.",
        ),
        ({"name": "none", "settings": {"a": 2}}, r"NopPruner .* Received: a\. Known: none\."),
        ({"name": "early", "settings": {"a": 2}}, r"EarlyPruner .* Received: a\. Known: none\."),
        (
            {"settings": {"n_startup_trials": -1}},
            r"MedianPruner takes: .*negative.* Received: \{'n_startup_trials': -1\}",
        ),
        ({"name": "hyperband", "settings": {"bootstrap_count": "x"}}, "HyperbandPruner takes"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_pruner(PrunerConfig(**settings))


@pytest.mark.parametrize("name", ["median", "early", "percentile", "hyperband", "none"])
def test_a_pruner_without_settings_is_taken(name):
    check_pruner(PrunerConfig(name=name))
