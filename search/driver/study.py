"""A study from opening to its end: what can be wrong is found before the first trial."""

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import tomli_w

from search.config import StudyConfig
from search.data.preparation import prepare_data
from search.data.sequences import SequenceData
from search.data.targets import sequence_lengths
from search.driver.examining import examine_finalists
from search.driver.executors.base import Executor
from search.driver.executors.devices import (
    choose_slots,
    find_backend,
    tell_unused_gpu,
    visible_gpus,
)
from search.driver.executors.inline import InlineExecutor
from search.driver.executors.memory import count_fitting, free_memory_mb
from search.driver.executors.processes import ProcessExecutor
from search.driver.executors.ray import RayExecutor
from search.driver.folders import log_path, make_folder
from search.driver.interrupts import watch_interrupts
from search.driver.leaderboard import TrialRow
from search.driver.lifelong import check_same, note_study
from search.driver.loop import Ending, StudyLoop
from search.driver.mirror import MirroredStorage
from search.driver.optimization import describe_queue
from search.driver.postgres import open_postgres, postgres_lock
from search.driver.progress import View, make_view
from search.driver.provenance import describe_study, dump_settings, flatten_settings
from search.driver.pruners import check_pruner
from search.driver.repeats import find_winner
from search.driver.requests import Room, list_space
from search.driver.samplers import check_sampler
from search.driver.storage import open_storage, study_lock
from search.driver.testing import look_at_test
from search.driver.tracking.spool import spool_path
from search.driver.tracking.tracker import Tracker
from search.driver.trials import Trials, weights_folder
from search.driver.warm_start import begin_trials, read_known
from search.errors import ConfigError, ServiceAway, TrackingError
from search.messages import SpaceListed, Table, WorkerReady, WorkerSetup
from search.tasks import Baseline, Direction, Task, make_task, objective_direction

