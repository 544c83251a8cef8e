from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from search.config import TrackingConfig
from search.driver.leaderboard import TrialRow
from search.driver.storage import open_storage
from search.driver.tracking.mlflow_tracker import open_tracker
from search.driver.tracking.store import KIND, STUDY, TRIAL, search_runs, store_uri
from search.driver.trials import RECORD, STATES
from search.errors import StudyError, TrackingError
from search.messages import CandidateBuilt, EpochReport, Outcome, TrialEnded
from search.results.audit import audit_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
PARAMETERS = {"units": 32, "rate": 0.1 + 0.2, "pool": None, "kernel[0]": True}
ENDINGS = [
    TrialEnded(outcome=Outcome.COMPLETE, value=0.1 + 0.2, epochs=2, parameters=PARAMETERS),
    TrialEnded(outcome=Outcome.PRUNED, value=0.2, epochs=1, parameters=PARAMETERS),
    TrialEnded(outcome=Outcome.DIVERGED, epochs=1, parameters=PARAMETERS),
    TrialEnded(outcome=Outcome.INVALID),
    TrialEnded(outcome=Outcome.INTERRUPTED, value=0.3, epochs=1, parameters=PARAMETERS),
]


@pytest.fixture
def folder(storage_folder: Path) -> Path:
    """A storage folder in which Optuna and MLflow hold the same five trials."""
    study = optuna.create_study(storage=open_storage(storage_folder), study_name="har")
    tracker = open_tracker(
        study="har",
        config=TrackingConfig(),
        folder=storage_folder,
        tags={},
        params={},
        say=print,
    )
    for number, ended in enumerate(ENDINGS):
        trial = study.ask()
        tracker.start_trial(number)
        if ended.parameters:
            tracker.log_built(
                number, CandidateBuilt(parameters=ended.parameters, parameter_count=1)
            )
        for epoch in range(ended.epochs):
            best = ended.value or 0.5
            tracker.log_epoch(
                number,
                EpochReport(epoch=epoch, metrics={}, objective=best, best=best, seconds=1.0),
            )
        tracker.end_trial(number, ended)
        row = TrialRow(
            number=number,
            outcome=ended.outcome,
            value=ended.value,
            epochs=ended.epochs,
            parameters=ended.parameters,
        )
        trial.set_user_attr(RECORD, asdict(row))
        if ended.outcome in STATES:
            complete = ended.outcome is Outcome.COMPLETE
            study.tell(trial, ended.value if complete else None, state=STATES[ended.outcome])
    study.enqueue_trial({"units": 8})
    tracker.log_baseline("majority class", {"macro_f1": 0.1})
    tracker.close("FINISHED")
    return storage_folder


def find_run(client: MlflowClient, number: int) -> Run:
    experiment = client.get_experiment_by_name("lookback")
    return search_runs(client, [experiment.experiment_id], {TRIAL: f"{number:03d}"})[0]


def differences(folder: Path) -> list[tuple[str, str]]:
    audits = audit_study("har", folder=folder)
    return [(audit.name, difference) for audit in audits for difference in audit.differences]


def log_param(client: MlflowClient, run: Run) -> None:
    client.log_param(run.info.run_id, "extra", "1")


def change_param(client: MlflowClient, run: Run) -> None:
    """Replace the run by one with another parameter: MLflow lets none be changed."""
    tags = {**run.data.tags}
    other = client.create_run(run.info.experiment_id, tags=tags)
    for name, value in {**run.data.params, "units": "33"}.items():
        client.log_param(other.info.run_id, name, value)
    points = client.get_metric_history(run.info.run_id, "epoch_seconds")
    points += client.get_metric_history(run.info.run_id, "objective")
    points += client.get_metric_history(run.info.run_id, "value")
    client.log_batch(
        other.info.run_id, [Metric(p.key, p.value, p.timestamp, p.step) for p in points]
    )
    client.set_terminated(other.info.run_id, run.info.status)
    client.delete_run(run.info.run_id)


