"""Second chances: a trial that was pruned is continued once it is among those that go on."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection

from search.driver.pruners import EarlyPruner, ForbearingPruner
from search.messages import checkpoint_path

CONTINUES = "continues"
"""The trial attribute that names the pruned trial which a trial goes on with."""

REASON = "reason"
"""The trial attribute that says why it does."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A pruned trial that is to go on.

    Attributes:
        number: The trial's number.
        reason: One sentence for the person who reads the trial that continues it.
    """

    number: int
    reason: str


def find_promotion(study: Study, pruner: BasePruner, held: Collection[int]) -> Promotion | None:
    """Find the best pruned trial that would go on if it were judged now.

    So Li et al. promote in "A System for Massively Parallel Hyperparameter Tuning", 2018 (arXiv 1810.05934).

    Args:
        study: The study.
        pruner: Its pruner; only the bar of "early" can be passed later.
        held: Pruned trials that can be continued.

    Returns:
        The trial, or ``None`` if none passes the bar.
    """
    judge = pruner.pruner if isinstance(pruner, ForbearingPruner) else pruner
    if not isinstance(judge, EarlyPruner) or not held:
        return None
    sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
    trials = study.get_trials(deepcopy=False)
    bar, count = judge.bar(study)
    found = [
        (sign * trials[number].intermediate_values[judge.step], number)
        for number in held
        if judge.step in trials[number].intermediate_values
    ]
    passing = [one for one in found if one[0] <= sign * bar]
    if not passing:
        return None
    value, number = min(passing)
    reason = (
        f"Continues trial {number}: its {sign * value:.4g} after epoch {judge.step + 1} is now among the "
        f"best {judge.keep:.0%} of {count} trials (bar {bar:.4g})."
    )
    return Promotion(number=number, reason=reason)


def list_checkpoint(folder: Path, number: int) -> list[Path]:
    """List the files that hold a trial's state; none where it has none."""
    path = checkpoint_path(folder, number)
    return sorted(path.parent.glob(f"*{path.name}*"))


def remove_checkpoint(folder: Path, number: int) -> None:
    """Remove a trial's state."""
    for path in list_checkpoint(folder, number):
        path.unlink(missing_ok=True)


def hand_over(folder: Path, number: int, to: int) -> None:
    """Give a trial's state to the trial that continues it."""
    old, new = checkpoint_path(folder, number).name, checkpoint_path(folder, to).name
    for path in list_checkpoint(folder, number):
        path.rename(path.with_name(path.name.replace(old, new)))
