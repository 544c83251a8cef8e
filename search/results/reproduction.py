"""A trial is trained again from what MLflow alone knows of it, and the two curves are compared."""

import json
import shutil
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from search.config import StudyConfig, make_config
from search.data.preparation import prepare_data
from search.driver.executors.devices import choose_slots, find_backend
from search.driver.executors.processes import ProcessExecutor
from search.driver.folders import refuse_links
from search.driver.interrupts import watch_interrupts
from search.driver.optimization import repeat_seed, trial_seed
from search.driver.progress import View
from search.driver.provenance import describe_study
from search.driver.repeats import draw_sides
from search.driver.requests import Room, ask_workers, list_space
from search.driver.tracking.records import choose_environment
from search.driver.tracking.store import (
    CONTINUES,
    KIND,
    PARAMETERS,
    REPEAT,
    STUDY,
    TRIAL,
    open_client,
    search_runs,
    store_uri,
    translate_errors,
)
from search.errors import StudyError
from search.messages import (
    EpochReport,
    Outcome,
    Parameters,
    RefitTrial,
    RepeatTrial,
    TrialEnded,
    Verdict,
    WorkerSetup,
)

SAME = 1e-6
"""Curves that differ by no more are the same: they are kept as they were, in double precision."""
NO_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says where there is no such run."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A trial's curve, as it was recorded and as it came out again.

    Attributes:
        metric: The objective's name; of a refit, ``train_loss``.
        recorded: Its value after each epoch, of shape (epochs,).
        again: Likewise; shorter where training ended earlier this time.
        changed: What is not as it was then, by name: before and now.
        reason: Why training ended early this time, or empty.
    """

    metric: str
    recorded: Sequence[float]
    again: Sequence[float]
    changed: Mapping[str, tuple[str, str]]
    reason: str = ""

    @property
    def difference(self) -> float:
        """The largest difference between the two curves; infinity where one ended earlier."""
        if len(self.recorded) != len(self.again):
            return float("inf")
        return max(abs(a - b) for a, b in zip(self.recorded, self.again, strict=True))

    @property
    def same(self) -> bool:
        """Whether the two curves are the same."""
        return self.difference <= SAME


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """What MLflow knows of one training, whose ``kind`` is trial, repeat or refit.

    ``curve`` is of ``metric``, by its name in MLflow. A repeat has ``epochs`` that it was to train for, and the hash of the ``targets`` that scored it. ``began`` is the
    trial that it continues, whose seed it has, or itself. ``environment`` is what it ran on last, by the
    names of the tags.
    """

    kind: str
    config: StudyConfig
    study: Run
    environment: Mapping[str, str]
    number: int
    began: int
    metric: str
    repeat: int | None
    targets: str
    parameters: Parameters
    curve: Sequence[float]
    epochs: int | None


def reproduce_trial(run_id: str, *, folder: Path, uri: str | None, view: View) -> Reproduction:
    """Train a trial, one of its repeats or its refit again from what MLflow knows of it.

    It is trained for as many epochs as were recorded: by one of as many workers as shared the machine
    where they were processes, else by one that has all of it.

    Args:
        run_id: The run of a trial, of a repeat, or of a refit, whose curve is the training loss.
        folder: The storage folder; prepared data are found or made there.
        uri: Address of the MLflow store; ``None`` for the folder's own.
        view: What the person sees.

    Returns:
        Both curves.

    Raises:
        ConfigError: If the study was begun by a version whose settings are others.
        DataError: If the data cannot be read any more.
        StudyError: If there is no such run, it is none of a trial, it has no epoch, or the data are
            not those that it was trained on.
        TrackingError: If the store cannot be opened; ServiceAway if it is a server that does not answer.
        WorkerBug: If a worker cannot.
    """
    address = store_uri(uri, folder)
    with translate_errors(address):
        recorded = _find(open_client(address), run_id)
    folder = folder.resolve()
    refuse_links(folder)
    storage = recorded.config.storage.model_copy(update={"folder": folder})
    config = recorded.config.model_copy(update={"storage": storage})
    find_backend()
    with ExitStack() as stack:
        view = stack.enter_context(view)
        interrupt = stack.enter_context(watch_interrupts())
        data, place = prepare_data(config, folder / "data", view.show_reading)
        then = recorded.study.data.tags.get("data.fingerprint", "")
        if data.card.fingerprint != then:
            raise StudyError(
                f"The data must be those of the trial. Received: fingerprint="
                f"{data.card.fingerprint[:16]!r}, trained on {then[:16]!r}. Restore the files that "
                f"the study names."
            )
        work = folder / "reproductions" / run_id
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        if recorded.repeat is not None:
            drawn = draw_sides(config, recorded.repeat, work)
            # on a side that could not be used the finalists were trained on the study's own
            if drawn and drawn[0].targets_hash("validation") == recorded.targets:
                place = drawn[1]
        work.mkdir(parents=True, exist_ok=True)
        # Ray's workers had each what the cluster gave it, the inline one this machine.
        shared = config.workers.executor == "processes"
        executor = ProcessExecutor(choose_slots(config.workers.count) if shared else 1)
        stack.callback(executor.stop)
        executor.start(WorkerSetup(config=config, data=place, weights=work, log=work / "log"))
        room = Room(
            config=config, executor=executor, view=view, interrupt=interrupt, start=time.monotonic()
        )
        _, ready = list_space(room)
        seed = trial_seed(config.seed, recorded.began)
        if recorded.repeat is not None:
            seed = repeat_seed(config.seed, recorded.number, recorded.repeat)
        order = _order(recorded, seed, place)
        metric, again = recorded.metric.removeprefix("val_"), list[float]()

        def hear(number: int, message: EpochReport | TrialEnded) -> Verdict | None:
            if not isinstance(message, EpochReport):
                return None
            del again[message.epoch :]
            again.append(message.metrics[recorded.metric])
            before = recorded.curve[message.epoch]
            view.say(
                f"epoch {message.epoch + 1} of {len(recorded.curve)} | {metric} "
                f"{again[-1]:.6f}, then {before:.6f}"
            )
            enough = len(again) == len(recorded.curve) and recorded.kind != "refit"
            return Verdict(outcome=Outcome.PRUNED, reason="all was trained") if enough else None

        (ended,) = ask_workers(room, set(ready), [order], TrialEnded, "Training again", hear)
        tags = describe_study(config, "", data.card, next(iter(ready.values())))
    before = recorded.environment
    return Reproduction(
        metric=metric,
        recorded=recorded.curve,
        again=again,
        changed={
            name: (before.get(name, "unknown"), now)
            for name, now in choose_environment(tags).items()
            if before.get(name, "unknown") != now
        },
        reason=ended.reason if len(again) < len(recorded.curve) else "",
    )


def _order(recorded: _Recorded, seed: int, data: Path) -> RepeatTrial | RefitTrial:
    """Order the training that was recorded."""
    if recorded.kind == "refit":
        return RefitTrial(
            number=recorded.number,
            parameters=recorded.parameters,
            seed=seed,
            epochs=len(recorded.curve),
        )
    return RepeatTrial(
        number=recorded.number,
        parameters=recorded.parameters,
        seed=seed,
        data=data,
        epochs=recorded.epochs,
    )


def _read_study(client: MlflowClient, run_id: str, name: str) -> StudyConfig:
    """Read the settings that a study was launched with from the files of its run."""
    path = client.download_artifacts(run_id, f"{name}.toml")
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as exc:
        raise StudyError(
            f"The study's run must hold its study file whole: {exc}. Received: {name}.toml of the "
            f"run {run_id!r}."
        ) from None
    return make_config(settings)


def _find(client: MlflowClient, run_id: str) -> _Recorded:
    """Read all that is known of a training from MLflow.

    Raises:
        StudyError: If it is not a training of ours, or has no epoch.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as exc:
        if exc.error_code not in NO_RUN:
            raise
        raise StudyError(
            f"RUN must be the id of a run of this store. Received: {run_id!r}. It stands on the run's "
            f"page in the MLflow UI."
        ) from None
    tags = run.data.tags
    if tags.get(KIND) not in ("trial", "repeat", "refit"):
        raise StudyError(
            f"RUN must be a trial's run, or that of a training after the search. Received: {run_id!r}, "
            f"which is {tags.get(KIND, 'another program')!r}."
        )
    study = client.get_run(tags["mlflow.parentRunId"])
    trial = run if tags[KIND] == "trial" else _find_trial(client, run, tags[TRIAL])
    first = trial.data.tags.get(CONTINUES, tags[TRIAL])
    config = _read_study(client, study.info.run_id, tags[STUDY])
    # A refit leaves no target to score it by.
    metric = "train_loss" if tags[KIND] == "refit" else f"val_{config.objective.metric}"
    points = client.get_metric_history(run_id, metric)
    if tags[KIND] == "trial" and first != tags[TRIAL]:
        before = _find_trial(client, run, first)
        points = [*client.get_metric_history(before.info.run_id, metric), *points]
    by_epoch = {point.step: point.value for point in points}
    if PARAMETERS not in trial.data.tags or not by_epoch:
        raise StudyError(
            f"RUN must have trained for an epoch. Received: {run_id!r}, whose outcome is "
            f"{tags.get('outcome', 'running')}."
        )
    return _Recorded(
        kind=tags[KIND],
        config=config,
        study=study,
        # A run whose beginning did not arrive has none of its own: the study's is its last launch's.
        environment={**choose_environment(study.data.tags), **choose_environment(tags)},
        number=int(tags[TRIAL]),
        began=int(first),
        metric=metric,
        repeat=int(tags[REPEAT]) if REPEAT in tags else None,
        targets=tags.get("targets", ""),
        parameters=json.loads(trial.data.tags[PARAMETERS]),
        curve=[by_epoch[step] for step in sorted(by_epoch)],
        epochs=int(trial.data.metrics["best_epoch"]) + 1 if REPEAT in tags else None,
    )


def _find_trial(client: MlflowClient, run: Run, trial: str) -> Run:
    """Find the run of a trial of the study that a run belongs to."""
    wanted = {KIND: "trial", STUDY: run.data.tags[STUDY], TRIAL: trial}
    found = search_runs(client, [run.info.experiment_id], wanted)
    if len(found) != 1:
        raise StudyError(
            f"RUN must be the training of a trial that has one run in this store. Received: "
            f"{run.info.run_id!r}, of trial {trial}, which has {len(found)}."
        )
    return found[0]
