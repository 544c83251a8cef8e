"""A study and its trials become MLflow runs: a parent, and a nested run for each trial."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from search.config import TrackingConfig
from search.disk import wait_for_room
from search.driver.decision import Repeat
from search.driver.leaderboard import PALETTE, TrialRow
from search.driver.promotion import Promotion
from search.driver.tracking.forwarder import (
    MORE,
    PATIENCE_SECONDS,
    Forwarder,
    Lost,
    Refused,
    Unreachable,
)
from search.driver.tracking.records import (
    as_metrics,
    as_params,
    as_tags,
    choose_environment,
    list_datasets,
    now_ms,
    strip_colours,
)
from search.driver.tracking.spool import Record, Spool, spool_path
from search.driver.tracking.store import (
    BASELINE,
    CONTINUES,
    KIND,
    LOOK,
    PARAMETERS,
    REPEAT,
    STUDY,
    TRIAL,
    make_store,
    open_experiment,
    search_runs,
    sqlite_path,
    store_uri,
    translate_errors,
)
from search.errors import ServiceAway, TrackingError, hide_credentials
from search.messages import CandidateBuilt, EpochReport, Outcome, Parameters, TrialEnded

STATUSES = {
    Outcome.COMPLETE: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
}
"""MLflow's status of a trial's run; every other outcome is FAILED."""

ENDED = frozenset(Outcome) - {Outcome.INTERRUPTED}
_NOTE = "mlflow.note.content"
_REFUSALS = (400, 404, 409)
_NO_MLFLOW = "ENDPOINT_NOT_FOUND"
"""A proxy's answer while the server behind it is down, with a status of ``_REFUSALS``."""
_TRIES = 3
"""Times that an artifact is sent to a store that takes everything else."""
_NAMED_LOSSES = 5
_COLOUR = "mlflow.runColor"
_LONGEST_TAG = 5000
_LARGEST_BATCH = 1000
_MIB = 2**20


def ready_store(config: TrackingConfig, folder: Path) -> None:
    """Make the store where it is a file that is missing, which takes seconds.

    Args:
        config: As for ``open_tracker``.
        folder: The storage folder.

    Raises:
        TrackingError: If the file cannot be written.
    """
    path = sqlite_path(store_uri(config.uri, folder))
    if path is not None:
        make_store(path)


def open_tracker(
    *,
    study: str,
    config: TrackingConfig,
    folder: Path,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    say: Callable[[str], None],
) -> "MlflowTracker":
    """Open a study's run, or continue it; what an earlier launch could not deliver goes first.

    Args:
        study: The study's name.
        config: Where it is kept; an experiment that is missing is made.
        folder: The storage folder, which keeps the artifacts unless a server does.
        tags: Tags of the study's run; those that say what it runs on go to the run of each training too.
        params: Parameters of the study's run. MLflow lets none be changed: where a continued
            study has another value, the tag ``now.<name>`` holds it.

        say: Told when a record waits for room on the disk, and when there is room again.

    Returns:
        A tracker whose study is RUNNING.

    Raises:
        TrackingError: If the store cannot be opened; ServiceAway if it is a server that does not answer.
    """
    ready_store(config, folder)
    address = store_uri(config.uri, folder)
    with translate_errors(address):
        client = MlflowClient(address)
        experiment_id = open_experiment(client, config.project, address, folder)
        runs = search_runs(client, [experiment_id], {KIND: "study", STUDY: study})
        words = {KIND: "study", STUDY: study, **tags}
        run = (
            _keep_one(client, runs)
            if runs
            else client.create_run(experiment_id, tags=words, run_name=study)
        )
        held = run.data.params
        changed = {f"now.{k}": v for k, v in params.items() if k in held and held[k] != v}
        new = as_params({name: value for name, value in params.items() if name not in held})
        client.log_batch(run.info.run_id, params=new, tags=as_tags({**words, **changed}))
        client.log_inputs(run.info.run_id, datasets=list_datasets(tags, params))
    spool = Spool(spool_path(folder, study), config.max_spool_mb * _MIB)
    return MlflowTracker(client, study, run, spool, say, choose_environment(tags))


