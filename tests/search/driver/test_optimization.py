import copy

import numpy as np
import optuna
import pytest
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import TrialState

from search.config import SamplerConfig
from search.driver.optimization import (
    ask_trial,
    check_defaults,
    check_queue,
    continue_trial,
    describe_queue,
    enqueue_next,
    sampler_seed,
    suggest,
    trial_seed,
)
from search.driver.samplers import SharedSpace
from search.errors import ConfigError, StudyError
from search.messages import ChoiceDomain, FloatDomain, IntDomain, Listed

SPACE = {
    "lr": FloatDomain(low=1e-4, high=0.1, log=True),
    "rate": FloatDomain(low=0.0, high=0.5, step=0.1),
    "units": IntDomain(low=8, high=64, step=8),
    "batch": IntDomain(low=8, high=128, log=True),
    "cell": ChoiceDomain(values=("lstm", None, 0.5, True, 3)),
}
RANDOM, TPE = SamplerConfig(name="random"), SamplerConfig(name="tpe")


@pytest.fixture
def storage():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.storages.InMemoryStorage()


def open_study(storage):
    return optuna.create_study(
        storage=storage,
        study_name="study",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(),
        load_if_exists=True,
    )


def answers(trial):
    return {name: suggest(trial, name, domain) for name, domain in SPACE.items()}


def score(parameters):
    return -abs(parameters["units"] - 40) - parameters["rate"] + 10 * parameters["lr"]


def run(storage, count, config):
    study = open_study(storage)
    for _ in range(count):
        trial = ask_trial(study, config, seed=7)
        study.tell(trial, score(answers(trial)))
    return [trial.params for trial in study.trials]


def test_every_domain_is_answered_from_within(storage):
    for parameters in run(storage, 20, RANDOM):
        assert 1e-4 <= parameters["lr"] <= 0.1
        assert parameters["rate"] in [pytest.approx(0.1 * i) for i in range(6)]
        assert parameters["units"] in range(8, 65, 8)
        assert 8 <= parameters["batch"] <= 128
        assert parameters["cell"] in SPACE["cell"].values


@pytest.mark.parametrize("config", [RANDOM, TPE])
def test_a_resumed_study_goes_on_as_an_uninterrupted_one_and_repeats_nothing(storage, config):
    whole = run(optuna.storages.InMemoryStorage(), 24, config)
    run(storage, 5, config)
    run(storage, 9, config)
    resumed = run(storage, 10, config)
    assert resumed == whole
    assert len({tuple(parameters.items()) for parameters in resumed}) == 24


def test_samplers_that_share_a_search_space_suggest_what_optunas_own_does(storage):
    space, names = SharedSpace(), list(SPACE)
    study = open_study(storage)
    plain = open_study(optuna.storages.InMemoryStorage())
    for number in range(40):
        left_out = names[number % len(names)] if number % 7 == 3 else None  # unlike the others
        asked = {name: domain for name, domain in SPACE.items() if name != left_out}
        own = copy.copy(plain)
        both = ask_trial(study, TPE, 7, space), own.ask()
        own.sampler = optuna.samplers.TPESampler(seed=sampler_seed(7, number))
        found = [{n: suggest(one, n, domain) for n, domain in asked.items()} for one in both]
        assert found[0] == found[1]
        for one, trial in zip((study, plain), both, strict=True):
            value = sum(v for v in found[0].values() if isinstance(v, float | int))
            state = optuna.trial.TrialState.PRUNED if number % 5 == 0 else None
            one.tell(trial, None if state else value, state=state)
    assert set(space.calculate(study)) < set(names)


def test_what_trials_share_is_what_optuna_finds_in_whatever_order_they_end(storage):
    study, rng = open_study(storage), np.random.default_rng(0)
    space, plain = SharedSpace(), IntersectionSearchSpace(include_pruned=True)
    states = [optuna.trial.TrialState[name] for name in ("COMPLETE", "PRUNED", "FAIL")]
    other, running, found = IntDomain(low=1, high=9), [], []
    for number in range(60):
        trial = ask_trial(study, RANDOM, 7)
        asked = {**SPACE, **({"batch": other} if number == 41 else {})}
        left_out = "cell" if number == 17 else None
        for name, domain in asked.items():
            if name != left_out:
                suggest(trial, name, domain)
        running.append(trial)
        while len(running) > rng.integers(8):
            ended = running.pop(int(rng.integers(len(running))))
            state = states[int(rng.integers(3))]
            study.tell(ended, 1.0 if state is states[0] else None, state=state)
        found.append(space.calculate(study))
        assert found[-1] == plain.calculate(study)
    sizes = {len(one) for one in found}
    assert {0, len(SPACE)} < sizes
    assert SharedSpace().calculate(study) == found[-1]


@pytest.mark.parametrize("config", [RANDOM, TPE])
@pytest.mark.parametrize("history", [0, 15])
def test_interleaved_trials_get_the_answers_of_trials_in_turn(storage, config, history):
    other = optuna.storages.InMemoryStorage()
    run(storage, history, config)
    run(other, history, config)
    study = open_study(storage)
    first, second = ask_trial(study, config, 7), ask_trial(study, config, 7)
    in_turn = [answers(first), answers(second)]
    study = open_study(other)
    first, second = ask_trial(study, config, 7), ask_trial(study, config, 7)
    interleaved = [{}, {}]
    for name, domain in SPACE.items():
        interleaved[0][name] = suggest(first, name, domain)
        interleaved[1][name] = suggest(second, name, domain)
    assert interleaved == in_turn
    assert in_turn[0] != in_turn[1]


