"""Which of the best trials won, by how much, and whether that is worth having."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from search.config import StudyConfig
from search.driver.intervals import Mean, find_mean
from search.driver.leaderboard import TrialRow
from search.driver.trials import DEFAULTS

Scores: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """One training of a complete trial's candidate after the search.

    Attributes:
        number: The trial's number.
        repeat: Which of its trainings, from 0; all trials' repeats of one number are scored on the
            same targets.
        seed: What it was trained with.
        outcome: What became of it.
        value: The objective at its best epoch, or ``None`` if it failed.
        best_epoch: From 0.
        epochs: How many epochs ended.
        metrics: The metrics of the best epoch.
        seconds: Time that it took, in seconds.
        reason: Why it ended, where the outcome needs a reason.
        naive: The objective of each naive baseline, fitted and scored on the same targets.
        overlap: Validation targets over training targets; 0 where the study's own sides were used.
    """

    number: int
    repeat: int
    seed: int
    outcome: str
    value: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    metrics: Scores = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    naive: Scores = field(default_factory=dict)
    overlap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who won, by how much, and whether it is worth having.

    A difference is positive where the winner is better, whichever way the objective is.

    Attributes:
        trial: The winner's number.
        finalists: The numbers of the trials that were compared.
        repeats: How often each was trained again.
        members: The trials whose mean prediction is exported, the winner first.
        epochs: How long each member is to be trained, by its number as text: the median of its best
            epochs.
        means: The mean objective of each finalist, by its number, as text for JSON; without those
            that failed at a training.
        gap: How much better the winner was in the search than on average afterwards.
        default: How much better it is than the default hyperparameters, training by training;
            ``None`` if it is the default, or the default failed.
        naive: How much better it is than the best naive baseline, training by training; ``None``
            where no baseline has a score.
        baseline: That baseline's name, or empty.
        sentence: Whether it is worth having, for a person.
    """

    trial: int
    finalists: list[int]
    repeats: int
    members: list[int]
    epochs: Mapping[str, int]
    means: Mapping[str, Mean]
    gap: float
    default: Mean | None
    naive: Mean | None
    baseline: str
    sentence: str


def decide(
    finalists: Sequence[TrialRow], repeats: Sequence[Repeat], direction: str, config: StudyConfig
) -> Decision:
    """Choose the winner by the mean of its trainings after the search.

    Args:
        finalists: The trials that were compared, the best of the search first.
        repeats: Trainings of these and perhaps of other trials.
        direction: "maximize" or "minimize".
        config: The study.

    Returns:
        Of the finalists that failed at no training, the one with the best mean, of equals the
        better in the search. The best of the search if all failed at one.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    trained = {row.number: _choose(row.number, repeats, config) for row in finalists}
    sound = [row for row in finalists if all(one.value is not None for one in trained[row.number])]
    means = {
        row.number: find_mean([one.value or 0.0 for one in own], own[0].overlap)
        for row in sound
        for own in (trained[row.number],)
    }
    if not sound:
        return _keep_leader(finalists, config)
    ranked = sorted(sound, key=lambda row: -sign * means[row.number].value)
    best, members = ranked[0], ranked[: config.winner.members]
    own = trained[best.number]
    others = trained.get(DEFAULTS, ()) if best.number != DEFAULTS and DEFAULTS in means else ()
    default = _compare(own, [one.value for one in others], sign) if others else None
    baseline = _find_baseline(own, sign)
    naive = _compare(own, [one.naive[baseline] for one in own], sign) if baseline else None
    return Decision(
        trial=best.number,
        finalists=[row.number for row in finalists],
        repeats=config.winner.repeats,
        members=[row.number for row in members],
        epochs={str(row.number): _find_epochs(trained[row.number]) for row in members},
        means={str(number): mean for number, mean in means.items()},
        gap=sign * ((best.value or 0.0) - means[best.number].value),
        default=default,
        naive=naive,
        baseline=baseline,
        sentence=_write(means[best.number], (baseline, naive), default, own, config),
    )


def _choose(number: int, repeats: Sequence[Repeat], config: StudyConfig) -> list[Repeat]:
    """Find one trial's trainings that count, in order."""
    own = [one for one in repeats if one.number == number and one.repeat < config.winner.repeats]
    return sorted(own, key=lambda one: one.repeat)


def _find_epochs(trainings: Sequence[Repeat]) -> int:
    return round(statistics.median([(one.best_epoch or 0) + 1 for one in trainings]))


def _keep_leader(finalists: Sequence[TrialRow], config: StudyConfig) -> Decision:
    leader = finalists[0]
    return Decision(
        trial=leader.number,
        finalists=[row.number for row in finalists],
        repeats=config.winner.repeats,
        members=[leader.number],
        epochs={str(leader.number): (leader.best_epoch or 0) + 1},
        means={},
        gap=math.nan,
        default=None,
        naive=None,
        baseline="",
        sentence=(
            f"Trial {leader.number} wins by its one training in the search: every finalist failed "
            f"when it was trained again."
        ),
    )


def _compare(own: Sequence[Repeat], others: Sequence[float | None], sign: float) -> Mean:
    """Average how much better some trainings are than others on the same targets."""
    pairs = zip(own, others, strict=True)
    differences = [sign * ((one.value or 0.0) - (other or 0.0)) for one, other in pairs]
    return find_mean(differences, own[0].overlap)


def _find_baseline(own: Sequence[Repeat], sign: float) -> str:
    """Name the naive baseline with the best mean, among those that always have a score."""
    means = {
        name: statistics.fmean(one.naive[name] for one in own)
        for name in own[0].naive
        if all(math.isfinite(one.naive[name]) for one in own)
    }
    return max(means, key=lambda name: sign * means[name], default="")


def _write(
    mean: Mean,
    naive: tuple[str, Mean | None],
    default: Mean | None,
    own: Sequence[Repeat],
    config: StudyConfig,
) -> str:
    """Say in one sentence whether the winner is worth having."""
    metric, baseline = config.objective.metric, naive[0]
    trainings = f"{len(own)} trainings" if own[1:] else "1 training"
    sides = "each on another validation side" if own[0].overlap else "all on the same targets"
    parts = [_write_difference(f"than {baseline}", naive[1])] if naive[1] else []
    parts += [_write_difference("than the default hyperparameters", default)] if default else []
    parts += [] if default or own[0].number != DEFAULTS else ["the default hyperparameters won"]
    found = f"Trial {own[0].number} has {metric} {mean} in {trainings}, {sides}"
    return f"{found}: {'; '.join(parts)}." if parts else f"{found}."


def _write_difference(than: str, difference: Mean) -> str:
    if difference.low > 0:
        word = "better"
    elif difference.high < 0:
        word = "worse"
    else:
        word = "not shown to be better"
    return f"{word} {than} (by {difference})"
