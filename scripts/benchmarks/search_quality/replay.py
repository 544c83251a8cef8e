"""Who finds better candidates in fewer epochs: replay.py [--tasks T ...] [--seeds N] [--contenders C ...].

Learning curves that were really trained (curves.py) are replayed through the real driver, whose worker alone is
played: it asks for the space's hyperparameters and answers every epoch by a curve that a surrogate draws for them
(surrogates.py says how, and how well it predicts lines that were left out). KerasTuner's oracles and a plain Optuna loop get the same curves.
Lookback begins with the space's own defaults, as in life; "blind" it begins with values at random, as the others do.
Everybody spends the same epochs, one trial at a time; best so far is the trial that looks best, judged by what its
whole training reaches without a seed's luck. Prints, for each task, how many trials the budgets were enough for (medians); the median epochs
after which the best so far is as good as the median of random searches after --goal whole trainings, and how many times
fewer these are; the regret, on average over all epochs (the area under it) and after each budget (0: the best line of the
table; 1: the median line), with its 95 % bootstrap interval over seeds; and by what part of the table's range the best
of those that were pruned would have become better than the best of the others, on average.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as Drawing

from search.config import make_config
from search.driver.executors.base import Arrival
from search.driver.interrupts import Interrupt
from search.driver.loop import StudyLoop
from search.driver.pruners import EarlyPruner
from search.driver.requests import Room
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

sys.path.insert(0, str(Path(__file__).parent))
from surrogates import Surrogate, load_table

HERE = Path(__file__).parent
TASKS = tuple(sorted(path.name.partition(".")[0] for path in HERE.glob("*.csv.gz")))
Evaluation: TypeAlias = tuple[int, float, float, bool]
"""Epochs that an evaluation took, the value that it showed, what a whole training reaches, and whether
it was pruned."""
POINTS = 200
"""Of the axis of epochs at which regrets are compared."""
DRAWS = 2000
"""Of the bootstrap."""


class Nobody:
    """Hears everything and says nothing: tracker and view of a replay."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return what takes anything."""
        return lambda *_, **__: None


class PlayedWorker:
    """An executor of one worker that plays curves."""

    slots = 1

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate
        self._trained: Counter[int] = Counter()
        self._listing = surrogate.table.listing
        self._arrivals: deque[Arrival] = deque()
        self.replace(0)
        self._heard: Any = None
        self._play: Iterator[Any] = iter(())

    def send(self, slot: int, message: Any) -> None:
        """Take an order or an answer, and play on."""
        self._heard = message
        if isinstance(message, TrainTrial):
            self._play = self._train(message.seed)
        if isinstance(message, TrainTrial | Answer | Verdict):
            for said in self._play:
                self._arrivals.append((slot, said))
                if isinstance(said, Question | EpochReport):
                    break

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        """Hand out what was said."""
        said = list(self._arrivals)
        self._arrivals.clear()
        return said

    def prepare(self, slot: int) -> None:
        """Start nothing: who plays does not grow."""

    def replace(self, slot: int) -> None:
        """Come up again."""
        ready = WorkerReady(pid=slot, versions={}, device="played")
        self._arrivals.append((slot, ready))

    def _train(self, seed: int) -> Iterator[Any]:
        values = {}
        for one in self._listing:
            yield Question(name=one.name, domain=one.domain, default=one.default)
            values[one.name] = self._heard.value
        # A trial that continues another has its seed.
        curve, first = self._surrogate.curve(values, seed), self._trained[seed]
        yield CandidateBuilt(parameters=values, parameter_count=1, epochs=first)
        outcome, reason = Outcome.COMPLETE, ""
        for epoch, best in enumerate(curve[first:], first):
            self._trained[seed] = epoch + 1
            yield EpochReport(epoch=epoch, metrics={}, objective=best, best=best, seconds=1.0)
            if self._heard.outcome is not None:
                outcome, reason = self._heard.outcome, self._heard.reason
                break
        yield TrialEnded(
            outcome=outcome,
            value=best,
            best_epoch=epoch,
            epochs=epoch + 1,
            parameters=values,
            seconds=epoch + 1.0,
            reason=reason,
        )


