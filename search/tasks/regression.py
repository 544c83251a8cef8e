"""Predicted values are scored against the values at each window's last row."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from sklearn.metrics import r2_score

from search.config import TaskConfig
from search.data.sequences import Array, SequenceCard, SequenceData, Side, Windows
from search.messages import Table
from search.tasks import Baseline, Direction, Predict
from search.tasks.predictions import (
    Predictor,
    choose_shown,
    error_units,
    make_baseline,
    read_predictions,
    reshape_answers,
)
from search.tasks.ridge import fit_ridge
from search.tasks.summaries import summarize_windows

OUTPUT = "one number for each variable"

TARGETS_SHOWN, VARIABLES_SHOWN = 300, 4
"""How many targets, and variables, are shown beside their truth."""


class Regression:
    """One or several values for each target.

    Args:
        config: Says in which units errors are scored.
    """

    kind: ClassVar[str] = "regression"
    directions: ClassVar[Mapping[str, Direction]] = {
        "rmse": "minimize",
        "mae": "minimize",
        "r2": "maximize",
    }

    def __init__(self, config: TaskConfig) -> None:
        self.scores = config.scores

    def output_shape(self, data: SequenceData, length: int) -> tuple[int, ...]:
        """Say that one prediction is of shape (variables,)."""
        return data.answers().window_shape

    def taught(self, data: SequenceData, output_shape: tuple[int, ...]) -> Windows:
        """Say that a model is taught the scaled values, in the shape of its output.

        Raises:
            InvalidArchitecture: If its output has not one number for each variable.
        """
        return reshape_answers(data, output_shape, OUTPUT)

    def score(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, float]:
        """Score predicted values.

        Args:
            data: The study's data.
            side: Whose targets are scored.
            predict: Gives scaled values of shape (targets, variables); of one variable also
                (targets,).

        Returns:
            RMSE and MAE over all targets and variables, in the units of ``task.scores``, and
            R², averaged over the variables with equal weight; NaN for fewer than two targets.

        Raises:
            InvalidArchitecture: If the predictions have another shape.
            DivergedTraining: If a prediction is not a finite number.
        """
        truth, predictions = self._read(data, side, predict)
        return _measure(truth, predictions)

    def tables(self, data: SequenceData, side: Side, predict: Predict) -> Mapping[str, Table]:
        """Say which of several variables is predicted how well.

        Args:
            data: The study's data.
            side: Whose targets.
            predict: As for ``score``.

        Returns:
            "error by variable", in the units of ``task.scores``; and "predictions" for some
            targets beside the truth, in the units of the data.
        """
        truth, predictions = self._read(data, side, predict)
        units = error_units(data.card, self.scores)
        lines: list[tuple[str | float, ...]] = [
            (name, *_measure(truth[:, [place]], predictions[:, [place]]).values())
            for place, name in enumerate(data.card.variables)
        ]
        return {
            "error by variable": (("variable", *self.directions), lines),
            "predictions": _show_predictions(data.card, truth / units, predictions / units),
        }

    def reading(self, data: SequenceData, predict: Predict) -> Mapping[str, float]:
        """Say that a prediction needs no other number to be read."""
        return {}

    def baselines(self, data: SequenceData) -> list[Baseline]:
        """Fit the training mean, and ridge regression on each window's simple statistics.

        Args:
            data: The study's data.

        Returns:
            The two baselines.
        """
        return [
            make_baseline("training mean", self, _fit_mean(data), data),
            make_baseline("ridge on window statistics", self, _fit_linear(data), data),
        ]

    def _read(self, data: SequenceData, side: Side, predict: Predict) -> tuple[Array, Array]:
        """Read truth and predictions in the units of the scores, up to a common offset.

        Neither an error nor R² changes with an offset, so ``card.truth_mean`` is not added.
        """
        truth, units = data.labels(side), error_units(data.card, self.scores)
        predictions = read_predictions(predict(side), len(truth), truth.shape[1:], OUTPUT)
        return truth * units, predictions * units


def _show_predictions(card: SequenceCard, truth: Array, predictions: Array) -> Table:
    """Write the truth and the prediction of some targets, from scaled (targets, variables)."""
    mean, scale = (np.array(values) for values in (card.truth_mean, card.truth_scale))
    right, guessed = (values * scale + mean for values in (truth, predictions))
    lines: list[tuple[str | int | float, ...]] = [
        (int(target), name, float(right[target, at]), float(guessed[target, at]))
        for target in choose_shown(len(truth), TARGETS_SHOWN)
        for at, name in enumerate(card.variables[:VARIABLES_SHOWN])
    ]
    return ("target", "variable", "truth", "prediction"), lines


def _measure(truth: Array, predictions: Array) -> dict[str, float]:
    """Compare arrays of shape (targets, variables)."""
    errors = predictions - truth
    return {
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "mae": float(np.abs(errors).mean()),
        "r2": float(r2_score(truth, predictions)) if len(truth) > 1 else float("nan"),
    }


def _fit_mean(data: SequenceData) -> Predictor:
    """Predict the mean of the training targets."""
    mean = data.labels("train").mean(axis=0, dtype=np.float64)
    return lambda data, side: np.tile(mean, (len(data.ends[side]), 1))


def _fit_linear(data: SequenceData) -> Predictor:
    """Fit ridge regression on the statistics of training windows."""
    statistics, truth = summarize_windows(data, "train"), data.labels("train")
    model = fit_ridge(lambda some: (statistics[some], truth[some]), np.arange(len(truth)))
    return lambda data, side: model(summarize_windows(data, side))
