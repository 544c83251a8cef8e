"""A model's raw output is checked, and becomes what a task compares with the truth."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from search.data.sequences import Array, SequenceCard, SequenceData, Side, Windows
from search.errors import DivergedTraining, InvalidArchitecture
from search.tasks import Baseline, Task

Shape: TypeAlias = tuple[int, ...]
Predictor: TypeAlias = Callable[[SequenceData, Side], Array]
"""From the data and a side to predictions of shape (targets, ...)."""


def choose_shown(count: int, most: int) -> Array:
    """Choose targets that stand for all of a side in a picture, evenly spread.

    Args:
        count: How many targets there are.
        most: How many to choose at most.

    Returns:
        Their places, ascending.
    """
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def check_finite(predictions: Array) -> None:
    """Refuse predictions that are not all finite numbers.

    Raises:
        DivergedTraining: If one is not.
    """
    finite = np.isfinite(predictions)
    if not finite.all():
        raise DivergedTraining(
            f"Predictions must be finite numbers. Received: {np.count_nonzero(~finite)} of "
            f"{predictions.size} are not."
        )


def read_predictions(predictions: Array, targets: int, shape: Shape, what: str) -> Array:
    """Check predictions and give them the shape of the truth.

    Args:
        predictions: A model's output, of shape (targets, *shape); flat, of shape
            (targets, numbers); or without axes of length 1.
        targets: How many targets were predicted.
        shape: The shape of what is right for one target.
        what: What the model must put out, for messages.

    Returns:
        The predictions, of shape (targets, *shape), not copied where they have it.

    Raises:
        InvalidArchitecture: If they have another shape, one with swapped axes among them.
        DivergedTraining: If one is not a finite number.
    """
    predictions = np.asarray(predictions)
    alike = predictions.ndim > 0 and len(predictions) == targets
    if not alike or not _is_alike(predictions.shape[1:], shape):
        raise _refuse(what, (targets, *shape), f"{targets} targets", predictions.shape, shape)
    check_finite(predictions)
    return predictions.reshape(targets, *shape)


def reshape_answers(data: SequenceData, output_shape: Shape, what: str) -> Windows:
    """Give what is right for each target the shape of a model's prediction.

    Args:
        data: The study's data.
        output_shape: The shape of one prediction, one that ``read_predictions`` accepts.
        what: What the model must put out, for messages.

    Returns:
        What a loss compares the prediction with.

    Raises:
        InvalidArchitecture: If the prediction has another shape.
    """
    answers = data.answers()
    shape = answers.window_shape
    if not _is_alike(output_shape, shape):
        raise _refuse(what, shape, "each target", output_shape, shape)
    return replace(answers, shape=tuple(output_shape))


def make_baseline(name: str, task: Task, predict: Predictor, data: SequenceData) -> Baseline:
    """Score a naive model as a candidate is scored.

    Args:
        name: What it is, in a few words.
        task: The task that scores it.
        predict: The naive model, fitted.
        data: The study's data.

    Returns:
        The baseline.
    """

    def score(data: SequenceData, side: Side) -> dict[str, float]:
        return task.score(data, side, partial(predict, data))

    return Baseline(name=name, validation=score(data, "validation"), score=score)


def error_units(card: SequenceCard, scores: Literal["original", "scaled"]) -> Array:
    """Say what an error in scaled values is multiplied by; offsets cancel in a difference.

    Args:
        card: Knows what each variable was divided by.
        scores: 'original' for the data's own units, 'scaled' for training standard deviations.

    Returns:
        One factor for each variable, of shape (variables,).
    """
    scale = np.array(card.truth_scale, dtype=np.float64)
    return scale if scores == "original" else np.ones_like(scale)


def bounded_slices(targets: int, values: int, most: int) -> Iterator[slice]:
    """Cut targets into stretches, to bound memory.

    Args:
        targets: How many there are.
        values: Numbers that one target stands for.
        most: Numbers that one stretch should not exceed; a single target may.

    Yields:
        Slices that follow one another.
    """
    step = max(1, most // max(1, values))
    for low in range(0, targets, step):
        yield slice(low, min(low + step, targets))


def _is_alike(received: Shape, shape: Shape) -> bool:
    """Whether both hold the same numbers in the same order, beyond doubt."""
    whole, flat = _squeeze(shape), _squeeze((math.prod(shape),))
    return _squeeze(received) in (whole, flat)


def _squeeze(shape: Shape) -> Shape:
    return tuple(length for length in shape if length != 1)


def _refuse(
    what: str, expected: Shape, targets: str, received: Shape, shape: Shape
) -> InvalidArchitecture:
    end = f"End it with Dense({math.prod(shape)})"
    end += "." if len(shape) == 1 else f" and Reshape({shape})."
    return InvalidArchitecture(
        f"The model must put out {what}, of shape {expected} for {targets}. "
        f"Received: shape={tuple(received)}. {end}"
    )