def change_value(client: MlflowClient, run: Run) -> None:
    client.log_metric(run.info.run_id, "value", 0.300001, step=9)


def change_objective(client: MlflowClient, run: Run) -> None:
    client.log_metric(run.info.run_id, "objective", 0.9, step=9)


def add_epoch(client: MlflowClient, run: Run) -> None:
    client.log_metric(run.info.run_id, "epoch_seconds", 1.0, step=2)


def repeat_epoch(client: MlflowClient, run: Run) -> None:
    client.log_metric(run.info.run_id, "epoch_seconds", 2.0, step=1)


def change_status(client: MlflowClient, run: Run) -> None:
    client.update_run(run.info.run_id, status="FAILED")


def reopen(client: MlflowClient, run: Run) -> None:
    client.update_run(run.info.run_id, status="RUNNING")


def change_outcome(client: MlflowClient, run: Run) -> None:
    client.set_tag(run.info.run_id, "outcome", "pruned")
    client.update_run(run.info.run_id, status="KILLED")


def drop_outcome(client: MlflowClient, run: Run) -> None:
    client.delete_tag(run.info.run_id, "outcome")


def delete(client: MlflowClient, run: Run) -> None:
    client.delete_run(run.info.run_id)


def add_run(client: MlflowClient, run: Run) -> None:
    tags = {KIND: "trial", STUDY: "har", TRIAL: "009", "outcome": "failed"}
    other = client.create_run(run.info.experiment_id, tags=tags)
    client.set_terminated(other.info.run_id, "FAILED")


def repeat_run(client: MlflowClient, run: Run) -> None:
    client.set_tag(find_run(client, 1).info.run_id, TRIAL, "000")


def reopen_study(client: MlflowClient, run: Run) -> None:
    client.update_run(run.data.tags["mlflow.parentRunId"], status="RUNNING")


def test_what_driver_and_tracker_wrote_agrees(folder: Path) -> None:
    assert differences(folder) == []
    assert [audit.name for audit in audit_study("har", folder=folder)] == [
        "study", "000", "001", "002", "003", "004",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("breaking", "expected"),
    [
        (log_param, ("000", "parameter extra is missing in Optuna")),
        (change_param, ("000", "parameter units is 32 in Optuna, 33 in MLflow")),
        (change_value, ("000", "value is 0.30000000000000004 in Optuna, 0.300001 in MLflow")),
        (change_objective, ("000", "objective is 0.30000000000000004 in Optuna, 0.9 in MLflow")),
        (add_epoch, ("000", "2 epochs in Optuna, 3 in MLflow")),
        (repeat_epoch, ("000", "an epoch stands twice in MLflow")),
        (change_status, ("000", "status FAILED does not fit the outcome complete")),
        (reopen, ("000", "the run is still RUNNING")),
        (change_outcome, ("000", "Optuna says COMPLETE, MLflow's outcome is pruned")),
        (drop_outcome, ("000", "Optuna says COMPLETE, MLflow's outcome is None")),
        (delete, ("000", "a trial without a run")),
        (add_run, ("009", "a run without a trial")),
        (repeat_run, ("000", "2 runs of one trial")),
        (reopen_study, ("study", "the study's run is still RUNNING")),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_a_difference_is_found(
    folder: Path, breaking: Callable[[MlflowClient, Run], None], expected: tuple[str, str]
) -> None:
    client = MlflowClient(store_uri(None, folder))
    breaking(client, find_run(client, 0))

    assert expected in differences(folder)


def test_an_unknown_study_is_named_with_the_nearest(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"Received: study='hat'\. Did you mean 'har'\?"):
        audit_study("hat", folder=folder)


def test_a_broken_store_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StudyError, match=r"store that this Optuna .* can read"):
        audit_study("har", folder=tmp_path)


def test_a_missing_store_is_not_created(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"storage\.folder must hold Optuna's store"):
        audit_study("har", folder=tmp_path)
    with pytest.raises(TrackingError, match=r"storage\.folder must hold a tracking store"):
        audit_study("har", folder=folder, uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert not list(tmp_path.glob("*.db"))