def run_ours(
    surrogate: Surrogate, seed: int, budget: int, *, blind: bool = False, **sections: Any
) -> list[Evaluation]:
    """Run a study by the real driver; blind, if trial 0 has values at random in place of the space's own."""
    metric = {"maximize": "accuracy", "minimize": "log_loss"}[surrogate.table.direction]
    config = make_config(
        {
            "name": f"replay{seed}",
            "seed": seed,
            "objective": {"metric": metric},
            "training": {"max_epochs": surrogate.table.epochs},
            "budget": {"trials": budget, "max_epochs": budget},
            **sections,
        }
    )
    storage = optuna.storages.InMemoryStorage()
    trials = Trials(storage=storage, config=config, direction=surrogate.table.direction)
    listing = surrogate.table.listing
    if blind:
        drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask(
            dict(surrogate.table.distributions)
        )
        listing = tuple(replace(one, default=drawn.params[one.name]) for one in listing)
    trials.begin(listing)
    executor: Any = PlayedWorker(surrogate)
    nobody: Any = Nobody()
    room = Room(
        config=config,
        executor=executor,
        view=nobody,
        interrupt=Interrupt(),
        start=time.monotonic(),
    )
    StudyLoop(room, trials, nobody, ready=set(), baseline=None).run()
    rows = [row for _, row in sorted(trials.rows.items())]
    gone = {row.continues for row in rows}
    return [
        (
            row.own_epochs,
            row.value or 0.0,
            surrogate.quality(row.parameters),
            row.outcome is Outcome.PRUNED and row.number not in gone,
        )
        for row in rows
    ]


def run_optuna(
    surrogate: Surrogate,
    seed: int,
    budget: int,
    *,
    sampler: type[optuna.samplers.BaseSampler] = optuna.samplers.TPESampler,
    pruner: optuna.pruners.BasePruner | None = None,
    first: bool = False,
) -> list[Evaluation]:
    """Loop by hand over a study of Optuna's own, whose defaults are TPE and the median pruner.

    Where ``first`` is true, the space's own values are enqueued, as who knows Optuna well would do.
    """
    table = surrogate.table
    study = optuna.create_study(
        sampler=sampler(seed=seed),  # type: ignore[call-arg]  # of those that have one
        pruner=pruner,
        direction=table.direction,
    )
    if first:
        study.enqueue_trial(dict(table.defaults))
    found: list[Evaluation] = []
    while sum(epochs for epochs, *_ in found) < budget:
        trial = study.ask(dict(table.distributions))
        curve = surrogate.curve(trial.params, hash((seed, trial.number)) % 2**32)
        pruned = False
        for epoch, best in enumerate(curve):
            trial.report(best, epoch)
            if pruned := trial.should_prune():
                break
        state = optuna.trial.TrialState.PRUNED if pruned else None
        study.tell(trial, None if pruned else best, state)
        found.append((epoch + 1, best, surrogate.quality(trial.params), pruned))
    return found


