import json
import math
import multiprocessing
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, TEMPORARILY_UNAVAILABLE

from search.config import TrackingConfig
from search.driver.decision import Repeat
from search.driver.leaderboard import TrialRow
from search.driver.promotion import Promotion
from search.driver.tracking.forwarder import Forwarder
from search.driver.tracking.mlflow_tracker import MlflowTracker, check_name, open_tracker
from search.driver.tracking.records import now_ms
from search.driver.tracking.spool import Spool, spool_path
from search.driver.tracking.store import (
    PARAMETERS,
    STUDY,
    TRIAL,
    make_store,
    search_runs,
    store_uri,
)
from search.driver.tracking.tracker import Tracker
from search.errors import ServiceAway, TrackingError, hide_credentials
from search.messages import CandidateBuilt, EpochReport, Outcome, TrialEnded
from search.results.serving import HOST, serve_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
BUILT = CandidateBuilt(
    parameters={"units": 32, "rate": 1e-3, "kernel[0]": 3, "pool": None},
    parameter_count=1234,
    notes=("pool_1 was clipped from 4 to 2",),
)


def open_study(
    folder: Path, *, uri: str | None = None, seed: str = "0", commit: str = "abc"
) -> MlflowTracker:
    return open_tracker(
        study="har",
        config=TrackingConfig(uri=uri),
        folder=folder,
        tags={"lookback.direction": "maximize", "git.commit": commit},
        params={"seed": seed},
        say=print,
    )


def test_the_studys_run_names_its_data_set_once(storage_folder: Path) -> None:
    facts = {"fingerprint": "ab" * 32, "description": "8 clips.", "audit": "No row on two sides."}
    for path in ("/data/new.npz", "/data/new.npz", "None"):
        open_tracker(
            study="har",
            config=TrackingConfig(),
            folder=storage_folder,
            tags={f"data.{name}": text for name, text in facts.items()},
            params={"data.source": "arrays", "data.path": path},
            say=print,
        ).close("FINISHED")
    (run,) = find_runs(storage_folder, kind="study")
    named = {one.dataset.name: one.dataset for one in run.inputs.dataset_inputs}
    assert named.keys() == {"new.npz", "arrays"}
    assert len(run.inputs.dataset_inputs) == 2
    data = named["new.npz"]
    assert (data.digest, data.source_type) == ("ab" * 18, "arrays")
    assert json.loads(data.source) == {"uri": "/data/new.npz"}
    assert json.loads(data.profile) == facts


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
        outcome=Outcome.COMPLETE,
        value=0.7,
        best_epoch=2,
        epochs=3,
        parameters=BUILT.parameters,
        latency_ms=2.5,
        spent={"building": 0.5, "training": 6.0},
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
    assert trial.data.metrics["latency_ms"] == 2.5
    assert trial.data.metrics["seconds/building"] == 0.5
    assert trial.data.metrics["seconds/training"] == 6.0
    assert history(storage_folder, trial, "objective") == [(0, 0.5), (1, 0.6), (2, 0.7)]
    assert history(storage_folder, trial, "epoch_seconds") == [(0, 2.0), (1, 2.0), (2, 2.0)]


