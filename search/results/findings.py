"""What the trials of a study tell in words: what is important, at an edge, or was saved by pruning."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState
from scipy.stats import spearmanr

from search.driver.leaderboard import TrialRow, rank, write_scalar
from search.driver.objectives import leave_first
from search.driver.pruners import TELLING
from search.messages import Outcome

EDGE = 0.02
"""Share of a range, on its own scale, that counts as its edge."""
ENOUGH = 8
"""Complete trials from which on the correlation of their ranks is told."""
FEW = 4
"""Complete trials below which importances say nothing."""
SHOWN = 8
"""Hyperparameters that fit side by side."""
WIDE = 6
"""Whole numbers below which half of a range is edge."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What a report is written from.

    Attributes:
        study: As Optuna holds it.
        metric: The objective's name.
        rows: Every trial.
        curves: The objective of each trial's epochs, by its number.
        baselines: The naive baselines' objective, by name.
    """

    study: optuna.Study
    metric: str
    rows: Sequence[TrialRow]
    curves: Mapping[int, Sequence[float]]
    baselines: Mapping[str, float]

    @property
    def direction(self) -> str:
        """Which way is better: "maximize" or "minimize"."""
        return self.study.direction.name.lower()

    @property
    def seconds_again(self) -> float:
        """How long the finalists were trained again, in seconds of one worker."""
        return float(sum(one["seconds"] for one in self.study.user_attrs.get("repeats", [])))

    @property
    def leaders(self) -> list[TrialRow]:
        """The complete trials, best first."""
        return rank(self.rows, self.direction)


def tells_apart(record: StudyRecord) -> bool:
    """Tell whether importances say anything: of trials that score alike, all would be equal."""
    leaders = record.leaders
    return len(leaders) >= FEW and len({row.value for row in leaders}) > 1


def find_important(record: StudyRecord) -> list[str]:
    """Choose the hyperparameters that are worth a look where there are many.

    Args:
        record: The study.

    Returns:
        At most eight names: by PED-ANOVA the most important ones, or the first that were asked for
        where complete trials are too few or too much alike to tell.
    """
    if tells_apart(record):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = optuna.importance.get_param_importances(
                leave_first(record.study), evaluator=PedAnovaImportanceEvaluator()
            )
        if scores:
            return list(scores)[:SHOWN]
    trials = record.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return list(dict.fromkeys(name for trial in trials for name in trial.params))[:SHOWN]


def find_edges(record: StudyRecord) -> Iterator[str]:
    """Name the hyperparameters of the best trial that stand at the edge of their range.

    Args:
        record: The study.

    Yields:
        One sentence each: a wider range may hold a better value.
    """
    leaders = record.leaders
    if not leaders:
        return
    trial = record.study.get_trials(deepcopy=False)[leaders[0].number]
    for name, domain in trial.distributions.items():
        if not isinstance(domain, IntDistribution | FloatDistribution) or domain.single():
            continue
        if isinstance(domain, IntDistribution) and _count(domain) < WIDE:
            continue
        scale = math.log if domain.log else float
        low, high, value = (scale(x) for x in (domain.low, domain.high, trial.params[name]))
        share = (value - low) / (high - low)
        # Below 0 there is nothing to look for: dropout, depth and the like.
        natural = share <= EDGE and domain.low == 0 and not name.endswith(":index")
        if min(share, 1 - share) <= EDGE and not natural:
            yield _write_edge(leaders[0], name, trial.params[name], domain, share < 1 - share)


def _write_edge(
    row: TrialRow,
    name: str,
    answer: float,
    domain: IntDistribution | FloatDistribution,
    low: bool,
) -> str:
    """Write a value and its range in the space's own units, whatever Optuna was asked for."""
    own, _, coded = name.rpartition(":")
    if name in row.parameters or own not in row.parameters:
        own, coded, value = name, "", answer
    else:
        value = row.parameters[own]  # type: ignore[assignment]  # a number was asked for
    end = "low" if low != (coded == "mirrored") else "high"
    ends = f", {write_scalar(domain.low)} to {write_scalar(domain.high)}"
    return (
        f"{own} = {write_scalar(value)} is at the {end} end of its range"
        f"{'' if coded == 'index' else ends}."
    )


def describe_pruning(record: StudyRecord) -> str:
    """Say what was pruned and what that saved.

    Args:
        record: The study.

    Returns:
        One sentence. A pruned trial that another one goes on with saved nothing by its own end.
    """
    gone_on = {row.continues for row in record.rows}
    ended = [row for row in record.rows if row.outcome is Outcome.PRUNED]
    pruned = [row for row in ended if row.number not in gone_on]
    full = [row.epochs for row in record.leaders]
    if not ended:
        return "No trial was pruned."
    if not pruned:
        return "Every trial that was pruned went on later."
    if not full:
        return "No trial is complete to compare with."
    more = len(ended) - len(pruned)
    mean = sum(full) / len(full)
    spent = sum(row.epochs for row in pruned)
    saved = max(0.0, mean * len(pruned) - spent)
    return (
        f"{len(pruned)} of {len(record.rows)} trials were pruned after {spent} epochs"
        f"{f' ({more} more went on later)' if more else ''}; complete ones took "
        f"{mean:.1f} on average, so that about {saved:.0f} epochs were saved, on top of "
        f"the {sum(row.own_epochs for row in record.rows)} that were trained."
    )


def describe_epoch(record: StudyRecord, epoch: int) -> str:
    """Say how far the epoch at which trials are first judged tells who is good at the end.

    Args:
        record: The study.
        epoch: From which on trials are judged, counted from 1.

    Returns:
        One sentence; empty below eight complete trials that reported it, or where all are alike. Those that
        were pruned are missing, so that the correlation is less than that of all.
    """
    trials = record.study.get_trials(deepcopy=False)
    known = [
        (trials[row.number].intermediate_values[epoch - 1], row.value or 0.0)
        for row in record.leaders
        if epoch - 1 in trials[row.number].intermediate_values
    ]
    early, late = [one for one, _ in known], [one for _, one in known]
    if len(known) < ENOUGH or len({*early}) == 1 or len({*late}) == 1:
        return ""
    found = float(spearmanr(early, late).statistic)
    advice = "" if found >= TELLING else " That is little: a later pruner.epoch may lose less."
    return (
        f"Among {len(known)} complete trials the ranks after epoch {epoch}, when trials are first "
        f"judged, and at the end correlate by {found:.2f}.{advice}"
    )


def describe_immune(record: StudyRecord) -> str:
    """Say what was lost by pruning, as trials show that no pruner could end.

    Args:
        record: The study.

    Returns:
        One sentence; empty where the pruner would have ended none of these.
    """
    spared = [row for row in record.leaders if row.spared]
    others = [row for row in record.leaders if not row.spared]
    if not spared or not others:
        return ""
    first, best = spared[0], others[0]
    better = rank([first, best], record.direction)[0] is first
    return (
        f"{len(spared)} complete trial{'s' * (len(spared) > 1)} would have been pruned, were they not immune "
        f"(pruner.immune): the best of them, trial {first.number}, ended at {first.value:.4g}, the best "
        f"other, trial {best.number}, at {best.value:.4g}"
        + (": pruned, it would have been lost." if better else ".")
    )


def _count(domain: IntDistribution) -> int:
    return (domain.high - domain.low) // domain.step + 1