def run_keras_tuner(surrogate: Surrogate, seed: int, budget: int, name: str) -> list[Evaluation]:
    """Ask one of KerasTuner's oracles, as its tuners do."""
    import keras_tuner  # noqa: PLC0415
    from keras_tuner import oracles  # noqa: PLC0415

    table = surrogate.table
    space = keras_tuner.HyperParameters()
    for one in table.listing:
        ask_keras_tuner(space, one)
    common = {
        "objective": keras_tuner.Objective("value", table.direction[:3]),
        "hyperparameters": space,
        "seed": seed + 1,  # it takes 0 for none
    }
    if name == "hyperband":
        oracle = oracles.HyperbandOracle(
            max_epochs=table.epochs, hyperband_iterations=budget, **common
        )
    else:
        kinds = {
            "random": oracles.RandomSearchOracle,
            "bayesian": oracles.BayesianOptimizationOracle,
        }
        oracle = kinds[name](max_trials=budget, **common)
    oracle.verbose = 0
    found: list[Evaluation] = []
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        oracle._set_project_dir(folder, "oracle")
        while sum(epochs for epochs, *_ in found) < budget:
            trial = oracle.create_trial("tuner")
            if trial.status != "RUNNING":
                break
            given = trial.hyperparameters.values
            values = {name: given[name] for name in table.distributions}
            # A trial of a later round goes on from an earlier one, with its seed, and pays for what it adds.
            first = given.get("tuner/trial_id", trial.trial_id)
            begun, ends = (
                given.get("tuner/initial_epoch", 0),
                given.get("tuner/epochs", table.epochs),
            )
            while (before := oracle.trials[first].hyperparameters.values).get("tuner/trial_id"):
                first = before["tuner/trial_id"]
            curve = surrogate.curve(values, hash((seed, int(first))) % 2**32)[:ends]
            oracle.update_trial(trial.trial_id, {"value": curve[-1]})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
            found.append((ends - begun, curve[-1], surrogate.quality(values), ends < table.epochs))
    return found


def ask_keras_tuner(space: Any, one: Any) -> None:
    """Register what a candidate asks for."""
    domain = one.domain
    match type(domain).__name__:
        case "ChoiceDomain":
            if set(domain.values) == {True, False}:
                space.Boolean(one.name, default=one.default)
            else:
                space.Choice(one.name, list(domain.values), default=one.default)
        case "IntDomain":
            scale = {"sampling": "log"} if domain.log else {"step": domain.step}
            space.Int(one.name, domain.low, domain.high, default=one.default, **scale)
        case _:
            scale = {"sampling": "log"} if domain.log else {"step": domain.step}
            space.Float(one.name, domain.low, domain.high, default=one.default, **scale)


def ours(**sections: Any) -> Callable[[Surrogate, int, int], list[Evaluation]]:
    """Make a contender of the driver's, with other settings than the defaults."""
    return lambda surrogate, seed, budget: run_ours(surrogate, seed, budget, **sections)


def tuner(name: str) -> Callable[[Surrogate, int, int], list[Evaluation]]:
    """Make a contender of KerasTuner's."""
    return lambda surrogate, seed, budget: run_keras_tuner(surrogate, seed, budget, name)


def loop(**parts: Any) -> Callable[[Surrogate, int, int], list[Evaluation]]:
    """Make a contender of a loop over Optuna's trials."""
    return lambda surrogate, seed, budget: run_optuna(surrogate, seed, budget, **parts)


