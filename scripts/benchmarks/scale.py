"""What one driver can take: scale.py [--slots N ...] [--epochs N ...] [--trials N ...], with the extra 'cluster' and PostgreSQL installed.

Scripted workers, each of which plays a recorded learning curve and reports an epoch every --seconds, talk to the real driver, which keeps its study in a real
PostgreSQL and its runs on a real MLflow server, both of this machine. For each number of slots: how long a report waits for
its verdict once all slots have reported, what the driver's process and the database take of the processor, and how far MLflow is behind at
the end. Then, for each number of trials that a study has: how long it takes to read it, and to ask for one more trial.
"""

import argparse
import heapq
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psycopg
from rich.console import Console
from rich.table import Table

from search.config import StudyConfig, make_config
from search.driver.executors.base import Arrival
from search.driver.interrupts import Interrupt
from search.driver.loop import StudyLoop
from search.driver.mirror import MirroredStorage
from search.driver.optimization import ask_trial, suggest
from search.driver.postgres import open_postgres, postgres_lock
from search.driver.requests import Room
from search.driver.samplers import SharedSpace
from search.driver.tracking.mlflow_tracker import open_tracker
from search.driver.tracking.spool import spool_path
from search.driver.trials import Trials
from search.messages import (
    Answer,
    CandidateBuilt,
    EpochReport,
    Outcome,
    Question,
    TrainTrial,
    TrialEnded,
    Verdict,
    WorkerReady,
)

