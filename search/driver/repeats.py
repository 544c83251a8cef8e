"""After the search the best trials are trained again, and the best mean is the winner."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from search.data.preparation import prepare_data
from search.data.sequences import SequenceData
from search.data.splits import DRAWN
from search.driver.decision import Repeat, Scores, decide
from search.driver.leaderboard import TrialRow, write_study
from search.driver.loop import StudyLoop
from search.driver.optimization import draw_seed, repeat_seed
from search.driver.progress import View, write_seconds
from search.driver.tracking.tracker import Tracker
from search.driver.trials import Trials, weights_folder
from search.errors import DataError
from search.messages import EpochReport, Outcome, RepeatTrial, TrialEnded
from search.tasks import Task


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """The targets that one repeat of every finalist is trained and scored on."""

    place: Path
    naive: Scores
    overlap: float


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
        return
    done = {(one["number"], one["repeat"]): one for one in trials.notes.get("repeats", [])}
    missing = [
        (row, repeat)
        for repeat in range(config.winner.repeats)
        for row in finalists
        if (row.number, repeat) not in done
    ]
    if missing:
        view.say(
            f"Training {len(finalists)} trials {config.winner.repeats} times again: trials "
            f"{', '.join(str(row.number) for row in finalists)}."
        )
        draws = weights_folder(config) / "draws"
        sides = {
            repeat: _draw_sides(trials, repeat, draws, task, own)
            for repeat in sorted({repeat for _, repeat in missing})
        }
        _Finals(trials, tracker, loop, view, missing, sides).run()
        shutil.rmtree(draws, ignore_errors=True)
    repeats = [Repeat(**one) for one in trials.notes["repeats"]]
    decision = decide(finalists, repeats, trials.direction, config)
    trials.note("winner", asdict(decision))
    view.say(decision.sentence)
    mean = decision.means.get(str(decision.trial))
    table = write_study(trials.rows.values(), trials.direction, config.objective.metric)
    tracker.log_study(
        metrics={"winner_mean": mean.value} if mean else {},
        tags={"decision": decision.sentence},
        description=f"{decision.sentence}\n\n{table}",
    )


def _draw_sides(
    trials: Trials, repeat: int, draws: Path, task: Task, own: tuple[SequenceData, Path]
) -> _Sides:
    """Prepare the data of one repeat: with a validation side of its own where one can be drawn."""
    config, metric = trials.config, trials.config.objective.metric
    known = {name: scores[metric] for name, scores in trials.notes["baselines"].items()}
    same = _Sides(place=own[1], naive=known, overlap=0.0)
    if config.split.method not in DRAWN:
        return same
    try:
        data, place = prepare_data(
            config,
            config.storage.folder.resolve() / "data",
            draw=(draw_seed(config.seed, repeat), draws),
        )
    except DataError:  # a draw without some class, say: the study's own sides are none such
        return same
    if data.targets_hash("validation") == own[0].targets_hash("validation"):
        return same
    return _Sides(
        place=place,
        naive={one.name: one.validation[metric] for one in task.baselines(data)},
        overlap=len(data.ends["validation"]) / len(data.ends["train"]),
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
        seed = self._trials.config.seed
        orders = [
            RepeatTrial(
                number=row.number,
                parameters=row.parameters,
                seed=repeat_seed(seed, row.number, repeat),
                data=self._sides[repeat].place,
            )
            for row, repeat in self._missing
        ]
        self._loop.ask(orders, TrialEnded, self._hear)

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
            best_epoch=message.best_epoch,
            epochs=message.epochs,
            metrics=message.metrics,
            seconds=message.seconds,
            reason=message.reason,
            naive=sides.naive,
            overlap=sides.overlap,
        )
        self._tracker.log_repeat(row.number, number, message, self._curves[place])
        self._trials.note("repeats", [*self._trials.notes.get("repeats", []), asdict(repeat)])
        self._done += 1
        self._say(repeat, row)

    def _say(self, repeat: Repeat, row: TrialRow) -> None:
        metric = self._trials.config.objective.metric
        score = str(repeat.outcome) if repeat.value is None else f"{repeat.value:.4f}"
        self._view.say(
            f"trial {repeat.number} again, seed {repeat.repeat + 1} | {metric} {score}, in the "
            f"search {row.value:.4f} | {repeat.epochs} epochs in {write_seconds(repeat.seconds)} "
            f"| {self._done}/{len(self._missing)}"
        )