def test_a_training_after_the_search_is_a_run_of_its_own_and_told_twice_stays_one(
    storage_folder: Path,
) -> None:
    tracker = open_study(storage_folder)
    ended = TrialEnded(
        outcome=Outcome.COMPLETE, value=0.6, best_epoch=1, epochs=2, parameters=BUILT.parameters
    )
    curve = [report(epoch, best=0.5 + epoch / 10) for epoch in range(2)]
    first, second = (
        Repeat(number=7, repeat=number, seed=number, outcome="complete", targets="0abc")
        for number in range(2)
    )
    for one in (first, first, second):
        tracker.log_repeat(one, ended, curve)
    for look in (1, 1, 2):
        tracker.log_refit(7, look, ended, curve)
    tracker.close("FINISHED")

    run, other = sorted(
        find_runs(storage_folder, kind="repeat"), key=lambda run: str(run.info.run_name)
    )
    assert run.info.run_name == "trial 007 again, training 1"
    assert other.data.tags["lookback.repeat"] == "1"
    assert run.info.status == "FINISHED"
    assert run.data.tags["targets"] == "0abc"
    assert run.data.params["units"] == "32"
    assert run.data.metrics["value"] == 0.6
    assert history(storage_folder, run, "objective") == [(0, 0.5), (1, 0.6)]
    assert find_runs(storage_folder, kind="trial") == []
    refits = find_runs(storage_folder, kind="refit")
    assert {run.data.tags["lookback.look"] for run in refits} == {"1", "2"}
    assert {run.info.run_name for run in refits} == {"trial 007 on all but the test targets"}


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
    # A fit of its own may ask for more than its build: a trial is reproduced from all of it.
    assert json.loads(trial.data.tags[PARAMETERS]) == {"units": 8}
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
    # A thread delivers that the study runs again; waiting in vain ends at the test's time limit.
    while find_runs(storage_folder, kind="study")[0].info.status != "RUNNING":
        time.sleep(0.02)
    again.close("KILLED")

    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.info.status == "RUNNING"
    assert "outcome" not in trial.data.tags
    assert [step for step, _ in history(storage_folder, trial, "objective")] == [0, 1, 2, 3]
    assert len(find_runs(storage_folder, kind="study")) == 1