RANDOM, NEVER = optuna.samplers.RandomSampler, optuna.pruners.NopPruner()
CONTENDERS: Mapping[str, Callable[[Surrogate, int, int], list[Evaluation]]] = {
    "random": loop(sampler=RANDOM, pruner=NEVER),
    "random, best quarter at epoch 3": loop(sampler=RANDOM, pruner=EarlyPruner(3, 0.25)),
    "KerasTuner RandomSearch": tuner("random"),
    "KerasTuner BayesianOptimization": tuner("bayesian"),
    "KerasTuner Hyperband": tuner("hyperband"),
    "Optuna's defaults": loop(),
    "Optuna's defaults, from the space's own values": loop(first=True),
    "Lookback": ours(),
    "Lookback, blind": ours(blind=True),
    "Lookback, random": ours(sampler={"name": "random"}),
    "Lookback, nothing pruned": ours(pruner={"name": "none"}),
    "Lookback, best quarter at epoch 3": ours(pruner={"name": "early", "keep": 0.25}),
    "Lookback, best tenth at epoch 3": ours(pruner={"name": "early"}),
    "Lookback, best tenth at epoch 3, blind": ours(blind=True, pruner={"name": "early"}),
    "Lookback, best tenth at epoch 3, second chances": ours(
        pruner={"name": "early", "second_chances": True}
    ),
    "Lookback, a twentieth immune": ours(pruner={"immune": 0.05}),
    "Lookback, one parameter at a time": ours(sampler={"settings": {"multivariate": False}}),
    "Lookback, judged from epoch 1": ours(pruner={"epoch": 1}),
    "Lookback, judged from epoch 3": ours(pruner={"epoch": 3}),
    "Lookback, judged after 3 trials": ours(
        pruner={"settings": {"n_startup_trials": 3, "n_min_trials": 3}}
    ),
    "Lookback, suggested after 5 trials": ours(sampler={"settings": {"n_startup_trials": 5}}),
    "Lookback, successive halving from 1 by 4": ours(pruner={"name": "successive_halving"}),
    "Lookback, Hyperband from 1 by 3": ours(
        pruner={"name": "hyperband", "epoch": 1, "keep": 1 / 3}
    ),
    "Lookback, CMA-ES": ours(sampler={"name": "cmaes"}),
}
SLOW = {"KerasTuner BayesianOptimization": 10}
"""Contenders whose studies take minutes: one seed in so many."""


@cache
def make_surrogate(task: str) -> Surrogate:
    """Learn a task's surrogate once a process."""
    return Surrogate(load_table(task))


@dataclass(frozen=True, kw_only=True)
class Played:
    """A study that was played.

    Attributes:
        best: The quality of its best so far at every point of the budget, of shape (points,).
        ends: The epochs that were spent when each trial ended.
        lost: How much better the best of those that were pruned would have become than the best of the others.
    """

    best: list[float]
    ends: list[int]
    lost: float


