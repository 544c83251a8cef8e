"""A trial comes out again from what MLflow alone knows of it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from fakes import QuietView
from mlflow import MlflowClient
from mlflow.entities import Run
from studies import wave_study

from search.driver.executors.processes import ProcessExecutor
from search.driver.study import run_study
from search.driver.tracking.store import KIND, LOOK, PARAMETERS, TRIAL, search_runs, store_uri
from search.errors import StudyError
from search.results.reproduction import reproduce_trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SCRIPT = Path(__file__).parents[3] / "scripts" / "reproduce_trial.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store_template: Path, waves: Path) -> Path:
    """A storage folder with a finished study, and the data beside it."""
    place = tmp_path_factory.mktemp("reproduced") / "mlflow_runs"
    place.mkdir()
    shutil.copyfile(store_template, place / "mlflow.db")
    shutil.copyfile(waves, place.parent / "waves.npz")
    config = wave_study(
        place.parent / "waves.npz",
        place,
        budget={"trials": 2},
        winner={"candidates": 1, "repeats": 1},
        workers={"count": 1},
    )
    run_study(config, QuietView())
    return place


def find_runs(folder: Path, kind: str) -> list[Run]:
    client = MlflowClient(store_uri(None, folder))
    experiment = client.get_experiment_by_name("lookback")
    assert experiment is not None
    found = search_runs(client, [experiment.experiment_id], {KIND: kind})
    return sorted(found, key=lambda run: run.info.run_name)


def test_a_trial_has_the_same_curve_when_it_is_trained_again(folder: Path) -> None:
    run = find_runs(folder, "trial")[1]
    words = [sys.executable, SCRIPT, run.info.run_id, "--storage.folder", folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The curve is the recorded one: 3 epochs of accuracy")
    assert done.stderr.count("| accuracy 0.") == 3
    assert not any((folder / "reproductions").iterdir())


def test_a_finalist_is_trained_again_on_the_side_that_was_drawn_for_it(folder: Path) -> None:
    run = find_runs(folder, "repeat")[0]
    found = reproduce_trial(run.info.run_id, folder=folder, uri=None, view=QuietView())
    assert found.same
    (trial,) = [
        trial
        for trial in find_runs(folder, "trial")
        if trial.data.tags[TRIAL] == run.data.tags[TRIAL]
    ]
    assert len(found.again) == trial.data.metrics["best_epoch"] + 1
    assert found.changed == {}


def test_the_training_that_is_exported_has_a_run_and_comes_out_again(folder: Path) -> None:
    (run,) = find_runs(folder, "refit")
    assert (run.info.status, run.data.tags[LOOK]) == ("FINISHED", "1")
    found = reproduce_trial(run.info.run_id, folder=folder, uri=None, view=QuietView())
    assert found.metric == "train_loss"
    assert found.same
    (study,) = find_runs(folder, "study")
    assert run.data.tags[TRIAL] == f"{int(study.data.tags['winner']):03d}"


def test_another_curve_is_told_with_what_is_not_as_it_was(folder: Path) -> None:
    run = find_runs(folder, "trial")[0]
    client = MlflowClient(store_uri(None, folder))
    client.log_metric(run.info.run_id, "val_accuracy", 0.123, step=2, timestamp=2**41)
    study = run.data.tags["mlflow.parentRunId"]
    client.set_tag(run.info.run_id, "version.keras", "2.0")
    client.set_tag(study, "version.keras", "1.0")  # by a later launch, of other trials
    client.delete_tag(run.info.run_id, "version.numpy")
    client.set_tag(study, "version.numpy", "0.9")
    words = [sys.executable, SCRIPT, run.info.run_id, "--storage.folder", folder]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "version.keras was 2.0 and is 3." in done.stdout
    assert "version.numpy was 0.9 and is " in done.stdout
    assert "The curve is another: 3 epochs of accuracy differ by up to" in done.stdout


def test_what_is_no_training_of_ours_is_named(folder: Path) -> None:
    (study,) = find_runs(folder, "study")
    with pytest.raises(StudyError, match=rf"Received: '{study.info.run_id}', which is 'study'"):
        reproduce_trial(study.info.run_id, folder=folder, uri=None, view=QuietView())
    with pytest.raises(StudyError, match=r"id of a run of this store\. Received: 'nothing'"):
        reproduce_trial("nothing", folder=folder, uri=None, view=QuietView())
    client = MlflowClient(store_uri(None, folder))
    bare = client.create_run(study.info.experiment_id)
    with pytest.raises(StudyError, match="which is 'another program'"):
        reproduce_trial(bare.info.run_id, folder=folder, uri=None, view=QuietView())


def test_a_trial_without_its_hyperparameters_is_refused(folder: Path) -> None:
    run = find_runs(folder, "trial")[1]
    client = MlflowClient(store_uri(None, folder))
    client.delete_tag(run.info.run_id, PARAMETERS)
    with pytest.raises(StudyError, match="must have trained for an epoch"):
        reproduce_trial(run.info.run_id, folder=folder, uri=None, view=QuietView())
    client.set_tag(run.info.run_id, PARAMETERS, run.data.tags[PARAMETERS])


def test_a_finalist_whose_trial_has_lost_its_run_is_refused(folder: Path) -> None:
    client = MlflowClient(store_uri(None, folder))
    again = find_runs(folder, "repeat")[0]
    (trial,) = [
        run for run in find_runs(folder, "trial") if run.data.tags[TRIAL] == again.data.tags[TRIAL]
    ]
    client.delete_run(trial.info.run_id)
    try:
        with pytest.raises(StudyError, match=r"of trial .*, which has 0"):
            reproduce_trial(again.info.run_id, folder=folder, uri=None, view=QuietView())
    finally:
        client.restore_run(trial.info.run_id)


def test_a_damaged_study_file_is_named(folder: Path) -> None:
    client = MlflowClient(store_uri(None, folder))
    (study,) = find_runs(folder, "study")
    run = find_runs(folder, "trial")[0]
    path = Path(client.download_artifacts(study.info.run_id, "waves.toml"))
    whole = path.read_text()
    try:
        client.log_text(study.info.run_id, "name = ", "waves.toml")
        with pytest.raises(StudyError, match=r"study file whole.*waves\.toml"):
            reproduce_trial(run.info.run_id, folder=folder, uri=None, view=QuietView())
    finally:
        client.log_text(study.info.run_id, whole, "waves.toml")


def test_what_a_cluster_trained_is_trained_again_by_one_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Counted(ProcessExecutor):
        def __init__(self, slots: int) -> None:
            started.append(slots)
            super().__init__(slots)

    client = MlflowClient(store_uri(None, folder))
    (study,) = find_runs(folder, "study")
    run = find_runs(folder, "trial")[1]
    text = Path(client.download_artifacts(study.info.run_id, "waves.toml")).read_text()
    settings = tomllib.loads(text)
    settings["workers"] |= {"executor": "ray", "count": 16}
    monkeypatch.setattr("search.results.reproduction.ProcessExecutor", Counted)
    try:
        client.log_text(study.info.run_id, tomli_w.dumps(settings), "waves.toml")
        found = reproduce_trial(run.info.run_id, folder=folder, uri=None, view=QuietView())
    finally:
        client.log_text(study.info.run_id, text, "waves.toml")
    assert found.same
    assert started == [1]


def test_other_data_are_refused(folder: Path) -> None:
    run = find_runs(folder, "trial")[1]
    path = folder.parent / "waves.npz"
    kept = path.read_bytes()
    with np.load(path) as file:
        changed = {name: file[name] for name in file.files}
    changed["x"] = changed["x"] + 1
    np.savez(path, **changed)
    try:
        with pytest.raises(StudyError, match="The data must be those of the trial"):
            reproduce_trial(run.info.run_id, folder=folder, uri=None, view=QuietView())
    finally:
        path.write_bytes(kept)