def test_a_trial_that_nobody_began_before_is_not_looked_for_and_holds_the_same(
    storage_folder: Path, tmp_path: Path, store_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = tmp_path / "looking"
    looking.mkdir()
    shutil.copyfile(store_template, looking / "mlflow.db")
    ended = {"value": 0.6, "best_epoch": 1, "epochs": 2, "parameters": {"units": 8, "depth": 2}}
    found: list[object] = []
    for folder in (looking, storage_folder):
        tracker = open_study(folder)
        with monkeypatch.context() as patch:
            if folder == storage_folder:
                tracker.reconcile([])
                for reading in ("search_runs", "get_run", "get_metric_history"):
                    patch.setattr(MlflowClient, reading, None)
            run_trial(tracker, 0, TrialEnded(outcome=Outcome.PRUNED, reason="worse", **ended))
            tracker.start_trial(1, Promotion(number=0, reason="the best of those pruned"))
            tracker.log_built(1, BUILT)
            tracker.log_built(1, BUILT)  # its worker died
            tracker.end_trial(1, TrialEnded(outcome=Outcome.COMPLETE, **ended))
            tracker.close("FINISHED")
        runs = sorted(find_runs(folder, kind="trial"), key=lambda run: run.data.tags[TRIAL])
        own = [
            {name: word for name, word in run.data.tags.items() if name != "mlflow.parentRunId"}
            for run in runs
        ]
        found.append(
            [
                (
                    run.info.status,
                    run.data.params,
                    run.data.metrics,
                    tags,
                    history(folder, run, "objective"),
                )
                for run, tags in zip(runs, own, strict=True)
            ]
        )
        counted = history(folder, runs[1], "parameter_count")
        assert len(counted) == 1
    assert len(found[0]) == 2
    assert found[0] == found[1]


def test_a_run_whose_making_was_not_answered_is_not_made_twice(
    storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run, lost = MlflowClient.create_run, [True]

    def create(client: MlflowClient, *args: object, **named: object) -> Run:
        run = create_run(client, *args, **named)
        if lost:
            lost.clear()
            raise MlflowException("no answer", error_code=TEMPORARILY_UNAVAILABLE)
        return run

    tracker = open_study(storage_folder)
    tracker.reconcile([])
    monkeypatch.setattr(MlflowClient, "create_run", create)
    ended = TrialEnded(outcome=Outcome.COMPLETE, value=0.6, best_epoch=1, epochs=2)
    run_trial(tracker, 0, ended)
    tracker.close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert not lost
    assert (trial.info.status, trial.data.metrics["value"]) == ("FINISHED", 0.6)
    assert [step for step, _ in history(storage_folder, trial, "objective")] == [0, 1]


def test_each_training_names_what_it_ran_on_last_whatever_a_later_launch_runs_on(
    storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = TrialEnded(outcome=Outcome.COMPLETE, value=0.6, best_epoch=1, epochs=2)
    first = open_study(storage_folder, commit="first")
    run_trial(first, 0, ended)
    run_trial(first, 1, TrialEnded(outcome=Outcome.INTERRUPTED, epochs=2))
    first.log_refit(0, 1, ended, [report(0)])
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "note_delivered", lambda self, end: None)
        first.close("KILLED")
    second = open_study(storage_folder, commit="second")
    second.reconcile([TrialRow(number=0, outcome=Outcome.COMPLETE, value=0.6)])
    second.start_trial(1)
    again = Repeat(number=0, repeat=0, seed=0, outcome="complete", targets="0abc")
    second.log_repeat(again, ended, [report(0)])
    second.close("FINISHED")

    def commits(kind: str) -> dict[str, str]:
        runs = find_runs(storage_folder, kind=kind)
        return {run.data.tags[TRIAL]: run.data.tags["git.commit"] for run in runs}

    assert commits("trial") == {"000": "first", "001": "second"}
    assert commits("refit") == {"000": "first"}
    assert commits("repeat") == {"000": "second"}


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


def test_a_text_is_kept_with_the_study(storage_folder: Path, tmp_path: Path) -> None:
    tracker = open_study(storage_folder)
    tracker.log_text("study.toml", "name = 'har'")
    tracker.log_study(metrics={"best_objective": 0.7}, description="**0.7**")
    tracker.close("FINISHED")

    (parent,) = find_runs(storage_folder, kind="study")
    client = MlflowClient(store_uri(None, storage_folder))
    copy = client.download_artifacts(parent.info.run_id, "study.toml", str(tmp_path / "copy"))
    assert Path(copy).read_text() == "name = 'har'"
    assert parent.data.metrics == {"best_objective": 0.7}
    assert parent.data.tags["mlflow.note.content"] == "**0.7**"


def test_closing_names_what_mlflow_refused(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    run_trial(tracker, 0, TrialEnded(outcome=Outcome.COMPLETE))
    tracker.log_epoch(5, report(0))  # which has no run

    with pytest.raises(TrackingError, match=r"1 did not arrive \(epoch 0 of trial 5\)"):
        tracker.close("FINISHED")


def test_records_wait_in_the_queue_while_the_server_is_away(
    storage_folder: Path, tmp_path: Path, free_port: int
) -> None:
    port = free_port
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


def test_what_a_driver_that_died_had_said_arrives_with_the_next_launch(
    storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died with its records on disk: some delivered, not noted as such, and some not."""
    open_study(storage_folder).close("KILLED")
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "note_delivered", lambda self, end: None)
        dying = open_study(storage_folder)
        run_trial(dying, 0, TrialEnded(outcome=Outcome.COMPLETE, value=0.7, epochs=3))
        dying.log_baseline("majority class", {"macro_f1": 0.1})
        dying.start_trial(1)
        dying.log_epoch(1, report(0))
        dying.close("FAILED")
    with closing(Spool(spool_path(storage_folder, "har"), 2**20)) as spool:
        spool.append(
            {"kind": "epoch", "number": 1, "time_ms": now_ms(), "report": asdict(report(1))}
        )

    again = open_study(storage_folder)
    again.start_trial(1)
    again.log_epoch(1, report(1))
    again.log_epoch(1, report(2))
    again.close("FINISHED")

    one, zero = sorted(
        find_runs(storage_folder, kind="trial"), key=lambda run: -int(run.data.tags[TRIAL])
    )
    assert zero.info.status == "FINISHED"
    for run in (zero, one):
        for metric in ("objective", "epoch_seconds", "val_macro_f1"):
            assert [step for step, _ in history(storage_folder, run, metric)] == [0, 1, 2]
    assert history(storage_folder, zero, "parameter_count") == [(0, 1234)]
    assert history(storage_folder, zero, "value") == [(3, 0.7)]
    assert len(find_runs(storage_folder, kind="baseline")) == 1
    (parent,) = find_runs(storage_folder, kind="study")
    assert parent.info.status == "FINISHED"


def test_an_end_that_only_optuna_knows_is_repaired(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    for number in range(3):
        tracker.start_trial(number)
    tracker.end_trial(1, TrialEnded(outcome=Outcome.PRUNED, value=0.2, reason="slow"))
    tracker.close("KILLED")

    rows = [
        TrialRow(
            number=0,
            outcome=Outcome.COMPLETE,
            value=0.7,
            best_epoch=2,
            seconds=9.0,
            latency_ms=2.5,
        ),
        TrialRow(number=1, outcome=Outcome.PRUNED, value=0.2, reason="slow"),
        TrialRow(number=2, outcome=Outcome.INTERRUPTED),
    ]
    again = open_study(storage_folder)
    again.reconcile(rows)
    again.close("FINISHED")

    runs = {int(run.data.tags[TRIAL]): run for run in find_runs(storage_folder, kind="trial")}
    assert [runs[n].info.status for n in range(3)] == ["FINISHED", "KILLED", "RUNNING"]
    assert runs[0].data.metrics == {
        "value": 0.7,
        "best_epoch": 2.0,
        "seconds": 9.0,
        "latency_ms": 2.5,
    }
    assert history(storage_folder, runs[1], "value") == [(0, 0.2)]


def test_a_store_that_stays_away_leaves_its_records_on_disk(
    storage_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr(Forwarder.__init__, "__kwdefaults__", {"longest_pause": 0.5})
    port = free_port
    with serve_store(store_uri(None, storage_folder), port, tmp_path):
        tracker = open_study(storage_folder, uri=f"http://{HOST}:{port}")
    tracker.start_trial(0)
    with pytest.raises(ServiceAway, match=r"wait in .*har\.jsonl: launch the study again"):
        tracker.close("KILLED", patience_seconds=0.0)

    open_study(storage_folder).close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.data.tags[TRIAL] == "000"


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

    away = (uri or "").startswith("http")
    with pytest.raises(ServiceAway if away else TrackingError, match=message) as caught:
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
    words = {"study": "har", "config": TrackingConfig(), "folder": storage_folder}
    check_name(**words)
    open_tracker(**words, tags={}, params={}, say=print).close("FINISHED")
    check_name(**{**words, "study": "other"})
    check_name(**{**words, "config": TrackingConfig(project="other")})
    check_name(**{**words, "folder": tmp_path / "new"})
    with pytest.raises(TrackingError, match=r"^name must be new.*name='har'"):
        check_name(**words)


def test_what_the_artifact_store_does_not_take_holds_up_nothing_else(
    storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks_library(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'boto3'")

    monkeypatch.setattr(MlflowClient, "log_text", lacks_library)
    tracker = open_study(storage_folder)
    tracker.log_text("har.toml", 'name = "har"')
    run_trial(tracker, 0, TrialEnded(outcome=Outcome.FAILED, epochs=2, traceback="Traceback"))
    with pytest.raises(TrackingError, match=r"2 did not arrive \(text har.toml, end of trial 0\)"):
        tracker.close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert (trial.info.status, trial.data.tags["outcome"]) == ("FAILED", "failed")
    assert len(history(storage_folder, trial, "objective")) == 2


def test_the_traceback_of_a_repeat_is_sent_again_where_the_artifact_store_failed_once(
    storage_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_text, answers = MlflowClient.log_text, deque(["the bucket is away"])

    def answer(client: MlflowClient, *args: object, **named: object) -> None:
        if answers:
            raise OSError(answers.popleft())
        log_text(client, *args, **named)

    tracker = open_study(storage_folder)
    monkeypatch.setattr(MlflowClient, "log_text", answer)
    run_trial(tracker, 0, TrialEnded(outcome=Outcome.COMPLETE, epochs=2))
    failed = TrialEnded(outcome=Outcome.FAILED, traceback="Traceback: of the repeat")
    tracker.log_repeat(Repeat(number=0, repeat=0, seed=1, outcome="failed"), failed, [])
    tracker.close("FINISHED")
    (repeat,) = find_runs(storage_folder, kind="repeat")
    client = MlflowClient(store_uri(None, storage_folder))
    path = client.download_artifacts(repeat.info.run_id, "traceback.txt", str(tmp_path))
    assert Path(path).read_text() == "Traceback: of the repeat"


def test_a_proxy_without_its_server_takes_no_record_away(
    storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch, answers = MlflowClient.log_batch, deque(["404 page not found"] * 2)

    def answer(client: MlflowClient, *args: object, **named: object) -> None:
        if answers:
            raise MlflowException(answers.popleft(), error_code=ENDPOINT_NOT_FOUND)
        log_batch(client, *args, **named)

    tracker = open_study(storage_folder)
    monkeypatch.setattr(MlflowClient, "log_batch", answer)
    run_trial(tracker, 0, TrialEnded(outcome=Outcome.COMPLETE, value=0.6, best_epoch=1, epochs=2))
    tracker.close("FINISHED")
    assert not answers
    (trial,) = find_runs(storage_folder, kind="trial")
    assert len(history(storage_folder, trial, "objective")) == 2


def test_a_trial_that_goes_on_with_another_value_ends_and_both_are_kept(
    storage_folder: Path,
) -> None:
    tracker = open_study(storage_folder)
    tracker.start_trial(0)
    tracker.log_built(0, CandidateBuilt(parameters={"units": 8}, parameter_count=1))
    edited = {"units": 16, "depth": 1}
    tracker.log_built(0, CandidateBuilt(parameters=edited, parameter_count=1))
    ended = TrialEnded(outcome=Outcome.COMPLETE, value=0.5, epochs=1, parameters=edited)
    tracker.end_trial(0, ended)
    tracker.close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.info.status == "FINISHED"
    assert trial.data.params == {"units": "8", "depth": "1"}
    assert trial.data.tags["now.units"] == "16"


def test_of_runs_that_a_slow_server_made_twice_one_stays(storage_folder: Path) -> None:
    first = open_study(storage_folder)
    run_trial(first, 0, TrialEnded(outcome=Outcome.INTERRUPTED, epochs=2))
    first.close("KILLED")
    client = MlflowClient(store_uri(None, storage_folder))
    (kept,) = find_runs(storage_folder, kind="trial")
    tags = {name: kept.data.tags[name] for name in kept.data.tags if name.startswith("lookback.")}
    client.create_run(kept.info.experiment_id, tags=tags)  # its answer never came

    again = open_study(storage_folder)
    ended = TrialEnded(outcome=Outcome.COMPLETE, value=0.6, best_epoch=1, epochs=2)
    run_trial(again, 0, ended)
    again.close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.info.run_id == kept.info.run_id
    assert (trial.info.status, trial.data.metrics["value"]) == ("FINISHED", 0.6)


def test_a_trial_that_ends_twice_shows_its_last_value(storage_folder: Path) -> None:
    tracker = open_study(storage_folder)
    stopped = TrialEnded(outcome=Outcome.INTERRUPTED, value=0.7, best_epoch=2, epochs=3)
    run_trial(tracker, 0, stopped)
    tracker.start_trial(0)
    tracker.end_trial(0, TrialEnded(outcome=Outcome.OVERTIME, value=0.8, epochs=3))
    tracker.close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert trial.data.metrics["value"] == 0.8


def test_a_run_whose_beginning_never_arrived_is_made_when_trials_are_reconciled(
    storage_folder: Path,
) -> None:
    tracker = open_study(storage_folder)
    tracker.reconcile([TrialRow(number=3, outcome=Outcome.PRUNED, value=0.4, epochs=2)])
    tracker.close("FINISHED")
    (trial,) = find_runs(storage_folder, kind="trial")
    assert (trial.data.tags[TRIAL], trial.info.status) == ("003", "KILLED")
    assert trial.data.metrics["value"] == 0.4
