"""Predicted rows are scored against the rows that follow each window."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from search.config import TaskConfig
from search.data.sequences import Array, SequenceData, Side, Windows
from search.messages import Table
from search.tasks import Baseline, Direction, Predict
from search.tasks.naive import fit_change, repeat_last, repeat_season, seasonal_differences
from search.tasks.predictions import (
    Predictor,
    choose_shown,
    error_units,
    make_baseline,
    read_predictions,
    reshape_answers,
)

OUTPUT = "one number for each step ahead and variable"
SHOWN = 4
"""Targets, and variables, whose forecasts are shown."""


class Forecasting:
    """The values of the next steps for each target.

    Args:
        config: Says in which units errors are scored, and how long a season is.
    """

    kind: ClassVar[str] = "forecasting"
    directions: ClassVar[Mapping[str, Direction]] = {
        "mae": "minimize",
        "mse": "minimize",
        "rmse": "minimize",
        "mase": "minimize",
    }

    def __init__(self, config: TaskConfig) -> None:
        self.scores, self.season = config.scores, config.season
        self._naive: tuple[SequenceData, Array] | None = None

    def output_shape(self, data: SequenceData, length: int) -> tuple[int, ...]:
        """Say that one prediction is of shape (horizon, variables)."""
        return data.answers().window_shape

    def taught(self, data: SequenceData, output_shape: tuple[int, ...]) -> Windows:
        """Say that a model is taught the scaled rows that follow, in the shape of its output.

        Raises:
            InvalidArchitecture: If its output has not one number for each step and variable.
        """
        return reshape_answers(data, output_shape, OUTPUT)

    def score(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, float]:
        """Score predicted rows.

        MASE (Hyndman & Koehler, 2006) divides each variable's mean absolute error, over all
        targets and steps ahead, by that of repeating the value one season ago (one row ago
        without ``task.season``) on the training rows, which are those that the longest windows
        and the horizons of the training targets cover; then it is averaged over the variables.
        It has no unit. A variable that never changes on the training rows takes no part.

        Args:
            data: The study's data.
            side: Whose targets are scored.
            predict: Gives scaled values of shape (targets, horizon, variables), or flat of
                shape (targets, horizon * variables).

        Returns:
            MAE, MSE and RMSE over all targets, steps and variables, in the units of
            ``task.scores``; and MASE, NaN where training has no two rows a season apart.

        Raises:
            InvalidArchitecture: If the predictions have another shape.
            DivergedTraining: If a prediction is not a finite number.
        """
        errors = self._read(data, side, predict)
        scaled = np.abs(errors).mean(axis=(0, 1))
        naive = self._find_naive(data)
        errors = errors * error_units(data.card, self.scores)
        mse = float(np.square(errors).mean())
        return {
            "mae": float(np.abs(errors).mean()),
            "mse": mse,
            "rmse": math.sqrt(mse),
            "mase": _average_ratio(scaled, naive),
        }

    def tables(self, data: SequenceData, side: Side, predict: Predict) -> Mapping[str, Table]:
        """Say how errors grow with the distance of the predicted step.

        Args:
            data: The study's data.
            side: Whose targets.
            predict: As for ``score``.

        Returns:
            "error by step ahead", in the units of ``task.scores``; and "forecasts" of a few
            targets beside the truth, in the units of the data.
        """
        scaled = self._read(data, side, predict)
        errors = scaled * error_units(data.card, self.scores)
        mae, mse = np.abs(errors).mean(axis=(0, 2)), np.square(errors).mean(axis=(0, 2))
        lines = list(zip(range(1, len(mae) + 1), mae.tolist(), mse.tolist(), strict=True))
        return {
            "error by step ahead": (("step", "mae", "mse"), lines),
            "forecasts": _show_forecasts(data, side, scaled),
        }

    def reading(self, data: SequenceData, predict: Predict) -> Mapping[str, float]:
        """Say that a prediction needs no other number to be read."""
        return {}

    def baselines(self, data: SequenceData) -> list[Baseline]:
        """Repeat the last value, or the last season, and fit ridge regression on the window.

        Args:
            data: The study's data.

        Returns:
            The baselines; the last season where ``task.season`` fits into the longest window.
        """
        predictors: dict[str, Predictor] = {"last value": repeat_last}
        if self.season is not None and self.season <= data.card.longest:
            predictors["last season"] = repeat_season(self.season)
        predictors["ridge on the window"] = fit_change(data)
        return [make_baseline(name, self, each, data) for name, each in predictors.items()]

    def _find_naive(self, data: SequenceData) -> Array:
        """Find what repeating the season is wrong by, once for the same data: it is in all training rows."""
        if self._naive is None or self._naive[0] is not data:
            self._naive = data, seasonal_differences(data, self.season or 1)
        return self._naive[1]

    def _read(self, data: SequenceData, side: Side, predict: Predict) -> Array:
        """Compute errors in scaled units, of shape (targets, horizon, variables), float64."""
        truth = data.labels(side)
        predictions = read_predictions(predict(side), len(truth), truth.shape[1:], OUTPUT)
        return np.subtract(predictions, truth, dtype=np.float64)


def _show_forecasts(data: SequenceData, side: Side, errors: Array) -> Table:
    """Write the truth and the forecast of some targets, errors of shape (targets, steps, variables)."""
    chosen = choose_shown(len(errors), SHOWN)
    truth = data.answers().gather(data.ends[side][chosen])
    mean, scale = (np.array(values) for values in (data.card.truth_mean, data.card.truth_scale))
    lines: list[tuple[str | int | float, ...]] = [
        (int(target), step + 1, name, *(float(v * scale[at] + mean[at]) for v in pair))
        for target, right, wrong in zip(chosen, truth, errors[chosen], strict=True)
        for at, name in enumerate(data.card.variables[:SHOWN])
        for step, pair in enumerate(zip(right[:, at], right[:, at] + wrong[:, at], strict=True))
    ]
    return ("target", "step", "variable", "truth", "forecast"), lines


def _average_ratio(errors: Array, naive: Array) -> float:
    """Average the ratio over the variables whose naive error is a number above 0."""
    known = naive > 0
    return float((errors[known] / naive[known]).mean()) if known.any() else float("nan")
