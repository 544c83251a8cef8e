"""Which of the best trials won, by how much, and whether that is worth having."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from search.config import StudyConfig
from search.driver.intervals import Mean, find_mean
from search.driver.leaderboard import TrialRow
from search.driver.trials import DEFAULTS

Scores: TypeAlias = Mapping[str, float]
_SHARE = (0.0, 1.0)
LIMITS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("accuracy", "macro_f1", "auroc", "average_precision", "f1", "far", "mar"), _SHARE
    ),
    "r2": (-math.inf, 1.0),
    "ssim": (-1.0, 1.0),
}
"""What a metric cannot be below and above; errors, and whatever is not named, end at 0 alone."""


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """One training of a complete trial's candidate after the search.

    Attributes:
        number: The trial's number.
        repeat: Which of its trainings, from 0; all trials' repeats of one number are scored on the
            same targets.
        seed: What it was trained with.
        outcome: What became of it.
        value: The objective after its last epoch, or ``None`` if it failed.
        epochs: How many epochs ended: as many as the trial's best epoch in the search, if none failed.
        metrics: The metrics of the last epoch.
        seconds: Time that it took, in seconds.
        reason: Why it ended, where the outcome needs a reason.
        naive: The objective of each naive baseline, fitted and scored on the same targets.
        overlap: Validation targets over training targets; 0 where the study's own sides were used.
        weights: Path of the last epoch's weights; empty where none are kept.
        targets: Hash of the validation targets.
    """

    number: int
    repeat: int
    seed: int
    outcome: str
    value: float | None = None
    epochs: int = 0
    metrics: Scores = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    naive: Scores = field(default_factory=dict)
    overlap: float = 0.0
    weights: str = ""
    targets: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who won, by how much, and whether it is worth having.

    A difference is positive where the winner is better, whichever way the objective is.

    Attributes:
        trial: The winner's number.
        finalists: The numbers of the trials that were compared.
        repeats: How often each was trained again.
        asked: How many members were asked for.
        members: The trials whose mean prediction is exported, the winner first.
        epochs: How long each member is to be trained, by its number as text: as long as here.
        means: The mean objective of each finalist, by its number, as text for JSON; without those
            that failed at a training.
        together: The mean objective of the members' mean prediction; ``None`` for one member.
        found: The winner's objective in the search, which chose the best of many by it.
        gap: How much better the winner was in the search than on average afterwards.
        default: How much better what is exported is than the default hyperparameters, training by
            training; ``None`` if it is the default, or the default failed.
        naive: How much better what is exported is than the best naive baseline, training by
            training; ``None`` where no baseline has a score.
        baseline: That baseline's name, or empty.
        sentence: Whether it is worth having, for a person.
    """

    trial: int
    finalists: list[int]
    repeats: int
    asked: int
    members: list[int]
    epochs: Mapping[str, int]
    means: Mapping[str, Mean]
    together: Mean | None
    found: float
    gap: float
    default: Mean | None
    naive: Mean | None
    baseline: str
    sentence: str


def choose_members(
    finalists: Sequence[TrialRow], repeats: Sequence[Repeat], direction: str, config: StudyConfig
) -> dict[int, list[Repeat]]:
    """Choose the trials whose mean prediction is exported: those with the best means.

    Args:
        finalists: The trials that were compared, the best of the search first.
        repeats: Trainings of these and perhaps of other trials.
        direction: "maximize" or "minimize".
        config: The study.

    Returns:
        The trainings of each by its number, the winner first; of equals the better in the search
        is first. Nothing if every finalist failed at a training.
    """
    trained = _collect(finalists, repeats, config)
    means = _average(trained, config)
    ranked = sorted(means, key=lambda number: -_sign(direction) * means[number].value)
    return {number: trained[number] for number in ranked[: config.winner.members]}


def decide(
    finalists: Sequence[TrialRow],
    repeats: Sequence[Repeat],
    direction: str,
    config: StudyConfig,
    together: Sequence[float] = (),
) -> Decision:
    """Choose the winner by the mean of its trainings after the search.

    Args:
        finalists: The trials that were compared, the best of the search first.
        repeats: Trainings of these and perhaps of other trials.
        direction: "maximize" or "minimize".
        config: The study.
        together: The objective of the members' mean prediction in each repeat, in order, where
            ``choose_members`` chose several.

    Returns:
        Of the finalists that failed at no training, the one with the best mean, of equals the
        better in the search. The best of the search if all failed at one.
    """
    sign = _sign(direction)
    members = choose_members(finalists, repeats, direction, config)
    if not members:
        return _keep_leader(finalists, config)
    trained = _collect(finalists, repeats, config)
    means = _average(trained, config)
    best = next(iter(members))
    own, overlap = trained[best], _find_overlap(trained[best])
    scores = list(together) if members.keys() - {best} else _values(own)
    others = _values(trained[DEFAULTS]) if DEFAULTS in means and list(members) != [DEFAULTS] else []
    baseline = _find_baseline(own, sign)
    naive = [one.naive[baseline] for one in own] if baseline else []
    rows = {row.number: row for row in finalists}
    found = rows[best].value or 0.0
    decision = Decision(
        trial=best,
        finalists=[row.number for row in finalists],
        repeats=config.winner.repeats,
        asked=config.winner.members,
        members=list(members),
        epochs={str(number): rows[number].as_member().epochs for number in members},
        means={str(number): mean for number, mean in means.items()},
        together=_find(scores, overlap, config) if members.keys() - {best} else None,
        found=found,
        gap=sign * (found - means[best].value),
        default=_compare(scores, others, sign, overlap),
        naive=_compare(scores, naive, sign, overlap),
        baseline=baseline,
        sentence="",
    )
    return replace(decision, sentence=_write(decision, trained[best], config))


