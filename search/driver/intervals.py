"""How far a mean of a few trainings can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean and its interval of 95 % confidence.

    Attributes:
        value: The mean.
        low: The interval's lower end; minus infinity where nothing is known of it.
        high: The interval's upper end; infinity likewise.
        count: How many values.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        """Write it as people read it: 0.731 (0.702 to 0.760)."""
        if not math.isfinite(self.low):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def find_mean(
    values: Sequence[float],
    overlap: float = 0.0,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Mean:
    """Average a few scores, or differences of scores.

    The interval is Student's t. Scores on sides that were drawn again and again from the same
    targets are not independent: Nadeau and Bengio, "Inference for the Generalization Error",
    Machine Learning 52, 2003, widen it by the validation targets over the training targets.

    Args:
        values: One a training, at least one.
        overlap: Validation targets over training targets where sides were drawn anew, else 0.
        limits: What the score cannot be below and above; the interval ends there.

    Returns:
        The mean; without an interval of a single value, and of equal ones, as shares of a few
        targets can be: they say nothing of how far another training may be away.
    """
    count, value = len(values), float(np.mean(values))
    if np.ptp(values) == 0:
        return Mean(value=value, low=-math.inf, high=math.inf, count=count)
    error = math.sqrt((1 / count + overlap) * float(np.var(values, ddof=1)))
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    low, high = limits
    return Mean(value=value, low=max(low, value - half), high=min(high, value + half), count=count)