sys.path.insert(0, str(Path(__file__).parent / "search_quality"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
from services import Postgres, run_mlflow, run_postgres
from surrogates import load_table

EPOCHS = 20
TABLE = load_table("sensor")
"""Real curves, of which each trial plays one, and what a candidate asks for."""
LISTING = TABLE.listing
LATE = 0.99
PRUNED = 0.7
DRAWN = 500
"""Trials that are drawn; more are copies of these."""


class Nobody:
    """A view that shows nothing."""

    def __getattr__(self, name: str) -> Any:
        """Return what takes anything."""
        return lambda *_, **__: None


@dataclass
class _Slot:
    """A scripted worker: how far it is, and when it will have said its next word."""

    parameters: dict[str, Any] = field(default_factory=dict)
    curve: Sequence[float] = ()
    epoch: int = 0
    epochs: int = 0
    best: float = 0.0
    due: float = 0.0


class TimedExecutor:
    """Workers of a played cluster, which report at their own pace whatever the driver does."""

    def __init__(self, slots: int, seconds: float, epochs: int) -> None:
        self.slots = slots
        self._epochs = epochs
        self.waits: list[tuple[float, float]] = []
        self._seconds = seconds
        self._rng = np.random.default_rng(0)
        self._slots = [_Slot() for _ in range(slots)]
        self._turn = itertools.count()
        self._due: list[tuple[float, int, int, Any]] = []
        self.all_train: float | None = None
        self._training: set[int] = set()
        for slot in range(slots):
            self._say(slot, WorkerReady(pid=slot, versions={}, device="played"))

    def send(self, slot: int, message: Any) -> None:
        """Take an order, an answer or a verdict."""
        own = self._slots[slot]
        match message:
            case TrainTrial():
                curve = TABLE.curves[self._rng.integers(len(TABLE.curves))].tolist()
                self._slots[slot] = _Slot(curve=curve, due=time.monotonic(), epochs=self._epochs)
                self._go_on(slot)
            case Answer():
                own.parameters[LISTING[len(own.parameters)].name] = message.value
                self._go_on(slot)
            case Verdict():
                self.waits.append((own.due, time.monotonic() - own.due))
                self._training.add(slot)
                if len(self._training) == self.slots and self.all_train is None:
                    self.all_train = time.monotonic()
                own.epoch += 1
                if message.outcome is not None or own.epoch == own.epochs:
                    self._end(slot, message.outcome or Outcome.COMPLETE, message.reason)
                else:
                    self._report(slot)

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        """Wait for what is due."""
        now = time.monotonic()
        if self._due and self._due[0][0] > now:
            time.sleep(min(max_seconds, self._due[0][0] - now))
        elif not self._due:
            time.sleep(max_seconds)
        now, said = time.monotonic(), []
        while self._due and self._due[0][0] <= now:
            _, _, slot, message = heapq.heappop(self._due)
            said.append((slot, message))
        return said

    def prepare(self, slot: int) -> None:
        """Start nothing."""

    def replace(self, slot: int) -> None:
        """Come up again."""
        self._say(slot, WorkerReady(pid=slot, versions={}, device="played"))

    def _say(self, slot: int, message: Any, seconds: float = 0.0) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._turn), slot, message))

    def _go_on(self, slot: int) -> None:
        own = self._slots[slot]
        if len(own.parameters) < len(LISTING):
            one = LISTING[len(own.parameters)]
            self._say(slot, Question(name=one.name, domain=one.domain, default=one.default))
            return
        self._say(slot, CandidateBuilt(parameters=own.parameters, parameter_count=1))
        if slot not in self._training:  # so that trials end all the time, not all at once
            own.epochs = 1 + int(self._rng.integers(self._epochs))
        self._report(slot)

    def _report(self, slot: int) -> None:
        own = self._slots[slot]
        own.best = own.curve[own.epoch * len(own.curve) // self._epochs]
        # No two workers are in step for long.
        seconds = self._seconds * float(self._rng.uniform(0.5, 1.5))
        own.due = time.monotonic() + seconds
        metrics = dict.fromkeys(("val_accuracy", "val_log_loss", "train_loss"), own.best)
        self._say(
            slot,
            EpochReport(
                epoch=own.epoch,
                metrics=metrics,
                objective=own.best,
                best=own.best,
                seconds=seconds,
            ),
            seconds,
        )

    def _end(self, slot: int, outcome: Outcome, reason: str) -> None:
        own = self._slots[slot]
        self._say(
            slot,
            TrialEnded(
                outcome=outcome,
                value=own.best,
                best_epoch=own.epoch - 1,
                epochs=own.epoch,
                parameters=own.parameters,
                reason=reason,
            ),
        )


def configure(name: str, folder: Path, uri: str, epochs: int, **sections: Any) -> StudyConfig:
    """Describe a study whose trials nobody trains."""
    return make_config(
        {
            "name": name,
            "objective": {"metric": "accuracy"},
            "training": {"max_epochs": epochs},
            "storage": {"folder": folder, "uri": uri},
            **sections,
        }
    )


def processor_seconds(processes: Sequence[int]) -> float:
    """Say how long processes have had a processor, in seconds."""
    total = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def find_processes(words: bytes) -> list[int]:
    """Find the processes whose command line holds some words."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if words in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:  # it has just ended
            continue
    return found


def measure_slots(
    slots: int, epochs: int, seconds: float, span: float, postgres: Postgres, tracking: str
) -> list[str]:
    """Run a study of so many slots until all have trained for a while, and return a table's line."""
    with tempfile.TemporaryDirectory(prefix="scale-") as place, ExitStack() as stack:
        folder, name = Path(place), f"scale{slots}x{epochs}"
        uri = postgres.address("studies")
        sections = {"budget": {"trials": 10**6}, "tracking": {"uri": tracking}}
        config = configure(name, folder, uri, epochs, **sections)
        store = open_postgres(uri)
        stack.callback(store.engine.dispose)
        lock = stack.enter_context(postgres_lock(uri, name, 60))
        storage = MirroredStorage(store, place=folder, say=print, lock=lock)
        trials = Trials(storage=storage, config=config, direction="maximize")
        trials.begin(LISTING)
        tracker = open_tracker(
            study=name, config=config.tracking, folder=folder, tags={}, params={}, say=print
        )
        executor = TimedExecutor(slots, seconds, epochs)
        interrupt = Interrupt()
        began: dict[str, float] = {}

        class Clock(Nobody):
            """A view that ends the study in time."""

            def show(self, status: Any) -> None:
                if executor.all_train is None:
                    return
                if not began:
                    print(f"All report after {time.monotonic() - start:.0f} s.", file=sys.stderr)
                    began["own"] = processor_seconds([os.getpid()])
                    began["database"] = processor_seconds(find_processes(b"postgres"))
                    began["at"] = time.monotonic()
                if time.monotonic() - executor.all_train >= span and "left" not in began:
                    began["seconds"] = time.monotonic() - began["at"]
                    began["own"] = processor_seconds([os.getpid()]) - began["own"]
                    database = processor_seconds(find_processes(b"postgres"))
                    began["database"] = database - began["database"]
                    began["left"] = _count_waiting(folder, name)
                    interrupt.requested = True

        start = time.monotonic()
        room = Room(
            config=config,
            executor=executor,  # type: ignore[arg-type]  # it plays one
            view=Clock(),  # type: ignore[arg-type]
            interrupt=interrupt,
            start=start,
        )
        StudyLoop(room, trials, tracker, ready=set(), baseline=None).run()
        ended = time.monotonic()
        tracker.close("KILLED", 600.0)
        lag = time.monotonic() - ended
    since = executor.all_train or start
    waits = [wait for due, wait in executor.waits if since + seconds <= due <= since + span]
    return [
        f"{slots:,}",
        f"{epochs}",
        f"{len(waits) / (span - seconds):.1f}",
        f"{1e3 * statistics.median(waits):.0f}",
        f"{1e3 * float(np.quantile(waits, LATE)):.0f}",
        f"{1e3 * max(waits):.0f}",
        f"{since - start:.0f}",
        f"{100 * began['own'] / began['seconds']:.0f} %",
        f"{100 * began['database'] / began['seconds']:.0f} %",
        f"{began['left'] / 2**20:.1f}",
        f"{lag:.0f}",
    ]


def _count_waiting(folder: Path, name: str) -> int:
    """Say how much the spool holds, in bytes."""
    path = spool_path(folder, name)
    return path.stat().st_size if path.is_file() else 0


def add_trials(study: optuna.Study, count: int) -> None:
    """Add trials at random, of which about as many are pruned as in a study."""
    distributions = dict(TABLE.distributions)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rng = np.random.default_rng(0)
    for _ in range(count):
        trial = drawn.ask(distributions)
        pruned = rng.random() < PRUNED
        epochs = 1 + int(rng.integers(4)) if pruned else EPOCHS
        curve = np.maximum.accumulate(rng.beta(3, 4, epochs))
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.params,
                distributions=distributions,
                intermediate_values=dict(enumerate(map(float, curve))),
                value=None if pruned else float(curve[-1]),
                state=getattr(optuna.trial.TrialState, "PRUNED" if pruned else "COMPLETE"),
            )
        )


