"""After the search the best trials are trained again, and the best mean is the winner."""

import math
import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from search.config import StudyConfig
from search.data.preparation import prepare_data
from search.data.sequences import SequenceData
from search.data.splits import DRAWN
from search.driver.costs import predict_again
from search.driver.decision import Decision, Repeat, Scores, choose_members, decide
from search.driver.intervals import Mean
from search.driver.leaderboard import TrialRow, write_study
from search.driver.loop import StudyLoop
from search.driver.optimization import draw_seed, repeat_seed
from search.driver.progress import View, write_seconds
from search.driver.tracking.tracker import Tracker
from search.driver.trials import Trials, weights_folder
from search.errors import DataError
from search.messages import (
    EpochReport,
    Member,
    Outcome,
    RepeatTrial,
    ScoreMembers,
    TrialEnded,
    TrialScored,
)
from search.tasks import Task


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """The targets that one repeat of every finalist is trained and scored on."""

    place: Path
    naive: Scores
    overlap: float
    targets: str


def find_winner(
    trials: Trials,
    tracker: Tracker,
    loop: StudyLoop,
    task: Task,
    own: tuple[SequenceData, Path],
    view: View,
) -> None:
    """Train the best trials and the defaults again, and note which has the best mean.

    What an earlier launch trained is not trained again.

    Args:
        trials: The study's trials, none running.
        tracker: Where every training becomes a run.
        loop: Has workers that wait.
        task: Scores the naive baselines.
        own: The study's own data, and their folder.
        view: What the person sees.

    Raises:
        KeyboardInterrupt: If the person asked to stop meanwhile; what was trained is noted.
        WorkerBug: If a worker cannot.
    """
    config = trials.config
    finalists = trials.finalists
    if trials.winner is not None or not finalists:
        # a driver that died here may have left it
        shutil.rmtree(_repeats_folder(config), ignore_errors=True)
        return
    several = config.winner.members > 1
    done = {
        (one.number, one.repeat)
        for one in _read_repeats(trials)
        # the mean of several is scored by the weights of each
        if one.value is None or not several or Path(one.weights).is_file()
    }
    missing = list_missing(finalists, config.winner.repeats, done)
    place = _repeats_folder(config)
    needed = range(config.winner.repeats) if several else sorted({number for _, number in missing})
    sides = {number: _make_sides(trials, number, place, task, own) for number in needed}
    if missing:
        view.say(
            f"Training {len(finalists)} trials {config.winner.repeats} times again: trials "
            f"{', '.join(str(row.number) for row in finalists)}."
        )
        place.mkdir(parents=True, exist_ok=True)
        _Finals(trials, tracker, loop, view, missing, sides).run()
    repeats = _read_repeats(trials)
    members = choose_members(finalists, repeats, trials.direction, config)
    together = _score_together(trials, loop, members, sides) if len(members) > 1 else []
    metric = config.objective.metric
    decision = decide(finalists, repeats, trials.direction, config, together)
    view.say(decision.sentence)
    mean = decision.together or decision.means.get(str(decision.trial))
    table = write_study(trials.leaders, metric)
    tracker.log_study(
        metrics=_list_metrics(decision, mean),
        tags={"decision": decision.sentence},
        description=f"{decision.sentence}\n\n{table}",
    )
    # Only now: a launch that finds this note decides nothing again, and tells MLflow nothing.
    trials.note("winner", asdict(decision))
    shutil.rmtree(place, ignore_errors=True)


def list_missing(
    finalists: Sequence[TrialRow], repeats: int, done: Container[tuple[int, int]]
) -> list[tuple[TrialRow, int]]:
    """List the trainings that are still to be done.

    Args:
        finalists: The trials that are trained again.
        repeats: How often each.
        done: Number and repeat of those that are done.

    Returns:
        Trial and repeat, the longest first: at the end no worker waits long for another's.
    """
    missing = [
        (row, repeat)
        for repeat in range(repeats)
        for row in finalists
        if (row.number, repeat) not in done
    ]
    return sorted(missing, key=lambda one: -predict_again(one[0], one[0].as_member().epochs))


def _list_metrics(decision: Decision, mean: Mean | None) -> dict[str, float]:
    """List what is known of the winner, each with the ends of its interval."""
    means = {
        "winner_mean": mean,
        "winner_over_default": decision.default,
        "winner_over_naive": decision.naive,
    }
    ends = {
        f"{name}{end}": value
        for name, found in means.items()
        if found is not None
        for end, value in (("", found.value), ("_low", found.low), ("_high", found.high))
    }
    return {
        name: value
        for name, value in {"winner_gap": decision.gap, **ends}.items()
        if math.isfinite(value)
    }


def _repeats_folder(config: StudyConfig) -> Path:
    """Name the folder that the finalists' data and weights are kept in until the winner is known."""
    return weights_folder(config) / "repeats"


def _read_repeats(trials: Trials) -> list[Repeat]:
    return [Repeat(**one) for one in trials.notes.get("repeats", [])]


