import math
import multiprocessing
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from search.driver.tracking.mlflow_tracker import MlflowTracker, check_name, open_tracker
from search.driver.tracking.store import (
    STUDY,
    TRIAL,
    hide_credentials,
    make_store,
    search_runs,
    store_uri,
)
from search.driver.tracking.tracker import Tracker
from search.errors import TrackingError
from search.messages import CandidateBuilt, EpochReport, Outcome, TrialEnded
from search.results.serving import HOST, choose_port, serve_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
BUILT = CandidateBuilt(
    parameters={"units": 32, "rate": 1e-3, "kernel[0]": 3, "pool": None},
    parameter_count=1234,
    notes=("pool_1 was clipped from 4 to 2",),
)


def open_study(folder: Path, *, uri: str | None = None, seed: str = "0") -> MlflowTracker:
    return open_tracker(
        study="har",
        project="lookback",
        uri=uri,
        folder=folder,
        tags={"lookback.direction": "maximize", "git.commit": "abc"},
        params={"seed": seed},
    )


def report(epoch: int, best: float = 0.5, loss: float = 1.0) -> EpochReport:
    metrics = {"val_macro_f1": best, "train_loss": loss}
    return EpochReport(epoch=epoch, metrics=metrics, objective=best, best=best, seconds=2.0)


def run_trial(tracker: Tracker, number: int, ended: TrialEnded) -> None:
    """Say all that a driver says of one trial, whichever tracker listens."""
    tracker.start_trial(number)
    tracker.log_built(number, BUILT)
    for epoch in range(ended.epochs):
        tracker.log_epoch(number, report(epoch, best=0.5 + epoch / 10))
    tracker.end_trial(number, ended)


def find_runs(folder: Path, **tags: str) -> list[Run]:
    client = MlflowClient(store_uri(None, folder))
    experiment = client.get_experiment_by_name("lookback")
    words = {f"lookback.{name}": value for name, value in tags.items()}
    return search_runs(client, [experiment.experiment_id], words)


def history(folder: Path, run: Run, metric: str) -> list[tuple[int, float]]:
    points = MlflowClient(store_uri(None, folder)).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def test_a_study_is_a_parent_run_and_a_trial_a_nested_one(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    complete = TrialEnded(
        outcome=Outcome.COMPLETE, value=0.7, best_epoch=2, epochs=3, parameters=BUILT.parameters
    )
    run_trial(tracker, 7, complete)
    tracker.close("FINISHED")

    (parent,) = find_runs(storage_folder, kind="study")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["git.commit"] == "abc"
    assert parent.data.params == {"seed": "0"}
    assert trial.info.run_name == "trial 007"
    assert trial.data.tags[TRIAL] == "007"
    assert trial.data.tags[STUDY] == "har"
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert trial.data.tags["notes"] == "pool_1 was clipped from 4 to 2"
    assert trial.data.params == {
        "units": "32",
        "rate": "0.001",
        "kernel:5b:0:5d:": "3",
        "pool": "None",
    }
    assert trial.data.metrics["parameter_count"] == 1234
    assert trial.data.metrics["value"] == 0.7
    assert trial.data.metrics["best_epoch"] == 2
    assert history(storage_folder, trial, "objective") == [(0, 0.5), (1, 0.6), (2, 0.7)]
    assert history(storage_folder, trial, "epoch_seconds") == [(0, 2.0), (1, 2.0), (2, 2.0)]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.COMPLETE, "FINISHED"),
        (Outcome.PRUNED, "KILLED"),
        (Outcome.INTERRUPTED, "KILLED"),
        (Outcome.DIVERGED, "FAILED"),
        (Outcome.OUT_OF_MEMORY, "FAILED"),
        (Outcome.OVERSIZED, "FAILED"),
        (Outcome.INVALID, "FAILED"),
        (Outcome.FAILED, "FAILED"),
    ],
)
def test_a_trial_ends_with_its_true_status(
    storage_folder: Path, outcome: Outcome, status: str
) -> None:
    tracker = open_study(storage_folder)
    run_trial(tracker, 0, TrialEnded(outcome=outcome, reason="\x1b[1mbecause\x1b[0m"))
    tracker.close("FINISHED")

    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.info.status == status
    assert trial.data.tags["outcome"] == outcome
    assert trial.data.tags["reason"] == "because"
    assert trial.data.tags["mlflow.note.content"] == f"{outcome}: because"