def check_name(*, study: str, config: TrackingConfig, folder: Path) -> None:
    """Check that a new study takes over no other's runs, as on a server that several people use.

    Args:
        study: The study's name.
        config: As for ``open_tracker``.
        folder: The storage folder.

    Raises:
        TrackingError: If the store cannot be opened, or holds a study of that name; ServiceAway if it is a
            server that does not answer.
    """
    address = store_uri(config.uri, folder)
    path = sqlite_path(address)
    if path is not None and not path.is_file():
        return
    with translate_errors(address):
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name(config.project)
        ids = [experiment.experiment_id] if experiment else []
        taken = bool(ids) and bool(search_runs(client, ids, {KIND: "study", STUDY: study}))
    if taken:
        raise TrackingError(
            f"name must be new to the tracking store, which holds another study of that "
            f"name in {config.project!r}. Received: name={study!r}, unknown to storage.folder "
            f"{str(folder)!r}. Give the study another name, or name the folder it was begun in."
        )


class MlflowTracker:
    """A tracker that writes to MLflow: every record is on disk first, and one thread delivers.

    Attributes:
        experiment_id: The experiment that holds the study.
        run_id: The study's own run.
    """

    def __init__(
        self,
        client: MlflowClient,
        study: str,
        run: Run,
        spool: Spool,
        say: Callable[[str], None],
        environment: Mapping[str, str],
    ) -> None:
        self.experiment_id = run.info.experiment_id
        self.run_id = run.info.run_id
        self._client = client
        self._study = study
        self._say = say
        # Goes with each record: what waits for the store is delivered by another launch.
        self._environment = dict(environment)
        self._run_ids: dict[int, str] = {}
        self._next_epochs: dict[int, int] = {}
        self._begun: set[int] | None = None
        self._new: set[int] = set()
        self._held: dict[int, dict[str, str]] = {}
        self._not_taken = 0
        self._spool = spool
        self._forwarder = Forwarder(spool, self._deliver)
        self._send("status", status="RUNNING")

    def start_trial(self, number: int, promotion: Promotion | None = None) -> None:
        """Open the run of a trial, or go on with the one that it has.

        A trial that nobody can have begun before is not looked for: that is half of its calls.
        """
        if self._begun is not None and number not in self._begun:
            self._begun.add(number)
            self._new.add(number)
        told = promotion and asdict(promotion)
        self._send("start", number=number, promotion=told, environment=self._environment)

    def log_built(self, number: int, built: CandidateBuilt) -> None:
        """Record the parameters, the size of the model and what the space clipped."""
        self._send("built", number=number, built=asdict(built))

    def log_epoch(self, number: int, report: EpochReport) -> None:
        """Record one epoch in one batch, unless the run holds that epoch already.

        Values that are not finite are left out, and named in the tag ``not_finite``.
        """
        self._send("epoch", number=number, report=asdict(report))

    def end_trial(self, number: int, ended: TrialEnded) -> None:
        """Record how a trial ended: outcome, value, best epoch, seconds, reason, traceback."""
        self._send("end", number=number, ended=asdict(ended))

    def reconcile(self, rows: Iterable[TrialRow]) -> None:
        """Take in what was begun, and repair runs whose end a driver noted in Optuna alone and died."""
        listed = list(rows)
        self._begun = {row.number for row in listed}
        known = [asdict(row) for row in listed if row.outcome in ENDED]
        if known:
            self._send("rows", rows=known)

    def log_repeat(self, repeat: Repeat, ended: TrialEnded, curve: Sequence[EpochReport]) -> None:
        """Record one training of a complete trial's candidate after the search, in its own run."""
        what = {"number": repeat.number, "repeat": repeat.repeat, "targets": repeat.targets}
        self._send("repeat", **what, **self._describe_training(ended, curve))

    def log_refit(
        self, number: int, look: int, ended: TrialEnded, curve: Sequence[EpochReport]
    ) -> None:
        """Record the training that a look at the test targets is for, in its own run."""
        self._send("refit", number=number, look=look, **self._describe_training(ended, curve))

    def _describe_training(
        self, ended: TrialEnded, curve: Sequence[EpochReport]
    ) -> dict[str, object]:
        reports = [asdict(report) for report in curve]
        return {"ended": asdict(ended), "curve": reports, "environment": self._environment}

    def log_baseline(self, name: str, scores: Mapping[str, float]) -> None:
        """Record what a naive predictor scores on the same targets, in a run of its own."""
        self._send("baseline", name=name, scores=dict(scores))

    def log_study(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> None:
        """Record the study's progress; ``description`` is Markdown and replaces the last one."""
        words = {**(tags or {}), **({_NOTE: description} if description else {})}
        self._send("study", metrics=dict(metrics or {}), tags=words)

    def log_text(self, name: str, text: str) -> None:
        """Keep a text file with the study."""
        self._send("text", name=name, text=text)

    def close(self, status: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until all has arrived, and end the study's run.

        Args:
            status: FINISHED, KILLED or FAILED.
            patience_seconds: How long to wait for a store that is away, in seconds.

        Raises:
            ServiceAway: If something waits for the store to be back; it says what, and where.
            TrackingError: If something will never arrive.
        """
        self._send("status", status=status)
        lost = self._forwarder.close(patience_seconds)
        if lost:
            passes = any(item.kept for item in lost)
            raise (ServiceAway if passes else TrackingError)(_describe(lost, self._spool.path))

    def _send(self, kind: str, **what: Any) -> None:
        record = {"kind": kind, "time_ms": now_ms(), **what}
        wait_for_room(
            lambda: self._forwarder.send(record), place=self._spool.path.parent, say=self._say
        )

    def _deliver(self, record: Record) -> None:
        """Hand one record to MLflow; a second time changes nothing.

        Points carry the time of their record: MLflow keeps one of equal points.
        """
        try:
            getattr(self, f"_deliver_{record['kind']}")(record)
        except MlflowException as exc:
            reason = hide_credentials(str(exc).splitlines()[0])
            status: int = exc.get_http_status_code()  # type: ignore[no-untyped-call]
            refused = status in _REFUSALS and exc.error_code != _NO_MLFLOW
            raise (Refused if refused else Unreachable)(reason) from None
        except OSError as exc:
            raise Unreachable(hide_credentials(str(exc))) from None

    def _deliver_status(self, record: Record) -> None:
        if record["status"] == "RUNNING":
            self._client.update_run(self.run_id, status="RUNNING")
        else:
            self._client.set_terminated(self.run_id, record["status"], record["time_ms"])

    def _deliver_start(self, record: Record) -> None:
        number, time_ms = record["number"], record["time_ms"]
        tags, name = {KIND: "trial", TRIAL: f"{number:03d}"}, f"trial {number:03d}"
        if record["promotion"]:
            told = record["promotion"]
            words = {"promotion": told["reason"], CONTINUES: f"{told['number']:03d}"}
        else:
            words = {}
        words |= record.get("environment", {})  # an earlier version's record has none
        if number in self._new:
            self._new.discard(number)  # if the answer is lost, it is looked for
            run = self._create_run({**tags, **words}, name, time_ms)
            self._held[number], self._next_epochs[number] = {}, 0
        else:
            run = self._open_run(tags, name, time_ms, words)
            self._go_on(run, words)
        self._run_ids[number] = run.info.run_id

    def _go_on(self, run: Run, words: Mapping[str, str]) -> None:
        """Let a run that may have ended before be that of a running trial."""
        new = {name: word for name, word in words.items() if run.data.tags.get(name) != word}
        if new:
            self._client.log_batch(run.info.run_id, tags=as_tags(new))
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
        for name in {"outcome", "reason", _NOTE} & set(run.data.tags):
            self._client.delete_tag(run.info.run_id, name)

    def _deliver_built(self, record: Record) -> None:
        number, built = record["number"], record["built"]
        run_id, held = self._trial_run(number), self._find_held(number)
        params, changed = _split_params(built["parameters"], held)
        # Hyperparameters come with it, and MLflow keeps all of a metric's values.
        counted = {} if held else {"parameter_count": built["parameter_count"]}
        metrics = as_metrics(counted, record["time_ms"])
        words = {
            "targets": built["targets_hash"],
            "notes": "\n".join(built["notes"]),
        }
        words |= _type_parameters(built["parameters"]) | changed
        tags = as_tags({name: word for name, word in words.items() if word})
        self._client.log_batch(run_id, metrics, params, tags)
        self._note_held(number, params)

    def _deliver_epoch(self, record: Record) -> None:
        number = record["number"]
        run_id, known = self._trial_run(number), self._next_epoch(number)
        points: list[Metric] = []
        left_out: list[str] = []
        for one in (record, *record.get(MORE, ())):
            report, epoch = one["report"], one["report"]["epoch"]
            if epoch < known:
                continue
            values = {
                **report["metrics"],
                "objective": report["best"],
                "epoch_seconds": report["seconds"],
            }
            points += as_metrics(values, one["time_ms"], epoch)
            lost = [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]
            left_out += [f"epoch {epoch}: {', '.join(lost)}"] if lost else []
            known = epoch + 1
        if points:
            tags = as_tags({"not_finite": left_out[-1]} if left_out else {})
            self._client.log_batch(run_id, points, tags=tags)
            self._next_epochs[number] = known

    def _deliver_end(self, record: Record) -> None:
        ended, time_ms = TrialEnded(**record["ended"]), record["time_ms"]
        number = record["number"]
        self._end_run(self._trial_run(number), ended, time_ms, self._find_held(number))
        self._held.pop(number, None)

    def _deliver_rows(self, record: Record) -> None:
        tags = {KIND: "trial", STUDY: self._study}
        runs = search_runs(self._client, [self.experiment_id], tags)
        same: dict[str, list[Run]] = {}
        for run in runs:
            same.setdefault(run.data.tags[TRIAL], []).append(run)
        held = {number: _keep_one(self._client, own) for number, own in same.items()}
        for row in record["rows"]:
            number = f"{row['number']:03d}"
            opened = {KIND: "trial", TRIAL: number}
            # One that is missing: its beginning did not arrive.
            run = held.get(number) or self._open_run(
                opened, f"trial {number}", record["time_ms"], {}
            )
            if run.data.tags.get("outcome") == row["outcome"]:
                continue
            kept = {name: row[name] for name in row.keys() & TrialEnded.__dataclass_fields__.keys()}
            ended, time_ms = TrialEnded(**kept), record["time_ms"]
            self._end_run(run.info.run_id, ended, time_ms, run.data.params)

    def _deliver_repeat(self, record: Record) -> None:
        number, repeat = record["number"], record["repeat"]
        tags = {KIND: "repeat", TRIAL: f"{number:03d}", REPEAT: str(repeat)}
        name = f"trial {number:03d} again, training {repeat + 1}"
        self._deliver_training(record, tags, name, {"targets": record["targets"]})

    def _deliver_refit(self, record: Record) -> None:
        number = record["number"]
        tags = {KIND: "refit", TRIAL: f"{number:03d}", LOOK: str(record["look"])}
        self._deliver_training(record, tags, f"trial {number:03d} on all but the test targets", {})

    def _deliver_training(
        self, record: Record, tags: Mapping[str, str], name: str, words: Mapping[str, str]
    ) -> None:
        """Keep a training that is over in a run of its own."""
        time_ms = record["time_ms"]
        run = self._open_run(tags, name, time_ms, record.get("environment", {}))
        if run.info.status == "RUNNING":
            points = [
                point
                for report in record["curve"]
                for point in as_metrics(
                    {**report["metrics"], "objective": report["best"]}, time_ms, report["epoch"]
                )
            ]
            for first in range(0, len(points), _LARGEST_BATCH):
                self._client.log_batch(run.info.run_id, points[first : first + _LARGEST_BATCH])
            self._client.log_batch(run.info.run_id, tags=as_tags(words))
            ended = TrialEnded(**record["ended"])
            self._end_run(run.info.run_id, ended, time_ms, run.data.params)

    def _deliver_baseline(self, record: Record) -> None:
        tags = {KIND: "baseline", BASELINE: record["name"]}
        run = self._open_run(tags, record["name"], record["time_ms"], {})
        if run.info.status == "RUNNING":
            metrics = as_metrics(record["scores"], record["time_ms"])
            self._client.log_batch(run.info.run_id, metrics)
            self._client.set_terminated(run.info.run_id, "FINISHED")

    def _deliver_study(self, record: Record) -> None:
        points = as_metrics(record["metrics"], record["time_ms"])
        self._client.log_batch(self.run_id, points, tags=as_tags(record["tags"]))

    def _deliver_text(self, record: Record) -> None:
        self._log_text(self.run_id, record["text"], record["name"])

    def _log_text(self, run_id: str, text: str, name: str) -> None:
        """Keep a text with a run; what the artifact store does not take must not hold up the rest.

        Raises:
            Refused: After a few tries, if the tracking store is there.
            Unreachable: Before that, so that it is tried again.
        """
        try:
            self._client.log_text(run_id, text, name)
        except Exception as exc:  # noqa: BLE001 - an artifact store raises the errors of its own library
            self._client.get_run(run_id)  # raises where the tracking store is away as well
            self._not_taken += 1
            reason = hide_credentials(f"{name} was not stored: {type(exc).__name__}: {exc}")
            if self._not_taken < _TRIES:
                raise Unreachable(reason) from None
            self._not_taken = 0
            raise Refused(reason) from None
        self._not_taken = 0

    def _end_run(
        self, run_id: str, ended: TrialEnded, time_ms: int, held: Mapping[str, str]
    ) -> None:
        found = {
            "value": ended.value,
            "best_epoch": ended.best_epoch,
            "seconds": ended.seconds,
            "latency_ms": ended.latency_ms,
            **{f"seconds/{what}": seconds for what, seconds in ended.spent.items()},
        }
        known = {name: value for name, value in found.items() if value is not None}
        # At a step that never falls: MLflow shows the value of the highest, and a trial that was
        # interrupted ends a second time.
        metrics = as_metrics(known, time_ms, ended.epochs)
        outcome = Outcome(ended.outcome)
        note = f"{outcome}: {ended.reason}" if ended.reason else outcome
        words = {"outcome": outcome, "reason": ended.reason, _NOTE: note, _COLOUR: PALETTE[outcome]}
        # Again, since a candidate that could not be built was never reported as built, and a fit of
        # its own may have asked for more.
        params, changed = _split_params(ended.parameters, held)
        tags = as_tags({**words, **changed, **_type_parameters(ended.parameters)})
        self._client.log_batch(run_id, metrics, params, tags)
        refused: Refused | None = None
        if ended.traceback:  # before its end, after which it would not be tried again
            try:
                self._log_text(run_id, strip_colours(ended.traceback), "traceback.txt")
            except Refused as exc:
                refused = exc
        self._client.set_terminated(run_id, STATUSES.get(outcome, "FAILED"), time_ms)
        if refused is not None:
            raise refused

    def _trial_run(self, number: int) -> str:
        """Find a trial's run: an earlier launch may have opened it."""
        if number not in self._run_ids:
            tags = {STUDY: self._study, KIND: "trial", TRIAL: f"{number:03d}"}
            runs = search_runs(self._client, [self.experiment_id], tags)
            if not runs:
                raise Refused(f"trial {number} has no run.")
            self._run_ids[number] = _keep_one(self._client, runs).info.run_id
        return self._run_ids[number]

    def _find_held(self, number: int) -> Mapping[str, str]:
        """List the hyperparameters that a trial's run has: of one that was made here that is known."""
        if number in self._held:
            return self._held[number]
        return self._client.get_run(self._trial_run(number)).data.params

    def _note_held(self, number: int, params: Sequence[Param]) -> None:
        if number in self._held:
            self._held[number].update((one.key, one.value) for one in params)

    def _next_epoch(self, number: int) -> int:
        if number not in self._next_epochs:
            # Every epoch has seconds, while an objective that is not finite is left out.
            points = self._client.get_metric_history(self._trial_run(number), "epoch_seconds")
            self._next_epochs[number] = max((point.step for point in points), default=-1) + 1
        return self._next_epochs[number]

    def _open_run(
        self, tags: Mapping[str, str], name: str, time_ms: int, words: Mapping[str, str]
    ) -> Run:
        """Find a nested run by its tags, or create it: a lost answer must not make a second one.

        One that is created has the ``words`` for tags too.
        """
        tags = {STUDY: self._study, **tags}
        runs = search_runs(self._client, [self.experiment_id], tags)
        if runs:
            return _keep_one(self._client, runs)
        return self._create_run({**tags, **words}, name, time_ms)

    def _create_run(self, tags: Mapping[str, str], name: str, time_ms: int) -> Run:
        tags = {STUDY: self._study, **tags, "mlflow.parentRunId": self.run_id}
        return self._client.create_run(self.experiment_id, time_ms, tags, run_name=name)


def _keep_one(client: MlflowClient, runs: Sequence[Run]) -> Run:
    """Choose one of runs that are one and the same, and delete the others where they are empty.

    A server that was slow to answer may have created a run after it was asked for again.
    """
    kept = max(runs, key=lambda run: (len(run.data.metrics), run.info.run_id))
    for run in runs:
        if run is not kept and not (run.data.metrics or run.data.params):
            client.delete_run(run.info.run_id)
    return kept


def _split_params(
    parameters: Parameters, held: Mapping[str, str]
) -> tuple[list[Param], dict[str, str]]:
    """Split hyperparameters into those that a run may still take and, as tags, those that differ.

    MLflow lets none be changed; a space that was edited may answer otherwise for a trial that goes on.
    """
    params = as_params(parameters)
    changed = {
        f"now.{one.key}": one.value for one in params if held.get(one.key, one.value) != one.value
    }
    return [one for one in params if one.key not in held], changed


def _describe(lost: tuple[Lost, ...], spool: Path) -> str:
    named = ", ".join(_name(item.record) for item in lost[:_NAMED_LOSSES])
    more = ", ..." if lost[_NAMED_LOSSES:] else ""
    kept = sum(item.kept for item in lost)
    waiting = (
        f"{kept} of them wait in {spool}: launch the study again when the store is back. "
        if kept
        else ""
    )
    return (
        f"The tracking store must hold every record of the study: {len(lost)} did not arrive "
        f"({named}{more}), the first because {lost[0].reason.rstrip('.')}. {waiting}"
        "Optuna's record of the study is whole."
    )


def _name(record: Record) -> str:
    """Name a record for the person who must know that it did not arrive."""
    trial = f"of trial {record.get('number')}"
    match record["kind"]:
        case "epoch":
            report = record.get("report")
            return f"epoch {report['epoch']} {trial}" if report else f"an epoch {trial}"
        case "start" | "end" | "repeat" | "refit" as kind:
            return f"{kind} {trial}"
        case "built":
            return f"parameters {trial}"
        case "baseline" | "text" as kind:
            return f"{kind} {record['name']}"
        case _:
            return "progress of the study"


def _type_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Write hyperparameters with their types, as a tag that a trial is reproduced from."""
    typed = json.dumps(parameters)
    if not parameters or len(typed) > _LONGEST_TAG:  # too long: it cannot be, and is told so
        return {}
    return {PARAMETERS: typed}
