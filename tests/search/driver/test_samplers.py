"""Samplers by name: their settings, and what a grid asks for."""

import importlib.util

import numpy as np
import optuna
import pytest
from fakes import LISTING
from optuna.samplers._tpe import _truncnorm
from scipy.special import log_ndtr

from search.config import SamplerConfig, make_config
from search.driver.optimization import ask_trial, suggest
from search.driver.samplers import (
    check_grid,
    check_sampler,
    list_queue,
    make_sampler,
)
from search.errors import ConfigError

CLASSES = {
    "tpe": optuna.samplers.TPESampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "random": optuna.samplers.RandomSampler,
}
GRID = {"units": (8, 16), "depth": (1, 3)}


@pytest.mark.parametrize("name", CLASSES)
def test_samplers_are_made_by_name(name: str) -> None:
    for seed in (0, 2**32 - 1):
        assert isinstance(make_sampler(SamplerConfig(name=name), seed), CLASSES[name])


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_suggested_depends_on_number_and_history_alone(name: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def play() -> list[object]:
        study = optuna.create_study()
        found: list[object] = []
        for _ in range(15):
            trial = ask_trial(study, SamplerConfig(name=name), 3)
            values = [suggest(trial, one.name, one.domain) for one in LISTING]
            study.tell(trial.number, float(values[1]))
            found.append(values)
        return found

    first = play()
    assert first == play()
    assert len({str(values) for values in first}) == 15


def test_tpe_suggests_what_it_does_by_optunas_own_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = importlib.util.find_spec("optuna.samplers._tpe._truncnorm")
    assert spec is not None
    assert spec.loader is not None
    own = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    places = np.linspace(-60.0, 12.0, 20_001)
    assert _truncnorm._log_ndtr is log_ndtr
    np.testing.assert_allclose(log_ndtr(places), own._log_ndtr(places), rtol=1e-7)

    def play() -> list[dict[str, float]]:
        study = optuna.create_study()
        for number in range(40):
            trial = ask_trial(study, SamplerConfig(), 3)
            values = [suggest(trial, one.name, one.domain) for one in LISTING]
            study.tell(trial.number, float(values[1]) + 0.1 * (number % 3))
        return [trial.params for trial in study.trials]

    ours = play()
    monkeypatch.setattr(_truncnorm, "_log_ndtr", own._log_ndtr)
    for one, other in zip(play(), ours, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize("objectives", [1, 2])
def test_tpe_suggests_what_optunas_own_does(objectives: int) -> None:
    def play(sampler: optuna.samplers.BaseSampler) -> list[dict[str, float]]:
        study = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)
        running: list[optuna.Trial] = []
        for number in range(40):
            if number == 25:
                study.enqueue_trial({"y": 7})
            running.append(study.ask())
            trial = running[-1]
            values = [trial.suggest_float("x", 0, 1), float(number % 3)]
            trial.suggest_int("y", 1, 8 if number != 20 else 9)
            trial.suggest_categorical("z", ["a", "b", None])
            if number % 4 == 3:
                trial.suggest_float("w", 1e-3, 1, log=True)
            if number % 3 == 2:  # three run at once, of which one has not asked for all yet
                study.ask()
                for one in running:
                    if one.number % 5 == 1 and objectives == 1:
                        one.report(values[0], 1)
                        study.tell(one, state=optuna.trial.TrialState.PRUNED)
                    else:
                        study.tell(one, values[:objectives])
                running.clear()
        return [trial.params for trial in study.trials]

    assert play(make_sampler(SamplerConfig(), 5)) == play(optuna.samplers.TPESampler(seed=5))


def test_settings_are_those_of_optunas_class() -> None:
    sampler = make_sampler(SamplerConfig(settings={"n_startup_trials": 4}), 0)
    assert sampler._n_startup_trials == 4
    # One parameter at a time: there is nothing that all trials share.
    apart = make_sampler(SamplerConfig(settings={"multivariate": False}), 0)
    study = optuna.create_study()
    for _ in range(2):
        study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), 0.0)
    assert apart.infer_relative_search_space(study, study.trials[0]) == {}
    assert sampler.infer_relative_search_space(study, study.trials[0]).keys() == {"x"}
    check_sampler(SamplerConfig(settings={"n_startup_trials": 4}))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"settings": {"n_startup": 4}}, r"Received: n_startup\. Known: .*n_startup_trials"),
        ({"settings": {"seed": 4}}, r"Received: seed\. Known: "),
        ({"name": "random", "settings": {"group": True}}, r"RandomSampler.*Known: none"),
        ({"settings": {"group": True, "multivariate": False}}, r"TPESampler takes: .*`group`"),
    ],
)
def test_a_setting_of_nobodys_is_told_before_anything_starts(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^sampler\.settings must be .*{message}"):
        check_sampler(SamplerConfig(**settings))


def test_a_sampler_whose_library_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find(name)
    )
    with pytest.raises(ConfigError, match=r"'gp', which needs torch.*scripts/run --extra gp"):
        check_sampler(SamplerConfig(name="gp"))


def test_a_grid_is_queued_whole_and_what_it_leaves_out_has_its_default() -> None:
    config = SamplerConfig(name="grid", grid=GRID, queue=({"units": 5},))
    queue = list_queue(config, {one.name: one.default for one in LISTING}, repeats=1)
    assert queue[:2] == [{"units": 32, "rate": 1e-2, "depth": 2}] * 2
    assert queue[2] == {"units": 5}
    assert queue[3:] == [
        {"units": units, "rate": 1e-2, "depth": depth} for units in (8, 16) for depth in (1, 3)
    ]


def test_a_grid_names_what_candidates_ask_for() -> None:
    config = SamplerConfig(name="grid", grid={"unitz": (8,)})
    with pytest.raises(ConfigError, match=r"^sampler\.grid must .*unitz\. Did you mean 'units'"):
        check_grid(config, LISTING)


@pytest.mark.parametrize(
    "sampler", [{"name": "grid"}, {"grid": {"units": [8]}}, {"name": "grid", "grid": {"units": []}}]
)
def test_a_grid_has_values_and_no_other_sampler_has(sampler: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"sampler\.grid.* must "):
        make_config({"name": "a", "sampler": sampler})
