import math
from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.config import SamplerConfig
from search.driver.mirror import MirroredStorage
from search.driver.optimization import ask_trial, continue_trial, suggest
from search.driver.storage import open_storage
from search.messages import ChoiceDomain, FloatDomain, IntDomain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TPE = SamplerConfig(name="tpe")
SPACE = {
    "lr": FloatDomain(low=1e-4, high=0.1, log=True),
    "units": IntDomain(low=8, high=64, step=8),
    "cell": ChoiceDomain(values=("lstm", None, 0.5)),
}


def mirror(disk: RDBStorage) -> MirroredStorage:
    return MirroredStorage(disk, place=Path("disk"), say=print)


@pytest.fixture
def disk(tmp_path):
    storage = open_storage(tmp_path)
    yield storage
    storage.engine.dispose()


def open_study(storage, name="study"):
    return optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(),
        load_if_exists=True,
    )


def facts(trial):
    times = (trial.datetime_start is None, trial.datetime_complete is None)
    return (
        trial.number,
        trial.state,
        trial.values,
        trial.params,
        trial.distributions,
        trial.intermediate_values,
        trial.user_attrs,
        trial.system_attrs,
        times,
    )


def run(study, count, state=None):
    for _ in range(count):
        trial = ask_trial(study, TPE, 7)
        parameters = {name: suggest(trial, name, domain) for name, domain in SPACE.items()}
        for step in range(3):
            trial.report(parameters["lr"] * step, step)
        trial.set_user_attr("outcome", {"reason": "because", "epochs": 3})
        study.tell(trial, None if state else parameters["lr"] * 3, state=state)


def test_memory_and_disk_hold_the_same_at_any_moment(disk):
    study = open_study(mirror(disk))
    study.set_user_attr("metric", "macro_f1")
    study.enqueue_trial({"lr": 0.01})
    run(study, 12)
    run(study, 1, TrialState.PRUNED)
    run(study, 1, TrialState.FAIL)
    running = ask_trial(study, TPE, 7)
    running.report(suggest(running, "lr", SPACE["lr"]), 0)
    study.enqueue_trial({"lr": 0.02})
    on_disk = optuna.load_study(storage=disk, study_name="study")
    again = optuna.load_study(storage=mirror(disk), study_name="study")
    expected = [facts(trial) for trial in on_disk.trials]
    assert [facts(trial) for trial in study.trials] == expected
    assert [facts(trial) for trial in again.trials] == expected
    assert len(expected) == 16
    assert study.user_attrs == again.user_attrs == on_disk.user_attrs == {"metric": "macro_f1"}
    assert study.best_trial.number == again.best_trial.number == on_disk.best_trial.number


def test_two_studies_of_one_store_do_not_meet(disk):
    storage = mirror(disk)
    first = open_study(storage, "first")
    run(first, 2)
    run(open_study(storage, "second"), 3)
    run(first, 1)
    again = mirror(disk)
    assert sorted(optuna.get_all_study_names(storage=again)) == ["first", "second"]
    assert len(optuna.load_study(storage=again, study_name="second").trials) == 3
    assert len(optuna.load_study(storage=again, study_name="first").trials) == 3


def test_a_study_goes_on_as_an_uninterrupted_one_after_its_driver_was_lost(disk):
    whole = open_study(mirror(disk), "whole")
    run(whole, 14)
    lost = open_study(mirror(disk))
    run(lost, 11)
    trial = ask_trial(lost, TPE, 7)
    before = {name: suggest(trial, name, domain) for name, domain in SPACE.items()}
    trial.report(0.0, 0)
    resumed = open_study(mirror(disk))
    trial = continue_trial(resumed, 11, TPE, 7)
    assert {name: suggest(trial, name, domain) for name, domain in SPACE.items()} == before
    for step in range(1, 3):
        trial.report(before["lr"] * step, step)
    trial.set_user_attr("outcome", {"reason": "because", "epochs": 3})
    resumed.tell(trial, before["lr"] * 3)
    run(resumed, 2)
    assert [facts(trial) for trial in resumed.trials] == [facts(trial) for trial in whole.trials]


