"""Optuna's record of a study and MLflow's, compared trial by trial."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from search.driver.leaderboard import TrialRow
from search.driver.tracking.mlflow_tracker import STATUSES
from search.driver.tracking.records import make_key
from search.driver.tracking.store import (
    KIND,
    STUDY,
    TRIAL,
    open_client,
    search_runs,
    store_uri,
    translate_errors,
)
from search.driver.trials import STATES, read_row
from search.messages import Outcome, Parameters
from search.results.browsing import find_study
from search.results.studies import load_study

TOLERANCE = 1e-9
_LONGEST_VALUE = 6000


@dataclass(frozen=True, kw_only=True)
class TrialAudit:
    """One trial, as Optuna and MLflow hold it.

    Attributes:
        name: The trial's number, or "study" for the study's own run.
        optuna: Its state and outcome; empty where Optuna has no such trial.
        mlflow: Its run's status and outcome; empty where MLflow has no such run.
        value: The objective in Optuna.
        epochs: The epochs that ended, in Optuna.
        differences: One sentence each; empty where both agree.
    """

    name: str
    optuna: str
    mlflow: str
    value: float | None
    epochs: int
    differences: tuple[str, ...]


def audit_study(name: str, *, folder: Path, uri: str | None = None) -> tuple[TrialAudit, ...]:
    """Compare what Optuna and MLflow hold of a study.

    Args:
        name: The study's name.
        folder: The storage folder, which holds Optuna's store.
        uri: Address of the MLflow store; ``None`` for the folder's own.

    Returns:
        The study's own run, then every trial that either side knows, in order.

    Raises:
        ConfigError: If what talks to the study's database is not installed.
        ServiceAway: If that database does not answer.
        StudyError: If Optuna or MLflow has no such study, or Optuna's store is broken.
        TrackingError: If the MLflow store cannot be opened; ServiceAway if it is a server that does not answer.
    """
    held = load_study(name, folder)
    # A queued trial was not begun, so MLflow has not heard of it.
    trials = {one.number: one for one in held.trials if one.state is not TrialState.WAITING}
    address = store_uri(uri, folder)
    client = open_client(address)
    study = find_study(
        client, name, held.user_attrs.get("config", {}).get("tracking", {}).get("project")
    )
    runs: dict[int, list[Run]] = {}
    with translate_errors(address):
        for run in search_runs(client, [study.experiment_id], {KIND: "trial", STUDY: name}):
            runs.setdefault(int(run.data.tags.get(TRIAL, -1)), []).append(run)
        audits = [_audit_parent(client.get_run(study.run_id))]
        for number in sorted(trials.keys() | runs.keys()):
            audits.append(_audit_trial(client, number, trials.get(number), runs.get(number, [])))
    return tuple(audits)


def _audit_parent(run: Run) -> TrialAudit:
    left = ("the study's run is still RUNNING",) if run.info.status == "RUNNING" else ()
    return TrialAudit(
        name="study", optuna="", mlflow=run.info.status, value=None, epochs=0, differences=left
    )


def _audit_trial(
    client: MlflowClient, number: int, trial: FrozenTrial | None, runs: Sequence[Run]
) -> TrialAudit:
    row = read_row(trial) if trial else TrialRow(number=number)
    differences = []
    if trial is None:
        differences.append("a run without a trial")
    if not runs:
        differences.append("a trial without a run")
    if runs[1:]:
        differences.append(f"{len(runs)} runs of one trial")
    for run in runs:
        differences += _compare_end(trial.state if trial else None, row, run)
        if trial is not None:
            differences += _compare_parameters(row.parameters, run.data.params)
            differences += _compare_values(row, trial, run)
            differences += _compare_epochs(client, row, run.info.run_id)
    return TrialAudit(
        name=f"{number:03d}",
        optuna=_describe(trial.state.name, row.outcome) if trial else "",
        mlflow=", ".join(_describe(r.info.status, r.data.tags.get("outcome")) for r in runs),
        value=row.value,
        epochs=row.epochs,
        differences=tuple(dict.fromkeys(differences)),
    )


def _describe(state: str, outcome: str | None) -> str:
    return f"{state} {outcome}" if outcome else state


def _compare_end(state: TrialState | None, row: TrialRow, run: Run) -> Iterator[str]:
    if run.info.status == "RUNNING":
        yield "the run is still RUNNING"
        return
    if state is None:
        return
    tagged = run.data.tags.get("outcome")
    known = Outcome(tagged) if tagged in set(Outcome) else None
    expected = STATES.get(known, TrialState.RUNNING) if known else None
    if expected is not state:
        yield f"Optuna says {state.name}, MLflow's outcome is {tagged}"
    if row.outcome is not None and row.outcome != tagged:
        yield f"outcome {row.outcome} in Optuna, {tagged} in MLflow"
    status = STATUSES.get(known, "FAILED") if known else None
    if run.info.status != status:
        yield f"status {run.info.status} does not fit the outcome {tagged}"


def _compare_parameters(parameters: Parameters, params: Parameters) -> Iterator[str]:
    expected = {make_key(name): value for name, value in parameters.items()}
    for name in sorted(expected.keys() - params.keys()):
        yield f"parameter {name} is missing in MLflow"
    for name in sorted(params.keys() - expected.keys()):
        yield f"parameter {name} is missing in Optuna"
    for name in sorted(expected.keys() & params.keys()):
        if not _is_equal(expected[name], str(params[name])):
            yield f"parameter {name} is {expected[name]} in Optuna, {params[name]} in MLflow"


def _is_equal(value: object, text: str) -> bool:
    """Compare a value with what MLflow made of it: text of at most 6,000 characters."""
    if str(value)[:_LONGEST_VALUE] == text:
        return True
    try:
        return isinstance(value, int | float) and float(text) == value
    except ValueError:
        return False


def _compare_values(row: TrialRow, trial: FrozenTrial, run: Run) -> Iterator[str]:
    complete = trial.state is TrialState.COMPLETE
    value = trial.values[0] if complete else row.value
    # A trial that failed may have no value although epochs of it ended.
    if trial.state is TrialState.RUNNING or (value is None and not complete):
        return
    for name in ("objective", "value"):
        found = run.data.metrics.get(name)
        if not _is_close(value, found):
            yield f"{name} is {value} in Optuna, {found} in MLflow"


def _is_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _compare_epochs(client: MlflowClient, row: TrialRow, run_id: str) -> Iterator[str]:
    steps = [point.step for point in client.get_metric_history(run_id, "epoch_seconds")]
    if len(steps) != len(set(steps)):
        yield "an epoch stands twice in MLflow"
    if sorted(set(steps)) != list(range(row.begun_at, row.epochs)):
        yield f"{row.own_epochs} epochs in Optuna, {len(set(steps))} in MLflow"