def copy_trials(uri: str, count: int) -> None:
    """Copy the trials of a database until it has as many as asked for: Optuna adds some tens a second."""
    with psycopg.connect(uri, autocommit=True) as database:
        have, first = database.execute("SELECT count(*), min(trial_id) FROM trials").fetchone()
        for turn in range(1, -(-count // have)):
            by, most = turn * have, first + min(have, count - turn * have)
            for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values"):
                found = database.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = %s "
                    "ORDER BY ordinal_position",
                    [table],
                ).fetchall()
                names = [name for (name,) in found]
                if table != "trials":
                    names.pop(0)  # each row's own key
                moved = [
                    f"{name} + {by}" if name in ("trial_id", "number") else name for name in names
                ]
                into, what = ", ".join(names), ", ".join(moved)
                rows = f"WHERE trial_id >= {first} AND trial_id < {most}"
                words = f"INSERT INTO {table} ({into}) SELECT {what} FROM {table} {rows}"  # noqa: S608 - ours
                database.execute(words)
        database.execute("SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials))")


def measure_asks(counts: Sequence[int], asks: int, postgres: Postgres) -> list[list[str]]:
    """Time how long it takes to read studies of so many trials, and to ask for more."""
    lines = []
    for count in counts:
        name = f"asks{count}"
        postgres.create(name)
        uri = postgres.address(name)
        config = configure("asks", Path("unused"), uri, EPOCHS)
        store = open_postgres(uri)
        study = optuna.create_study(storage=store, study_name="asks", direction="maximize")
        add_trials(study, min(count, DRAWN))
        copy_trials(uri, count)
        start = time.monotonic()
        mirror = MirroredStorage(store, place=Path(), say=print)
        study = optuna.load_study(study_name="asks", storage=mirror)
        read, held = time.monotonic() - start, len(study.get_trials(deepcopy=False))
        shared, times = SharedSpace(), []
        for _ in range(1 + asks):
            start = time.monotonic()
            trial = ask_trial(study, config.sampler, 0, shared)
            for one in LISTING:
                suggest(trial, one.name, one.domain)
            trial.report(0.0, 0)
            times.append(time.monotonic() - start)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        store.engine.dispose()
        usual, worst = statistics.median(times[1:]), max(times[1:])  # the first one loads libraries
        lines.append([f"{held:,}", f"{read:.1f}", f"{1e3 * usual:.0f}", f"{1e3 * worst:.0f}"])
        print(f"{count:,} trials: {lines[-1]}", file=sys.stderr, flush=True)
    return lines


def show(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right")
    for line in lines:
        table.add_row(*line)
    Console(width=200).print(table)


def main() -> int:
    """Measure both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--slots", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--epochs", type=int, nargs="+", default=[EPOCHS], help="of a whole trial")
    parser.add_argument("--seconds", type=float, default=10.0, help="between a worker's reports")
    parser.add_argument("--span", type=float, default=60.0, help="seconds that all slots train")
    parser.add_argument("--trials", type=int, nargs="*", default=[100, 1000, 3000, 10_000])
    parser.add_argument("--asks", type=int, default=20)
    arguments = parser.parse_args()
    with run_postgres() as postgres, tempfile.TemporaryDirectory(prefix="scale-") as artifacts:
        postgres.create("studies")
        os.environ.update(postgres.environment)
        with run_mlflow(postgres, Path(artifacts)) as server:
            os.environ.update(server.environment)
            lines = []
            for slots, epochs in itertools.product(arguments.slots, arguments.epochs):
                found = measure_slots(
                    slots, epochs, arguments.seconds, arguments.span, postgres, server.address
                )
                lines.append(found)
                print(f"{slots} slots, {epochs} epochs: {found}", file=sys.stderr, flush=True)
            heads = (
                "slots",
                "epochs",
                "reports a second",
                "wait, median, ms",
                "99th percentile",
                "longest",
            )
            heads += ("seconds until all have reported", "driver's processor", "PostgreSQL's")
            show((*heads, "spool at the end, MiB", "MLflow's lag, s"), lines)
        asks = measure_asks(arguments.trials, arguments.asks, postgres)
        show(("trials", "seconds to read", "ask, median, ms", "longest, ms"), asks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