HURRIED_SECONDS = 2.0
"""How long a launch that is to end at once waits for a tracking store that is away."""


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What a launch leaves.

    Attributes:
        config: The study.
        ending: Why the launch ended.
        direction: "maximize" or "minimize".
        rows: Every trial.
        leaders: The complete trials, best first.
        front: Those of which no other one is better in one objective and as good in all, where
            ``objective.also`` names some; else empty.
        winner: The trial that is exported; ``None`` if none is complete, or the best ones were not
            compared yet.
        decision: How it was chosen, as ``Decision``; empty where the search alone chose.
        baselines: The naive baselines' metrics on validation.
        test: The best trial's metrics on the test targets; empty if they were not looked at for
            it.
        test_baselines: The naive baselines' metrics on the test targets, likewise.
        test_tables: What the metrics do not say of the test targets, by name, likewise.
    """

    config: StudyConfig
    ending: Ending
    direction: str
    rows: Sequence[TrialRow]
    leaders: Sequence[TrialRow]
    front: Sequence[TrialRow]
    winner: TrialRow | None
    decision: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, float]]
    test: Mapping[str, float]
    test_baselines: Mapping[str, Mapping[str, float]]
    test_tables: Mapping[str, Table]


def run_study(config: StudyConfig, view: View | None = None) -> StudySummary:
    """Run a study to the end of its budget, or continue it.

    Args:
        config: The study; its name decides whether one is begun or continued.
        view: What the person sees; by default a live panel on a terminal, plain lines elsewhere.

    Returns:
        The trials, the best of them, and its one score on the test targets.

    Raises:
        ConfigError: If a setting is wrong, Keras's backend is not installed, or the space cannot
            build its default candidate.
        DataError: If the data cannot be read or do not fit the settings.
        StudyError: If another driver has the study, or it was begun with other settings.
        ServiceAway: If the study's database does not answer, or was away for too long; if the Ray cluster
            does not answer any more; if something waits for the tracking store to be back.
        TrackingError: If the tracking store cannot be opened, or refused something.
        StudyStopped: After too many failures in a row, or if workers do not come up.
        WorkerBug: If a worker failed by a mistake of ours.
        OSError: If a disk is full where nothing can wait for room.
        KeyboardInterrupt: After a second Ctrl-C, or one before the first trial.
    """
    start = time.monotonic()
    task = make_task(config)
    direction = objective_direction(task, config.objective)
    find_backend()
    check_sampler(config.sampler)
    check_pruner(config.pruner)
    folder = make_folder(config.storage.folder)
    with ExitStack() as stack:
        view = stack.enter_context(view or make_view())
        interrupt = stack.enter_context(watch_interrupts())
        wait = interrupt.watch_wait(view.say)
        stack.enter_context(study_lock(folder, config.name))
        view.say(f"Study {config.name}: preparing the data.")
        data, data_folder = prepare_data(config, folder / "data", view.show_reading)
        view.say(f"{data.card.description} {data.card.audit}")
        sequence_lengths(config.sequence_length, data.card.longest)
        if interrupt.requested:
            raise KeyboardInterrupt
        storage = _open_storage(config, folder, wait, stack)
        known = read_known(config.sampler, storage)
        finished = _find_finished(storage, config, direction, data.card.fingerprint)
        if finished is not None:
            view.say(
                f"Study {config.name} is finished: {finished.spent} is spent, and all trials have "
                f"ended. Raise it to go on."
            )
            _send_what_waits(config, folder, view, finished)
            return summarize(config, finished, Ending.FINISHED)
        setup = _make_setup(config, folder, data_folder)
        executor = _start_workers(config, config.workers.count, setup, stack)
        view.say(f"Starting {executor.slots} workers.")
        tracking = _load_tracking()
        tracking.ready_store(config.tracking, folder)  # while the workers come up
        baselines = task.baselines(data)
        naive = _best_naive(baselines, config.objective.metric, direction)
        room = Room(config=config, executor=executor, view=view, interrupt=interrupt, start=start)
        room, listed, ready = _list_space(room, setup, stack)
        here = config.workers.executor != "ray"
        gpu = tell_unused_gpu(next(iter(ready.values())).device) if here else ""
        queued = describe_queue(listed.listing, config.sampler.queue)
        for note in filter(None, (gpu, *listed.notes, *queued)):
            view.say(f"Note: {note}")
        if not storage.holds(config.name):
            tracking.check_name(study=config.name, config=config.tracking, folder=folder)
        # Before the study's run: a name that MLflow has and Optuna has not is another study's.
        trials = Trials(storage=storage, config=config, direction=direction)
        tracker: Tracker = tracking.open_tracker(
            study=config.name,
            config=config.tracking,
            folder=folder,
            tags=describe_study(config, direction, data.card, next(iter(ready.values()))),
            params=flatten_settings(config),
            say=wait,
        )
        with _closed_with_status(tracker) as endings:
            note_study(trials, tracker, config, data, baselines)
            tracker.log_text(f"{config.name}.toml", _write_study_file(config, folder / "studies"))
            for note in begin_trials(trials, known, listed.listing):
                view.say(f"Note: {note}")
            loop = StudyLoop(room, trials, tracker, ready=set(ready), baseline=naive)
            endings.append(loop.run())
            if Ending.FINISHED in endings:
                _finish(trials, tracker, loop, task, (data, data_folder), view)
        return summarize(config, trials, endings[0])


def _open_storage(
    config: StudyConfig, folder: Path, say: Callable[[str], None], stack: ExitStack
) -> MirroredStorage:
    """Open the store of studies; one on a server holds this study until the stack ends."""
    if config.storage.uri is None:
        return MirroredStorage(open_storage(folder), place=folder, say=say)
    store = open_postgres(config.storage.uri)
    stack.callback(store.engine.dispose)
    held = postgres_lock(config.storage.uri, config.name, config.storage.max_away_seconds)
    return MirroredStorage(store, place=folder, say=say, lock=stack.enter_context(held))


def summarize(config: StudyConfig, trials: Trials, ending: Ending) -> StudySummary:
    """Sum up what a study holds.

    Args:
        config: The study.
        trials: Its trials.
        ending: Why the launch ended.

    Returns:
        The summary.
    """
    test = trials.look
    return StudySummary(
        config=config,
        ending=ending,
        direction=trials.direction,
        rows=list(trials.rows.values()),
        leaders=trials.leaders,
        front=trials.front,
        winner=trials.winner,
        decision=trials.decision,
        baselines=trials.notes.get("baselines", {}),
        test=test.get("scores", {}),
        test_baselines=test.get("baselines", {}),
        test_tables=test.get("tables", {}),
    )


def _finish(
    trials: Trials,
    tracker: Tracker,
    loop: StudyLoop,
    task: Task,
    data: tuple[SequenceData, Path],
    view: View,
) -> None:
    """Find the winner of a search that is over, and look at the test targets."""
    view.say(f"The search is over: {trials.spent} is spent.")
    numbers = ", ".join(str(row.number) for row in trials.front)
    tracker.log_study(
        tags={"budget.spent": trials.spent, **({"front": numbers} if numbers else {})}
    )
    find_winner(trials, tracker, loop, task, data, view)
    examine_finalists(trials, loop)
    view.say("Looking at the test set, once.")
    look_at_test(trials, tracker, loop, task, data[0])


def _find_finished(
    storage: MirroredStorage, config: StudyConfig, direction: Direction, fingerprint: str
) -> Trials | None:
    """Check an earlier launch's study, and return it if nothing is left to do.

    Raises:
        StudyError: If it was begun with other settings or data.
    """
    if not storage.holds(config.name):
        return None
    trials = Trials(storage=storage, config=config, direction=direction)
    check_same(trials.notes, config, fingerprint)
    done = trials.spent and not trials.unfinished
    return trials if done and trials.look else None


def _best_naive(baselines: Sequence[Baseline], metric: str, direction: str) -> float:
    """Find the best naive score on validation.

    Raises:
        ConfigError: If the objective is undefined there, which every trial would find out.
    """
    choose = max if direction == "maximize" else min
    known = [one.validation[metric] for one in baselines if not math.isnan(one.validation[metric])]
    if not known:
        raise ConfigError(
            f"objective.metric must be defined on the validation targets. Received: "
            f"metric={metric!r}, which is undefined for every naive baseline, as where a side shows "
            f"one class alone. Write another metric, or change split.method or its borders."
        )
    return choose(known)


def _start_workers(
    config: StudyConfig, count: int | Literal["auto"], setup: WorkerSetup, stack: ExitStack
) -> Executor:
    """Start loading what workers need; they end with the stack."""
    executor: Executor = InlineExecutor()
    if config.workers.executor == "processes":
        executor = ProcessExecutor(choose_slots(count))
    elif config.workers.executor == "ray":
        executor = RayExecutor(count, config.cluster)
    stack.callback(executor.stop)
    executor.start(setup)
    return executor


def _list_space(
    room: Room, setup: WorkerSetup, stack: ExitStack
) -> tuple[Room, SpaceListed, dict[int, WorkerReady]]:
    """List the space, and leave no more workers than find room in this machine's memory."""
    listed, ready = list_space(room)
    slots = room.executor.slots
    workers = room.config.workers
    # Not on GPUs, where each worker has one or was asked to share it, and not where Ray knows of memory.
    if workers.count != "auto" or workers.executor != "processes" or visible_gpus():
        return room, listed, ready
    fitting = count_fitting(slots, listed.memory_mb, free_memory_mb())
    if fitting == slots:
        return room, listed, ready
    room.view.say(
        f"Starting {fitting} workers in place of {slots}: to train the default candidate takes about "
        f"{listed.memory_mb:,.0f} MiB. workers.count says how many, whatever they take."
    )
    room.executor.stop()
    room = replace(room, executor=_start_workers(room.config, fitting, setup, stack))
    return room, *list_space(room)