def test_a_candidate_that_was_not_built_keeps_its_parameters_and_traceback(
    storage_folder: Path, tmp_path: Path
) -> None:
    tracker = open_study(storage_folder)
    tracker.start_trial(0)
    tracker.end_trial(
        0,
        TrialEnded(
            outcome=Outcome.INVALID,
            parameters={"units": 8},
            traceback="ValueError: \x1b[1mnegative\x1b[0m",
        ),
    )
    tracker.close("FINISHED")

    (trial,) = find_runs(storage_folder, kind="trial")
    client = MlflowClient(store_uri(None, storage_folder))
    path = client.download_artifacts(trial.info.run_id, "traceback.txt", str(tmp_path))
    assert trial.data.params == {"units": "8"}
    assert Path(path).read_text() == "ValueError: negative"


def test_a_continued_trial_keeps_its_run_and_no_epoch_stands_twice(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    run_trial(tracker, 0, TrialEnded(outcome=Outcome.INTERRUPTED, epochs=2, reason="Ctrl-C"))
    tracker.close("KILLED")

    again = open_study(storage_folder)
    again.start_trial(0)
    again.log_built(0, BUILT)
    for epoch in range(4):
        again.log_epoch(0, report(epoch, best=0.5 + epoch / 10))
    again.log_study(tags={"asked": "yes"})
    (parent,) = find_runs(storage_folder, kind="study")
    assert parent.info.status == "RUNNING"
    again.close("KILLED")

    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.info.status == "RUNNING"
    assert "outcome" not in trial.data.tags
    assert [step for step, _ in history(storage_folder, trial, "objective")] == [0, 1, 2, 3]
    assert len(find_runs(storage_folder, kind="study")) == 1


def test_a_changed_setting_of_a_continued_study_is_a_tag(storage_folder: Path) -> None:
    open_study(storage_folder, seed="0").close("KILLED")
    open_study(storage_folder, seed="1").close("FINISHED")

    (parent,) = find_runs(storage_folder, kind="study")
    assert parent.data.params == {"seed": "0"}
    assert parent.data.tags["now.seed"] == "1"


def test_values_that_are_not_finite_are_named_in_a_tag(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    tracker.start_trial(0)
    tracker.log_epoch(0, report(0))
    tracker.log_epoch(0, report(1, loss=math.inf))
    tracker.close("FINISHED")

    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.data.tags["not_finite"] == "epoch 1: train_loss=inf"
    assert history(storage_folder, trial, "train_loss") == [(0, 1.0)]
    assert len(history(storage_folder, trial, "objective")) == 2


def test_a_baseline_is_written_once(storage_folder: Path) -> None:
    for _ in range(2):
        tracker = open_study(storage_folder)
        tracker.log_baseline("majority class", {"macro_f1": 0.1})
        tracker.close("FINISHED")

    (baseline,) = find_runs(storage_folder, kind="baseline")
    assert baseline.info.status == "FINISHED"
    assert history(storage_folder, baseline, "macro_f1") == [(0, 0.1)]


def test_a_file_is_kept_as_it_was(storage_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("before")
    tracker = open_study(storage_folder)
    tracker.log_file(path)
    path.write_text("after")
    tracker.log_study(metrics={"best_objective": 0.7}, description="**0.7**")
    tracker.close("FINISHED")

    (parent,) = find_runs(storage_folder, kind="study")
    client = MlflowClient(store_uri(None, storage_folder))
    copy = client.download_artifacts(parent.info.run_id, "study.toml", str(tmp_path / "copy"))
    assert Path(copy).read_text() == "before"
    assert parent.data.metrics == {"best_objective": 0.7}
    assert parent.data.tags["mlflow.note.content"] == "**0.7**"


def test_closing_names_what_mlflow_refused(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    run_trial(tracker, 0, TrialEnded(outcome=Outcome.COMPLETE))
    tracker.log_built(0, CandidateBuilt(parameters={"units": 64}, parameter_count=1))

    with pytest.raises(TrackingError, match=r"1 did not arrive \(parameters of trial 0\)"):
        tracker.close("FINISHED")


def test_records_wait_in_the_queue_while_the_server_is_away(
    storage_folder: Path, tmp_path: Path
) -> None:
    port = choose_port(None)
    uri = f"http://{HOST}:{port}"
    with serve_store(store_uri(None, storage_folder), port, tmp_path):
        tracker = open_study(storage_folder, uri=uri)
        tracker.start_trial(0)
        tracker.log_built(0, BUILT)
    for epoch in range(3):
        tracker.log_epoch(0, report(epoch))
    tracker.end_trial(0, TrialEnded(outcome=Outcome.COMPLETE, value=0.5, epochs=3))
    with serve_store(store_uri(None, storage_folder), port, tmp_path):
        tracker.close("FINISHED")

    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.info.status == "FINISHED"
    assert [step for step, _ in history(storage_folder, trial, "objective")] == [0, 1, 2]
    assert trial.data.params["units"] == "32"


def test_a_new_store_is_made_once_by_many_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "mlflow.db"
    context = multiprocessing.get_context("spawn")
    makers = [context.Process(target=make_store, args=(path,)) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()

    assert [maker.exitcode for maker in makers] == [0, 0]
    open_study(path.parent).close("FINISHED")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def write_text(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database " * 100)


@pytest.mark.parametrize(
    ("uri", "prepare", "message"),
    [
        (None, write_text, "file is not a database"),
        (None, lambda path: path.parent.write_text("a file"), "File exists|Not a directory"),
        ("foo://bar", None, "unsupported URI 'foo://bar'"),
        ("http://user:canary@127.0.0.1:9", None, "Connection refused"),
        ("file:///tmp/mlruns", None, "maintenance mode"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_sentence_without_credentials(
    tmp_path: Path, uri: str | None, prepare: Callable[[Path], None] | None, message: str
) -> None:
    folder = tmp_path / "mlflow_runs"
    if prepare is not None:
        prepare(folder / "mlflow.db")

    with pytest.raises(TrackingError, match=message) as caught:
        open_study(folder, uri=uri)

    assert str(caught.value).startswith("tracking.uri must be the address of an MLflow store")
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_deleted_experiment_is_named(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    tracker.close("FINISHED")
    MlflowClient(store_uri(None, storage_folder)).delete_experiment(tracker.experiment_id)

    with pytest.raises(TrackingError, match=r"tracking\.project must name"):
        open_study(storage_folder)


@pytest.mark.parametrize(
    "text",
    [
        "http://me:canary@host/x failed",
        "postgresql://me:canary@host/db",
        "postgresql://host/db?user=me&password=canary",
        "https://host?token=canary&x=1",
    ],
)
def test_credentials_are_hidden(text: str) -> None:
    assert "canary" not in hide_credentials(text)
    assert "host" in hide_credentials(text)


def test_a_new_study_takes_over_no_runs_of_another(storage_folder: Path, tmp_path: Path) -> None:
    words = {"study": "har", "project": "lookback", "uri": None, "folder": storage_folder}
    check_name(**words)
    open_tracker(**words, tags={}, params={}).close("FINISHED")
    check_name(**{**words, "study": "other"})
    check_name(**{**words, "project": "other"})
    check_name(**{**words, "folder": tmp_path / "new"})
    with pytest.raises(TrackingError, match=r"study.name must be new.*name='har'"):
        check_name(**words)