def _score_together(
    trials: Trials,
    loop: StudyLoop,
    members: Mapping[int, Sequence[Repeat]],
    sides: Mapping[int, _Sides],
) -> list[float]:
    """Score the mean prediction of the members in each repeat, on its validation side."""
    orders = [
        ScoreMembers(
            members=tuple(
                Member(
                    number=one.number,
                    parameters=trials.rows[one.number].parameters,
                    seed=one.seed,
                    weights=one.weights,
                    epochs=one.epochs,
                )
                for one in trainings
            ),
            side="validation",
            data=sides[number].place,
        )
        for number, trainings in enumerate(zip(*members.values(), strict=True))
    ]
    metric = trials.config.objective.metric
    replies = loop.ask(orders, TrialScored, "Scoring the members' mean")
    return [scored.metrics[metric] for scored in replies]


def draw_sides(config: StudyConfig, repeat: int, draws: Path) -> tuple[SequenceData, Path] | None:
    """Prepare the data of one repeat, with a validation side of its own where one can be drawn.

    Args:
        config: The study.
        repeat: Which repeat, from 0.
        draws: Where to keep what is prepared.

    Returns:
        The data and their folder; ``None`` where the repeat has the study's own sides.
    """
    if config.split.method not in DRAWN:
        return None
    seed = draw_seed(config.seed, repeat)
    try:
        return prepare_data(config, config.storage.folder.resolve() / "data", draw=(seed, draws))
    except DataError:  # a draw without some class, say: the study's own sides are none such
        return None


def _make_sides(
    trials: Trials, repeat: int, draws: Path, task: Task, own: tuple[SequenceData, Path]
) -> _Sides:
    """Prepare what the finalists of one repeat are trained and scored on."""
    config, metric = trials.config, trials.config.objective.metric
    known = {name: scores[metric] for name, scores in trials.notes["baselines"].items()}
    searched = own[0].targets_hash("validation")
    same = _Sides(place=own[1], naive=known, overlap=0.0, targets=searched)
    drawn = draw_sides(config, repeat, draws)
    if drawn is None:
        return same
    data, place = drawn
    targets = data.targets_hash("validation")
    if targets == searched:
        return same
    try:
        naive = {one.name: one.validation[metric] for one in task.baselines(data)}
    except DataError:  # no window without an anomalous row, say
        return same
    if all(map(math.isnan, naive.values())):  # nobody has a score there: no anomaly, say
        return same
    return _Sides(
        place=place,
        naive=naive,
        overlap=len(data.ends["validation"]) / len(data.ends["train"]),
        targets=targets,
    )


class _Finals:
    """Carries out the trainings that are missing, and keeps what came of each at once."""

    def __init__(
        self,
        trials: Trials,
        tracker: Tracker,
        loop: StudyLoop,
        view: View,
        missing: Sequence[tuple[TrialRow, int]],
        sides: Mapping[int, _Sides],
    ) -> None:
        self._trials = trials
        self._tracker = tracker
        self._loop = loop
        self._view = view
        self._missing = missing
        self._sides = sides
        self._curves: list[list[EpochReport]] = [[] for _ in missing]
        self._done = 0

    def run(self) -> None:
        """Train them all."""
        config = self._trials.config
        place = _repeats_folder(config) if config.winner.members > 1 else None
        orders = [
            RepeatTrial(
                number=row.number,
                parameters=row.parameters,
                seed=repeat_seed(config.seed, row.number, repeat),
                data=self._sides[repeat].place,
                epochs=row.as_member().epochs,
                weights=place and place / f"trial_{row.number:05d}_{repeat}.npz",
            )
            for row, repeat in self._missing
        ]
        self._loop.ask(orders, TrialEnded, "Training the best again", self._hear)

    def _hear(self, place: int, message: EpochReport | TrialEnded) -> None:
        if isinstance(message, EpochReport):
            curve = self._curves[place]
            del curve[message.epoch :]  # a worker that died began again
            curve.append(message)
            return
        row, number = self._missing[place]
        sides = self._sides[number]
        repeat = Repeat(
            number=row.number,
            repeat=number,
            seed=repeat_seed(self._trials.config.seed, row.number, number),
            outcome=message.outcome,
            value=message.value if message.outcome is Outcome.COMPLETE else None,
            epochs=message.epochs,
            metrics=message.metrics,
            seconds=message.seconds,
            reason=message.reason,
            naive=sides.naive,
            overlap=sides.overlap,
            targets=sides.targets,
            weights=message.weights,
        )
        self._tracker.log_repeat(repeat, message, self._curves[place])
        others = [
            asdict(one)
            for one in _read_repeats(self._trials)
            if (one.number, one.repeat) != (row.number, number)
        ]
        self._trials.note("repeats", [*others, asdict(repeat)])
        self._done += 1
        self._say(repeat, row)

    def _say(self, repeat: Repeat, row: TrialRow) -> None:
        metric = self._trials.config.objective.metric
        score = str(repeat.outcome) if repeat.value is None else f"{repeat.value:.4f}"
        self._view.say(
            f"trial {repeat.number} again, training {repeat.repeat + 1} | {metric} {score}, in the "
            f"search {row.value:.4f} | {repeat.epochs} epochs in {write_seconds(repeat.seconds)} "
            f"| {self._done}/{len(self._missing)}"
        )