def test_a_continued_trial_is_answered_as_before(storage):
    trial = ask_trial(open_study(storage), TPE, 7)
    before = answers(trial)
    before["again"] = suggest(trial, "lr", IntDomain(low=1, high=9))
    trial.report(0.5, 0)
    again = continue_trial(open_study(storage), 0, TPE, 7)
    after = answers(again)
    after["again"] = suggest(again, "lr", IntDomain(low=1, high=9))
    assert after == before
    again.report(0.6, 1)
    (frozen,) = open_study(storage).trials
    assert frozen.intermediate_values == {0: 0.5, 1: 0.6}
    assert frozen.state is TrialState.RUNNING


def test_a_trial_that_ended_before_it_asked_is_answered_as_if_it_had_not(storage):
    whole = run(optuna.storages.InMemoryStorage(), 1, RANDOM)
    ask_trial(open_study(storage), RANDOM, 7)
    assert answers(continue_trial(open_study(storage), 0, RANDOM, 7)) == whole[0]


def test_only_a_running_trial_can_be_continued(storage):
    run(storage, 2, RANDOM)
    ask_trial(open_study(storage), RANDOM, 7)
    with pytest.raises(StudyError, match=r"Received: number=1, running=\[2\]"):
        continue_trial(open_study(storage), 1, RANDOM, 7)


def test_a_name_with_another_kind_of_domain_is_kept_under_a_readable_name(storage):
    domains = [
        IntDomain(low=1, high=4),
        IntDomain(low=1, high=4, log=True),
        FloatDomain(low=1.0, high=2.0),
        FloatDomain(low=1.0, high=2.0, log=True),
        ChoiceDomain(values=(1, 2)),
        ChoiceDomain(values=("1", "2")),
        ChoiceDomain(values=tuple(range(40))),
        IntDomain(low=1, high=40),
    ]
    study = open_study(storage)
    for _ in range(12):
        for domain in domains:
            trial = ask_trial(study, TPE, 7)
            value = suggest(trial, "units", domain)
            assert suggest(trial, "units", domain) == value
            study.tell(trial, float(value))
    names = [next(iter(trial.params)) for trial in study.trials]
    assert names[: len(domains)] == names[-len(domains) :]
    plain, log, real, real_log, choice, words, many, wider = names[: len(domains)]
    assert (plain, log, real, real_log, wider) == (
        "units",
        "units:int-log",
        "units:float",
        "units:float-log",
        "units",
    )
    assert choice.startswith("units:choice-1-2-")
    assert words.startswith("units:choice-1-2-")
    assert choice != words
    assert len(many) < 64


def test_an_impossible_domain_is_not_answered_under_another_name(storage):
    trial = ask_trial(open_study(storage), RANDOM, 7)
    with pytest.raises(ValueError, match="`low <= high`"):
        suggest(trial, "units", IntDomain(low=4, high=1))


LISTING = (
    Listed(name="lr", domain=SPACE["lr"], default=0.01),
    Listed(name="rate", domain=SPACE["rate"], default=0.3),
    Listed(name="units", domain=SPACE["units"], default=24),
    Listed(name="batch", domain=SPACE["batch"], default=64),
    Listed(name="cell", domain=SPACE["cell"], default=None),
)


def test_the_defaults_answer_trial_0_alone(storage):
    study = open_study(storage)
    defaults = {listed.name: listed.default for listed in LISTING}
    enqueue_next(study, [defaults])
    first, second = ask_trial(study, RANDOM, 7), ask_trial(study, RANDOM, 7)
    assert first.number == 0
    assert answers(first) == defaults
    assert answers(second) != defaults


@pytest.mark.parametrize(
    ("name", "default"),
    [("cell", "rnn"), ("cell", 1), ("units", 20), ("units", True), ("lr", 1), ("rate", 0.6)],
)
def test_a_default_outside_its_domain_is_refused(name, default):
    with pytest.raises(ConfigError, match=f"The default of {name} must be one of its values"):
        check_defaults([Listed(name=name, domain=SPACE[name], default=default)])


def test_what_is_queued_is_tried_once_in_its_order_and_the_rest_is_suggested(storage):
    study = open_study(storage)
    defaults = {listed.name: listed.default for listed in LISTING}
    queue = [defaults, defaults, {"units": 32, "cell": None}, {"lr": 0.02}]
    check_queue(LISTING, queue)
    found = []
    for _ in range(5):
        enqueue_next(study, queue)
        found.append(answers(ask_trial(study, RANDOM, 7)))
    assert found[:2] == [defaults, defaults]
    assert (found[2]["units"], found[2]["cell"], found[3]["lr"]) == (32, None, 0.02)
    assert len({one["lr"] for one in found[1:]}) == 4
    enqueue_next(study, queue)  # of an exhausted queue nothing waits
    assert len(study.trials) == 5


@pytest.mark.parametrize(("name", "value"), [("cell", "rnn"), ("units", 20), ("lr", 1)])
def test_a_queued_value_outside_its_domain_is_refused(name, value):
    with pytest.raises(ConfigError, match=rf"sampler\.queue\.1\.{name} must be one of its values"):
        check_queue(LISTING, [{"units": 32}, {name: value, "of another candidate": 1}])


def test_a_queued_name_that_nobody_asks_for_is_told():
    (told,) = describe_queue(LISTING, [{"units": 32}, {"unitz": 32}])
    assert told.startswith(
        "sampler.queue names unitz, which the default candidate does not ask for"
    )
    assert describe_queue(LISTING, [{"units": 32}]) == []


def test_seeds_stay_the_same_for_ever_and_differ_by_study_trial_and_purpose():
    assert [trial_seed(0, 0), trial_seed(0, 1), sampler_seed(0, 0)] == [
        4088532484,
        3953331965,
        3581274545,
    ]
    seeds = {f(s, n) for f in (trial_seed, sampler_seed) for s in range(20) for n in range(50)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**32 for seed in seeds)
