"""Whether a study still gets better, by more than what two trainings of one candidate differ by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.driver.leaderboard import TrialRow, is_ranked

REPEATS = 2
"""Times that the default hyperparameters are trained again, to know what a seed does."""
SHARE = 3
"""A plateau is at least one part in so many of all trials long: late gains are rarer."""


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """How long a study has not become better.

    Attributes:
        noise: The standard deviation of trainings of one candidate; 0 while none was trained twice.
        best: The number of the last trial that was better than all before it by more than that.
        length: Trials that have ended since.
        needed: How many make the study end.
    """

    noise: float
    best: int
    length: int
    needed: int

    @property
    def reached(self) -> bool:
        """Whether the study is to end."""
        return self.length >= self.needed


def find_plateau(rows: Sequence[TrialRow], direction: str, trials: int) -> Plateau | None:
    """Find how long a study has not become better.

    Args:
        rows: All trials, of any outcome, in the order of their numbers.
        direction: "maximize" or "minimize".
        trials: ``budget.plateau``.

    Returns:
        How long; ``None`` while no trial is complete.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    noise = find_noise(rows)
    best, reached, after = None, -math.inf, 0
    for row in rows:
        if row.outcome is None:
            continue
        after += 1
        if is_ranked(row) and sign * (row.value or 0.0) > reached + (noise if best else 0.0):
            best, reached, after = row, sign * (row.value or 0.0), 0
    if best is None:
        return None
    needed = max(trials, math.ceil(len(rows) / SHARE))
    return Plateau(noise=noise, best=best.number, length=after, needed=needed)


def find_noise(rows: Sequence[TrialRow]) -> float:
    """Find what a seed does to the objective, from candidates that were trained more than once.

    Args:
        rows: Trials of any outcome.

    Returns:
        The pooled standard deviation of complete trials with equal hyperparameters; 0 where there are
        none.
    """
    same: dict[frozenset[tuple[str, object]], list[float]] = {}
    for row in filter(is_ranked, rows):
        same.setdefault(frozenset(row.parameters.items()), []).append(row.value or 0.0)
    groups = [values for values in same.values() if values[1:]]
    squares = 0.0
    for values in groups:
        mean = math.fsum(values) / len(values)
        squares += math.fsum((value - mean) ** 2 for value in values)
    freedom = sum(len(values) - 1 for values in groups)
    return math.sqrt(squares / freedom) if freedom else 0.0
