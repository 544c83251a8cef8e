"""Linear regression with a penalty, from sums of products gathered a part at a time."""

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from search.data.sequences import Array
from search.tasks.predictions import bounded_slices

STRENGTHS = tuple(10.0**power for power in range(-5, 2))
"""Penalties to choose from, per target, on standardised features."""
LARGEST_SAMPLE = 20_000
"""Training targets that are learned from; of more, evenly spaced ones are taken."""
TAUGHT_SHARE = 0.8
"""Share of the targets that fits while the others choose the penalty."""
PART = 512
"""Targets that are gathered at once."""
STEADY = 1e-6
"""A feature of a smaller spread, next to 1 or its mean, is taken as constant."""

Linear: TypeAlias = Callable[[Array], Array]
"""From features of shape (targets, features) to answers of shape (targets, answers)."""


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums over targets: all that least squares need to know.

    Attributes:
        gram: Products of features, of shape (1 + features, 1 + features); the first is 1.
        cross: Products of features and answers, of shape (1 + features, answers).
        square: The sum of all squared answers.
    """

    gram: Array
    cross: Array
    square: float

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            gram=self.gram + other.gram,
            cross=self.cross + other.cross,
            square=self.square + other.square,
        )


def fit_ridge(gather: Callable[[Array], tuple[Array, Array]], targets: Array) -> Linear:
    """Fit ridge regression with an intercept (Hoerl & Kennard, 1970).

    The strength of the penalty is the one that predicts the last fifth of the targets best
    from the others; then all are learned from. Memory is that of the products of features,
    whatever the number of targets.

    Args:
        gather: From some of the targets to their features, of shape (some, features), and
            answers, of shape (some, answers).
        targets: What ``gather`` is asked for, of shape (targets,), in the order of time.

    Returns:
        The fitted function.
    """
    if len(targets) > LARGEST_SAMPLE:
        targets = targets[np.linspace(0, len(targets) - 1, LARGEST_SAMPLE).astype(np.int64)]
    cut = max(1, int(TAUGHT_SHARE * len(targets)))
    moments, strength = _sum_products(gather, targets[:cut]), STRENGTHS[0]
    if cut < len(targets):
        late = _sum_products(gather, targets[cut:])
        errors = [_sum_errors(weights, late) for weights in _solve(moments, STRENGTHS)]
        moments, strength = moments + late, STRENGTHS[int(np.argmin(errors))]
    (weights,) = _solve(moments, [strength])
    return lambda features: np.asarray(weights[0] + features @ weights[1:])


def _sum_products(gather: Callable[[Array], tuple[Array, Array]], targets: Array) -> _Moments:
    """Sum products over targets, some at once."""
    parts = (gather(targets[part]) for part in bounded_slices(len(targets), 1, PART))
    return functools.reduce(operator.add, (_multiply(*part) for part in parts))


def _multiply(features: Array, answers: Array) -> _Moments:
    features = np.insert(features.astype(np.float64), 0, 1, axis=1)
    answers = answers.astype(np.float64)
    return _Moments(
        gram=features.T @ features,
        cross=features.T @ answers,
        square=float(np.square(answers).sum()),
    )


def _solve(moments: _Moments, strengths: Sequence[float]) -> list[Array]:
    """Solve least squares for several penalties with one decomposition.

    Args:
        moments: The sums over targets.
        strengths: The penalties, per target.

    Returns:
        For each penalty intercepts and weights, of shape (1 + features, answers).
    """
    count = moments.gram[0, 0]
    middle, level = moments.gram[0, 1:] / count, moments.cross[0] / count
    covariance = moments.gram[1:, 1:] / count - np.outer(middle, middle)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    spread[spread < STEADY * (1 + np.abs(middle))] = np.inf  # a constant feature gets no weight
    values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    shared = (moments.cross[1:] / count - np.outer(middle, level)) / spread[:, None]
    turned = vectors.T @ shared
    solutions = []
    for strength in strengths:
        weights = vectors @ (turned / (values + strength)[:, None]) / spread[:, None]
        solutions.append(np.concatenate([[level - middle @ weights], weights]))
    return solutions


def _sum_errors(weights: Array, moments: _Moments) -> float:
    """Sum the squared errors that weights make on the targets behind the moments."""
    explained = np.sum(weights * (moments.gram @ weights - 2 * moments.cross))
    return float(moments.square + explained)
