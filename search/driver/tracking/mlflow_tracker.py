"""A study and its trials become MLflow runs: a parent, and a nested run for each trial."""

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from search.driver.tracking.forwarder import Forwarder, Lost, Refused, Unreachable
from search.driver.tracking.records import as_metrics, as_params, as_tags, now_ms, strip_colours
from search.driver.tracking.store import (
    BASELINE,
    KIND,
    STUDY,
    TRIAL,
    hide_credentials,
    make_store,
    open_experiment,
    search_runs,
    sqlite_path,
    store_uri,
    translate_errors,
)
from search.errors import TrackingError
from search.messages import CandidateBuilt, EpochReport, Outcome, TrialEnded

STATUSES = {
    Outcome.COMPLETE: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
}
"""MLflow's status of a trial's run; every other outcome is FAILED."""

_NOTE = "mlflow.note.content"
_REFUSALS = (400, 404, 409)
_NAMED_LOSSES = 5


def open_tracker(
    *,
    study: str,
    project: str,
    uri: str | None,
    folder: Path,
    tags: Mapping[str, str],
    params: Mapping[str, str],
) -> "MlflowTracker":
    """Open a study's run, or continue it.

    Args:
        study: The study's name.
        project: The MLflow experiment; made where it is missing.
        uri: Address of an MLflow server or database; ``None`` for ``mlflow.db`` in the folder.
        folder: The storage folder, which keeps the artifacts unless a server does.
        tags: Tags of the study's run.
        params: Parameters of the study's run. MLflow lets none be changed: where a continued
            study has another value, the tag ``now.<name>`` holds it.

    Returns:
        A tracker whose study is RUNNING.

    Raises:
        TrackingError: If the store cannot be opened.
    """
    address = store_uri(uri, folder)
    path = sqlite_path(address)
    if path is not None:
        make_store(path)
    with translate_errors(address):
        client = MlflowClient(address)
        experiment_id = open_experiment(client, project, address, folder)
        runs = search_runs(client, [experiment_id], {KIND: "study", STUDY: study})
        words = {KIND: "study", STUDY: study, **tags}
        run = runs[0] if runs else client.create_run(experiment_id, tags=words, run_name=study)
        held = run.data.params
        changed = {f"now.{k}": v for k, v in params.items() if k in held and held[k] != v}
        new = as_params({name: value for name, value in params.items() if name not in held})
        client.log_batch(run.info.run_id, params=new, tags=as_tags({**words, **changed}))
        client.update_run(run.info.run_id, status="RUNNING")
    return MlflowTracker(client, experiment_id, study, run.info.run_id)


def check_name(*, study: str, project: str, uri: str | None, folder: Path) -> None:
    """Check that a new study takes over no other's runs, as on a server that several people use.

    Args:
        study: The study's name.
        project: The MLflow experiment.
        uri: As for ``open_tracker``.
        folder: The storage folder.

    Raises:
        TrackingError: If the store cannot be opened, or holds a study of that name.
    """
    address = store_uri(uri, folder)
    path = sqlite_path(address)
    if path is not None and not path.is_file():
        return
    with translate_errors(address):
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name(project)
        ids = [experiment.experiment_id] if experiment else []
        taken = bool(ids) and bool(search_runs(client, ids, {KIND: "study", STUDY: study}))
    if taken:
        raise TrackingError(
            f"study.name must be new to the tracking store, which holds another study of that "
            f"name in {project!r}. Received: name={study!r}, unknown to storage.folder "
            f"{str(folder)!r}. Give the study another name, or name the folder it was begun in."
        )