def test_a_name_of_another_kind_is_remembered_over_a_resume(disk):
    study = open_study(mirror(disk))
    trial = ask_trial(study, TPE, 7)
    suggest(trial, "units", SPACE["units"])
    trial.report(0.0, 0)
    resumed = open_study(mirror(disk))
    trial = ask_trial(resumed, TPE, 7)
    suggest(trial, "units", SPACE["cell"])
    trial.report(0.0, 0)
    (stored,) = optuna.load_study(storage=disk, study_name="study").trials[1].params
    assert stored.startswith("units:choice-lstm-None-05-")


def test_parameters_are_on_disk_before_anything_else_is_said_of_their_trial(disk):
    study = open_study(mirror(disk))
    trial = ask_trial(study, TPE, 7)
    values = {name: suggest(trial, name, domain) for name, domain in SPACE.items()}
    on_disk = optuna.load_study(storage=disk, study_name="study")
    assert on_disk.trials[0].params == {}
    trial.set_user_attr("parameter_count", 7)
    on_disk = optuna.load_study(storage=disk, study_name="study")
    assert on_disk.trials[0].params == values
    assert on_disk.trials[0].distributions == study.trials[0].distributions


def test_reports_that_are_made_together_are_on_disk_once_all_are_made(disk):
    storage = mirror(disk)
    study = open_study(storage)
    trials = [ask_trial(study, TPE, 7) for _ in range(4)]
    for trial in trials:
        suggest(trial, "lr", SPACE["lr"])
    trials[0].report(0.1, 0)

    def read():
        found = optuna.load_study(storage=disk, study_name="study").trials
        return [one.intermediate_values for one in found], [len(one.params) for one in found]

    with storage.together():
        trials[0].report(0.2, 1)
        trials[1].report(math.inf, 0)
        trials[2].report(0.4, 0)
        assert read() == ([{0: 0.1}, {}, {}, {}], [1, 0, 0, 0])
        told = [one.intermediate_values for one in study.get_trials(deepcopy=False)]
    expected = [{0: 0.1, 1: 0.2}, {0: math.inf}, {0: 0.4}, {}]
    assert told == expected
    assert read() == (expected, [1, 1, 1, 0])  # the last one has said nothing yet


def test_a_report_of_a_step_that_was_reported_takes_its_place(disk):
    storage = mirror(disk)
    trial = ask_trial(open_study(storage), TPE, 7)
    trial.report(0.1, 0)
    for value, write in ((0.2, nullcontext), (0.3, storage.together)):
        with write():
            storage.set_trial_intermediate_value(trial._trial_id, 0, value)
        (found,) = optuna.load_study(storage=disk, study_name="study").trials
        assert found.intermediate_values == {0: value} == storage.get_trial(0).intermediate_values


def test_what_waits_when_something_breaks_is_written_with_the_next_word(disk):
    storage = mirror(disk)
    trial = ask_trial(open_study(storage), TPE, 7)

    def break_off():
        with storage.together():
            trial.report(0.1, 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    (found,) = optuna.load_study(storage=disk, study_name="study").trials
    assert found.intermediate_values == {}
    trial.set_user_attr("outcome", "interrupted")
    (found,) = optuna.load_study(storage=disk, study_name="study").trials
    assert found.intermediate_values == {0: 0.1}


def test_a_refused_write_changes_nothing(disk):
    study = open_study(mirror(disk))
    trial = ask_trial(study, TPE, 7)
    with pytest.raises(TypeError, match="not JSON serializable"):
        trial.set_user_attr("metric", {1, 2})
    assert study.trials[0].user_attrs == {}
    study.tell(trial, 1.0)
    with pytest.raises(ValueError, match="Cannot tell a COMPLETE trial"):
        study.tell(trial, 2.0)
    assert study.best_value == 1.0


def test_an_unknown_study_is_not_found_and_a_deleted_one_is_gone(disk):
    storage = mirror(disk)
    with pytest.raises(KeyError):
        optuna.load_study(storage=storage, study_name="study")
    run(open_study(storage), 1)
    optuna.delete_study(storage=storage, study_name="study")
    assert open_study(storage).trials == []
    assert optuna.get_all_study_names(storage=disk) == ["study"]


def test_asking_for_one_study_loads_no_other(disk):
    open_study(disk, "known")
    open_study(disk, "other")
    storage = mirror(disk)
    assert storage.holds("known")
    assert not storage.holds("unknown")
    assert list(storage._disk_studies.values()) == [disk.get_study_id_from_name("known")]