def play(task: str, name: str, seed: int, budget: int) -> Played:
    """Run one study, for as many epochs as ``budget`` whole trainings take."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    surrogate = make_surrogate(task)
    evaluations = CONTENDERS[name](surrogate, seed, budget * surrogate.table.epochs)
    sign = 1.0 if surrogate.table.direction == "maximize" else -1.0
    spent, shown, reached = 0, -np.inf, np.nan
    steps = []
    for epochs, value, quality, _ in evaluations:
        spent += epochs
        if sign * value > shown:
            shown, reached = sign * value, quality
        steps.append((spent, reached))
    axis = np.linspace(0, budget * surrogate.table.epochs, POINTS + 1)[1:]
    ends = np.array([spent for spent, _ in steps])
    places = np.searchsorted(ends, axis, side="right") - 1
    best = [steps[place][1] if place >= 0 else np.nan for place in places]
    lost = [sign * quality for *_, quality, pruned in evaluations if pruned]
    whole = [sign * quality for *_, quality, pruned in evaluations if not pruned]
    return Played(
        best=best,
        ends=[spent for spent, _ in steps],
        lost=max(0.0, max(lost, default=-np.inf) - max(whole, default=np.inf)),
    )


def compare(
    studies: Mapping[str, Sequence[Played]],
    surrogate: Surrogate,
    budgets: Sequence[int],
    goal: tuple[int, Any],
) -> list[list[str]]:
    """Work out one task's lines.

    Args:
        studies: By contender, one a seed.
        surrogate: The task's.
        budgets: Whole trainings, rising; the last is what the studies had.
        goal: Whole trainings of the random searches to compare with, and what each found, of shape
            (seeds,).

    Returns:
        A row of words a contender.
    """
    table = surrogate.table
    axis = np.linspace(0, budgets[-1] * table.epochs, POINTS + 1)[1:]
    after = [np.searchsorted(axis, budget * table.epochs) for budget in budgets]
    sign = 1.0 if table.direction == "maximize" else -1.0
    qualities = sign * np.array([surrogate.quality(values) for values in table.parameters])
    best, usual = qualities.max(), np.median(qualities)
    target = np.median(sign * goal[1])
    rng = np.random.default_rng(0)
    rows, whole = [], goal[0] * table.epochs
    for name, played in studies.items():
        own = np.array([one.best for one in played])
        good = np.where(np.isnan(own), -np.inf, sign * own)
        spans = np.where(
            (good >= target).any(axis=1), axis[np.argmax(good >= target, axis=1)], np.inf
        )
        regret = (best - np.where(np.isneginf(good), usual, good)) / (best - usual)
        ends = [np.array(one.ends) for one in played]
        trials = [
            np.median([(one <= budget * table.epochs).sum() for one in ends]) for budget in budgets
        ]
        draws = np.median(rng.choice(spans, (DRAWS, len(spans))), axis=1)
        low, high = whole / np.quantile(draws, (0.975, 0.025), method="inverted_cdf")
        rows.append(
            [
                name,
                str(len(own)),
                ", ".join(f"{count:.0f}" for count in trials),
                f"{np.median(spans):,.0f}",
                f"{whole / np.median(spans):.1f} [{low:.1f}, {high:.1f}]",
                write_mean(regret.mean(axis=1), rng),
                *(write_mean(regret[:, point], rng) for point in after),
                f"{100 * np.mean([one.lost for one in played]) / np.ptp(qualities):.1f} %",
            ]
        )
    return rows


def write_mean(values: Any, rng: np.random.Generator) -> str:
    """Write a mean with its 95 % bootstrap interval."""
    draws = rng.choice(values, (DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> int:
    """Replay, and print a table a task."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=sorted(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument(
        "--budgets",
        nargs="+",
        type=int,
        default=[7, 20, 60],
        help="whole trainings, rising: the studies have the last, and are looked at after each",
    )
    parser.add_argument(
        "--goal", type=int, default=100, help="whole trainings of the random search to reach"
    )
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [
        one for one in CONTENDERS if one in (arguments.contenders or CONTENDERS) or one == "random"
    ]
    jobs = [
        (task, name, seed, arguments.budgets[-1])
        for task in arguments.tasks
        for name in chosen
        for seed in range(max(1, arguments.seeds // SLOW.get(name, 1)))
    ]
    goals = [
        (task, "random", seed, arguments.goal)
        for task in arguments.tasks
        for seed in range(arguments.seeds)
    ]
    studies: dict[str, dict[str, list[Played]]] = {task: {} for task in arguments.tasks}
    found: dict[str, list[float]] = {task: [] for task in arguments.tasks}
    with ProcessPoolExecutor(arguments.workers) as pool:
        for (task, *_), one in zip(goals, pool.map(play, *zip(*goals, strict=True)), strict=True):
            found[task].append(one.best[-1])
        played = pool.map(play, *zip(*jobs, strict=True))
        for done, ((task, name, *_), one) in enumerate(zip(jobs, played, strict=True), 1):
            studies[task].setdefault(name, []).append(one)
            if done % 50 == 0:
                print(f"{done} of {len(jobs)} studies", file=sys.stderr, flush=True)
    console = Console(width=220)
    for task, own in studies.items():
        surrogate = make_surrogate(task)
        console.print(f"{task}: {surrogate.describe()}.", soft_wrap=True)
        drawing = Drawing(box=None, pad_edge=False)
        heads = (
            "",
            "seeds",
            "trials",
            "epochs to random's end",
            "times fewer",
            "mean regret",
            *(f"regret after {budget}" for budget in arguments.budgets),
            "lost by pruning",
        )
        for head in heads:
            drawing.add_column(head, justify="right" if head else "left")
        goal = arguments.goal, np.array(found[task])
        for row in compare(own, surrogate, arguments.budgets, goal):
            drawing.add_row(*row)
        console.print(drawing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