def _sign(direction: str) -> float:
    return 1.0 if direction == "maximize" else -1.0


def _collect(
    finalists: Sequence[TrialRow], repeats: Sequence[Repeat], config: StudyConfig
) -> dict[int, list[Repeat]]:
    """Find each finalist's trainings that count, in order."""
    counted = sorted(
        (one for one in repeats if one.repeat < config.winner.repeats), key=lambda one: one.repeat
    )
    return {row.number: [one for one in counted if one.number == row.number] for row in finalists}


def _values(trainings: Sequence[Repeat]) -> list[float]:
    """Read off the objective of trainings of which none failed."""
    return [one.value for one in trainings if one.value is not None]


def _average(trained: Mapping[int, Sequence[Repeat]], config: StudyConfig) -> dict[int, Mean]:
    """Average the objective of each finalist that failed at no training."""
    return {
        number: _find(_values(own), _find_overlap(own), config)
        for number, own in trained.items()
        if len(_values(own)) == len(own)
    }


def _find_overlap(trainings: Sequence[Repeat]) -> float:
    """Find how much of the targets the sides share: the most, where one could not be drawn anew."""
    return max(one.overlap for one in trainings)


def _find(scores: Sequence[float], overlap: float, config: StudyConfig) -> Mean:
    """Average the objective, which may have limits."""
    return find_mean(scores, overlap, LIMITS.get(config.objective.metric, (0.0, math.inf)))


def _keep_leader(finalists: Sequence[TrialRow], config: StudyConfig) -> Decision:
    leader = finalists[0]
    return Decision(
        trial=leader.number,
        finalists=[row.number for row in finalists],
        repeats=config.winner.repeats,
        asked=config.winner.members,
        members=[leader.number],
        epochs={str(leader.number): leader.as_member().epochs},
        means={},
        together=None,
        found=leader.value or 0.0,
        gap=math.nan,
        default=None,
        naive=None,
        baseline="",
        sentence=(
            f"Trial {leader.number} wins by its one training in the search: every finalist failed "
            f"when it was trained again."
        ),
    )


def _compare(
    own: Sequence[float], others: Sequence[float], sign: float, overlap: float
) -> Mean | None:
    """Average how much better some scores are than others on the same targets, if there are any."""
    if not others:
        return None
    pairs = zip(own, others, strict=True)
    return find_mean([sign * (one - other) for one, other in pairs], overlap)


def _find_baseline(own: Sequence[Repeat], sign: float) -> str:
    """Name the naive baseline with the best mean, among those that always have a score."""
    means = {
        name: statistics.fmean(one.naive[name] for one in own)
        for name in own[0].naive
        if all(math.isfinite(one.naive[name]) for one in own)
    }
    return max(means, key=lambda name: sign * means[name], default="")


def _write(decision: Decision, own: Sequence[Repeat], config: StudyConfig) -> str:
    """Say in one sentence whether what is exported is worth having."""
    named = ", ".join(map(str, decision.members))
    who = f"The mean of trials {named}" if decision.together else f"Trial {named}"
    mean = decision.together or decision.means[str(decision.trial)]
    trainings = f"{mean.count} trainings" if mean.count > 1 else "1 training"
    several = len({one.targets for one in own})
    if not _find_overlap(own):
        sides = "all on the targets of the search, so that intervals know of seeds alone"
    elif several == len(own):
        sides = "each on another validation side"
    else:  # few groups, say, can be dealt in few ways
        sides = f"on {several} validation side{'s' * (several > 1)}"
    found = f"{who} has {config.objective.metric} {mean} in {trainings}, {sides}"
    parts = [_write_gap(decision)]
    if decision.naive:
        parts.append(_write_difference(decision.baseline, decision.naive))
    if decision.default:
        parts.append(_write_difference("the default hyperparameters", decision.default))
    elif decision.members != [DEFAULTS]:
        parts.append("the default hyperparameters failed, so that nothing is compared with them")
    if decision.members == [DEFAULTS]:
        parts.append("the default hyperparameters won")
    return f"{found}; {'; '.join(parts)}."


def _write_gap(decision: Decision) -> str:
    """Say what the search had promised, and how much of it was not found again."""
    word = "better" if decision.gap > 0 else "worse"
    return (
        f"in the search trial {decision.trial} had {decision.found:.4f}, {word} by "
        f"{abs(decision.gap):.4f} than {'when it was trained again alone' if decision.together else 'now'}"
    )


def _write_difference(other: str, difference: Mean) -> str:
    if difference.low > 0:
        return f"better than {other} (by {difference})"
    if difference.high < 0:
        turned = replace(
            difference, value=-difference.value, low=-difference.high, high=-difference.low
        )
        return f"worse than {other} (by {turned})"
    return f"not shown to be better than {other} (by {difference})"
