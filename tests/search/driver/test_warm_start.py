"""Good candidates of earlier studies, and of KerasTuner's projects, are tried first."""

import json
import time
from pathlib import Path

import keras_tuner
import pytest
from fakes import LISTING, MemoryTracker, QuietView, ScriptedExecutor
from keras_tuner import oracles

from search.config import SamplerConfig, make_config
from search.driver.interrupts import Interrupt
from search.driver.loop import StudyLoop
from search.driver.mirror import MirroredStorage
from search.driver.requests import Room
from search.driver.storage import open_storage
from search.driver.trials import Trials
from search.driver.warm_start import Known, begin_trials, fit_candidates, read_known
from search.errors import ConfigError
from search.messages import ChoiceDomain, FloatDomain, IntDomain, Listed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def storage(tmp_path: Path) -> MirroredStorage:
    return open_mirror(tmp_path)


def open_mirror(folder: Path) -> MirroredStorage:
    return MirroredStorage(open_storage(folder), place=folder, say=lambda text: None)


def run(
    storage: MirroredStorage, study: str, trials: int, **sampler: object
) -> tuple[Trials, list[str]]:
    """Run a study with scripted workers, as a launch does."""
    config = make_config(
        {
            "name": study,
            "objective": {"metric": "accuracy"},
            "budget": {"trials": trials},
            "pruner": {"name": "early", "keep": 0.25},
            "sampler": sampler,
        }
    )
    held = Trials(storage=storage, config=config, direction="maximize")
    notes = begin_trials(held, read_known(config.sampler, storage), LISTING)
    executor = ScriptedExecutor(slots=1)
    executor.start()
    room = Room(
        config=config,
        executor=executor,
        view=QuietView(),
        interrupt=Interrupt(),
        start=time.monotonic(),
    )
    StudyLoop(room, held, MemoryTracker(), ready=set(), baseline=None).run()
    return held, notes


def test_the_best_of_an_earlier_study_follow_the_defaults_and_stay_the_same(
    storage: MirroredStorage, tmp_path: Path
) -> None:
    earlier, _ = run(storage, "earlier", 12)
    defaults = {one.name: one.default for one in LISTING}
    best, second = (row.parameters for row in earlier.leaders[:2])
    assert best == defaults  # these are trial 0 anyway
    warm = {"warm_start": ["earlier"], "warm_candidates": 2}
    later, notes = run(storage, "later", 2, **warm)
    assert notes == []
    # The earlier one grows meanwhile, and the later one is launched again.
    run(storage, "earlier", 40)
    grown, _ = run(open_mirror(tmp_path), "later", 6, **warm)
    found = [grown.rows[number].parameters for number in range(6)]
    assert found[:2] == [defaults, second]
    assert len({str(one) for one in found}) == 6
    assert later.rows[1].parameters == second
    grown_leaders = [row.parameters for row in run(storage, "earlier", 40)[0].leaders[:2]]
    assert found[2] not in grown_leaders


def test_equal_candidates_are_taken_once(storage: MirroredStorage) -> None:
    queue = [{"units": 8, "rate": 0.01, "depth": 1}, {"units": 9, "rate": 0.01, "depth": 1}]
    earlier, _ = run(storage, "earlier", 3, queue=queue, name="random")
    run(storage, "second", 4, queue=[*queue, dict(earlier.rows[0].parameters)], name="random")
    known = read_known(SamplerConfig(warm_start=("second",), warm_candidates=9), storage)
    found = [json.dumps(one.parameters) for one in known]
    assert len(found) == len(set(found)) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")  # of its 1.4.8
@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_keras_tuner_projects_best_are_read_from_what_it_writes(
    direction: str, tmp_path: Path, storage: MirroredStorage
) -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 4, 128, sampling="log")
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    oracle = oracles.RandomSearchOracle(
        keras_tuner.Objective("val_score", direction), max_trials=6, hyperparameters=hp, seed=1
    )
    oracle.verbose = 0
    oracle._set_project_dir(tmp_path / "tuned", "project")
    scores: dict[str, dict[str, object]] = {}
    for number, score in enumerate((0.5, 0.9, 0.1, 0.7)):
        trial = oracle.create_trial("tuner")
        # The best of a trial's epochs is its score.
        for step, value in enumerate((score, 0.5)):
            oracle.update_trial(trial.trial_id, {"val_score": value}, step=step)
        trial.status = "COMPLETED" if number else "FAILED"
        oracle.end_trial(trial)
        scores[str(score)] = dict(trial.hyperparameters.values)
    source = tmp_path / "tuned" / "project"
    known = read_known(SamplerConfig(warm_start=(str(source),), warm_candidates=1), storage)
    assert [one.parameters for one in known] == [scores["0.9" if direction == "max" else "0.1"]]


def test_what_a_space_does_not_admit_is_left_to_the_sampler_and_named() -> None:
    listing = (
        Listed(name="units", domain=IntDomain(low=4, high=64), default=8),
        Listed(name="rate", domain=FloatDomain(low=0.0, high=1.0), default=0.5),
        Listed(name="cell", domain=ChoiceDomain(values=("lstm", "gru")), default="lstm"),
    )
    known = [
        Known(source="a", parameters={"units": 128, "rate": 0.1, "cell": "lstm", "old": 3}),
        Known(source="a", parameters={"units": 16, "rate": 0.1, "cell": "lstm"}),
        Known(source="a", parameters={"other": 1}),
    ]
    candidates, lacking = fit_candidates(known[:2], listing)
    assert candidates == [
        {"rate": 0.1, "cell": "lstm"},
        {"units": 16, "rate": 0.1, "cell": "lstm"},
    ]
    assert lacking == {"units"}
    assert fit_candidates(known[2:], listing)[0] == []


def test_a_source_that_is_none_is_told_with_the_nearest(
    storage: MirroredStorage, tmp_path: Path
) -> None:
    run(storage, "earlier", 1)
    with pytest.raises(ConfigError, match=r"Received: 'earlyer'\. Did you mean 'earlier'"):
        read_known(SamplerConfig(warm_start=("earlyer",)), storage)
    (tmp_path / "oracle.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"must name what has a complete trial\. Received: "):
        read_known(SamplerConfig(warm_start=(str(tmp_path),)), storage)
    (tmp_path / "trial_0").mkdir()
    (tmp_path / "trial_0" / "trial.json").write_text('{"status": "COMPLETED", "score": 1.0}')
    with pytest.raises(ConfigError, match=r"whose trials can be read: KeyError: 'metrics'"):
        read_known(SamplerConfig(warm_start=(str(tmp_path),)), storage)