def _make_setup(config: StudyConfig, folder: Path, data: Path) -> WorkerSetup:
    weights = weights_folder(config)
    weights.mkdir(parents=True, exist_ok=True)
    log = log_path(folder, config.name)
    return WorkerSetup(config=config, data=data, weights=weights, log=log)


def _load_tracking() -> ModuleType:
    """Load MLflow, which takes seconds, while the workers come up."""
    return importlib.import_module("search.driver.tracking.mlflow_tracker")


def _send_what_waits(config: StudyConfig, folder: Path, view: View, trials: Trials) -> None:
    """Deliver what a finished study's last launch could not, and repair what it did not come to.

    Raises:
        ServiceAway: If the tracking store is still away.
    """
    if not spool_path(folder, config.name).is_file():
        return
    view.say("Sending what the tracking store has not taken yet.")
    tracker: Tracker = _load_tracking().open_tracker(
        study=config.name, config=config.tracking, folder=folder, tags={}, params={}, say=view.say
    )
    tracker.reconcile(trials.rows.values())
    tracker.close("FINISHED")


@contextmanager
def _closed_with_status(tracker: Tracker) -> Iterator[list[Ending]]:
    """Close the tracker with the status that fits how the launch ended."""
    endings: list[Ending] = []
    try:
        yield endings
    except BaseException as exc:
        # What the error says matters more than a record that did not arrive.
        with suppress(TrackingError, ServiceAway):
            if isinstance(exc, KeyboardInterrupt | ServiceAway):
                tracker.close("KILLED", HURRIED_SECONDS)
            else:
                tracker.close("FAILED")
        raise
    tracker.close("FINISHED" if Ending.FINISHED in endings else "KILLED")


def _write_study_file(config: StudyConfig, folder: Path) -> str:
    """Write the settings of this launch as a study file that can be launched.

    Aside first: who reads the study meanwhile finds its store by this file.
    """
    folder.mkdir(exist_ok=True)
    text = tomli_w.dumps(dump_settings(config))
    aside = folder / f"{config.name}.toml.unfinished"
    aside.write_text(text, encoding="utf-8")
    aside.replace(folder / f"{config.name}.toml")
    return text