class MlflowTracker:
    """A tracker that writes to MLflow, through one thread and one queue.

    Attributes:
        experiment_id: The experiment that holds the study.
        run_id: The study's own run.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, study: str, run_id: str) -> None:
        self.experiment_id = experiment_id
        self.run_id = run_id
        self._client = client
        self._study = study
        self._run_ids: dict[int, str] = {}
        self._next_epochs: dict[int, int] = {}
        self._copies = tempfile.TemporaryDirectory(prefix="lookback-")
        self._forwarder = Forwarder()

    def start_trial(self, number: int) -> None:
        """Open the run of a trial, or go on with the one that it has."""
        time_ms = now_ms()
        self._send(f"start of trial {number}", lambda: self._start_trial(number, time_ms))

    def log_built(self, number: int, built: CandidateBuilt) -> None:
        """Record the parameters, the size of the model and what the space clipped."""
        params = as_params(built.parameters)
        metrics = as_metrics({"parameter_count": built.parameter_count}, now_ms())
        words = {"targets": built.targets_hash, "notes": "\n".join(built.notes)}
        tags = as_tags({name: word for name, word in words.items() if word})
        self._send(
            f"parameters of trial {number}",
            lambda: self._client.log_batch(self._trial_run(number), metrics, params, tags),
        )

    def log_epoch(self, number: int, report: EpochReport) -> None:
        """Record one epoch in one batch, unless the run holds that epoch already.

        Values that are not finite are left out, and named in the tag ``not_finite``.
        """
        values = {**report.metrics, "objective": report.best, "epoch_seconds": report.seconds}
        metrics = as_metrics(values, now_ms(), report.epoch)
        left_out = [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]
        named = f"epoch {report.epoch}: {', '.join(left_out)}"
        tags = as_tags({"not_finite": named} if left_out else {})

        def deliver() -> None:
            run_id = self._trial_run(number)
            if report.epoch >= self._next_epochs[number]:
                self._client.log_batch(run_id, metrics, tags=tags)
                self._next_epochs[number] = report.epoch + 1

        self._send(f"epoch {report.epoch} of trial {number}", deliver)

    def end_trial(self, number: int, ended: TrialEnded) -> None:
        """Record how a trial ended: outcome, value, best epoch, seconds, reason, traceback."""
        time_ms = now_ms()
        found = {"value": ended.value, "best_epoch": ended.best_epoch, "seconds": ended.seconds}
        known = {name: value for name, value in found.items() if value is not None}
        metrics = as_metrics(known, time_ms, ended.best_epoch or 0)
        outcome, reason = ended.outcome.value, ended.reason
        note = f"{outcome}: {reason}" if reason else outcome
        tags = as_tags({"outcome": outcome, "reason": reason, _NOTE: note})
        # Again, since a candidate that could not be built was never reported as built.
        params = as_params(ended.parameters)

        def deliver() -> None:
            run_id = self._trial_run(number)
            self._client.log_batch(run_id, metrics, params, tags)
            if ended.traceback:
                self._client.log_text(run_id, strip_colours(ended.traceback), "traceback.txt")
            self._client.set_terminated(run_id, STATUSES.get(ended.outcome, "FAILED"), time_ms)

        self._send(f"end of trial {number}", deliver)

    def log_baseline(self, name: str, scores: Mapping[str, float]) -> None:
        """Record what a naive predictor scores on the same targets, in a run of its own."""
        metrics = as_metrics(scores, now_ms())

        def deliver() -> None:
            run = self._open_run({KIND: "baseline", BASELINE: name}, name, now_ms())
            if run.info.status == "RUNNING":
                self._client.log_batch(run.info.run_id, metrics)
                self._client.set_terminated(run.info.run_id, "FINISHED")

        self._send(f"baseline {name}", deliver)

    def log_study(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> None:
        """Record the study's progress; ``description`` is Markdown and replaces the last one."""
        points = as_metrics(metrics or {}, now_ms())
        words = as_tags({**(tags or {}), **({_NOTE: description} if description else {})})
        self._send(
            "progress of the study",
            lambda: self._client.log_batch(self.run_id, points, tags=words),
        )

    def log_file(self, path: Path) -> None:
        """Keep a copy of a file with the study; the file may change once this has returned."""
        copy = Path(tempfile.mkdtemp(dir=self._copies.name)) / path.name
        shutil.copyfile(path, copy)
        self._send(f"file {path.name}", lambda: self._client.log_artifact(self.run_id, str(copy)))

    def close(self, status: str) -> None:
        """Wait until all has arrived, and end the study's run.

        Args:
            status: FINISHED, KILLED or FAILED.

        Raises:
            TrackingError: If something did not arrive; it says what.
        """
        time_ms = now_ms()
        self._send(
            "end of the study",
            lambda: self._client.set_terminated(self.run_id, status, time_ms),
        )
        lost = self._forwarder.close()
        self._copies.cleanup()
        if lost:
            raise TrackingError(_describe(lost))

    def _send(self, record: str, deliver: Callable[[], object]) -> None:
        def translated() -> None:
            try:
                deliver()
            except MlflowException as exc:
                reason = hide_credentials(str(exc).splitlines()[0])
                status: int = exc.get_http_status_code()  # type: ignore[no-untyped-call]
                raise (Refused if status in _REFUSALS else Unreachable)(reason) from None
            except OSError as exc:
                raise Unreachable(hide_credentials(str(exc))) from None

        self._forwarder.send(record, translated)

    def _start_trial(self, number: int, time_ms: int) -> None:
        tags = {KIND: "trial", TRIAL: f"{number:03d}"}
        run = self._open_run(tags, f"trial {number:03d}", time_ms)
        run_id = run.info.run_id
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        for name in {"outcome", "reason", _NOTE} & set(run.data.tags):
            self._client.delete_tag(run_id, name)
        # Every epoch has seconds, while an objective that is not finite is left out.
        points = self._client.get_metric_history(run_id, "epoch_seconds")
        self._next_epochs[number] = max((point.step for point in points), default=-1) + 1
        self._run_ids[number] = run_id

    def _trial_run(self, number: int) -> str:
        if number not in self._run_ids:
            raise Refused(f"trial {number} has no run.")
        return self._run_ids[number]

    def _open_run(self, tags: Mapping[str, str], name: str, time_ms: int) -> Run:
        """Find a nested run by its tags, or create it: a lost answer must not make a second one."""
        tags = {STUDY: self._study, **tags}
        runs = search_runs(self._client, [self.experiment_id], tags)
        if runs:
            return runs[0]
        tags = {**tags, "mlflow.parentRunId": self.run_id}
        return self._client.create_run(self.experiment_id, time_ms, tags, run_name=name)


def _describe(lost: tuple[Lost, ...]) -> str:
    named = ", ".join(item.record for item in lost[:_NAMED_LOSSES])
    more = ", ..." if lost[_NAMED_LOSSES:] else ""
    return (
        f"The tracking store must hold every record of the study: {len(lost)} did not arrive "
        f"({named}{more}), the first because {lost[0].reason.rstrip('.')}. "
        "Optuna's record of the study is whole."
    )
