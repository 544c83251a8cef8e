"""Forecasts without a network: the last value, the last season, and a linear model."""

import math
from collections.abc import Iterator

import numpy as np

from search.data.sequences import Array, SequenceData, Side, Windows
from search.tasks.predictions import Predictor, bounded_slices
from search.tasks.ridge import fit_ridge

MOST_VALUES = 2**22
"""Numbers that are gathered at once, to bound memory: 16 MiB in float32."""
MOST_TARGETS = 4_096
"""Training targets that are looked at to choose between two naive forecasts."""
MOST_FEATURES = 1_024
"""Numbers of a window that a linear model reads; its cost grows with their third power."""
TABLE_AXES = 2
"""Axes of rows that are no bands and no frames: (rows, channels)."""


def repeat_last(data: SequenceData, side: Side) -> Array:
    """Predict the last known value of each variable for every step ahead.

    Args:
        data: The study's data.
        side: Whose targets.

    Returns:
        Scaled values of shape (targets, horizon, variables).
    """
    last = _recall(data, data.ends[side], 1)
    return np.repeat(last, data.card.horizon, axis=1)


def repeat_season(season: int) -> Predictor:
    """Make what predicts the last season over again.

    Args:
        season: Rows in one season, at most the longest window.

    Returns:
        From data and side to scaled values of shape (targets, horizon, variables).
    """

    def predict(data: SequenceData, side: Side) -> Array:
        past = _recall(data, data.ends[side], season)
        return past[:, np.arange(data.card.horizon) % season]

    return predict


def is_seasonal(data: SequenceData, season: int) -> bool:
    """Tell whether training targets are nearer to the season before them than to the last value.

    Args:
        data: The study's data.
        season: Rows in one season, at most the longest window.

    Returns:
        Whether the mean absolute error of the season repeated is less, on targets from all over training.
    """
    ends = data.ends["train"]
    ends = ends[np.linspace(0, len(ends) - 1, min(len(ends), MOST_TARGETS)).astype(np.int64)]
    truth, horizon = data.answers().gather(ends), data.card.horizon
    last = np.repeat(_recall(data, ends, 1), horizon, axis=1)
    before = _recall(data, ends, season)[:, np.arange(horizon) % season]
    return bool(np.abs(before - truth).mean() < np.abs(last - truth).mean())


def fit_change(data: SequenceData) -> Predictor:
    """Fit ridge regression from the longest window to the change from the last value.

    Where the window holds more than ``MOST_FEATURES`` numbers, it reads the channels of the
    variables only, or else as many of the last rows as that leaves room for. Where no channel
    shows a variable's past, it predicts values, not changes: it sees no more than a network.

    Args:
        data: The study's data.

    Returns:
        From data and side to scaled values of shape (targets, horizon, variables).
    """

    def gather(ends: Array) -> tuple[Array, Array]:
        changes = data.answers().gather(ends) - _anchor(data, ends)
        return _read_window(data, ends), changes.reshape(len(ends), -1)

    model = fit_ridge(gather, data.ends["train"])

    def predict(data: SequenceData, side: Side) -> Array:
        ends, shape = data.ends[side], data.answers().window_shape
        predictions = np.empty((len(ends), *shape), dtype=np.float32)
        for part in bounded_slices(len(ends), MOST_FEATURES, MOST_VALUES):
            changes = model(_read_window(data, ends[part]))
            predictions[part] = changes.reshape(-1, *shape) + _anchor(data, ends[part])
        return predictions

    return predict


def seasonal_differences(data: SequenceData, season: int) -> Array:
    """Average how far each variable moves in one season of the training rows.

    Training rows are those that the longest windows and the horizons of training targets
    cover. Both rows of a pair are among them and belong to one recording, and each pair
    counts once, however many windows show it.

    Args:
        data: The study's data.
        season: Rows from one row of a pair to the other.

    Returns:
        Mean absolute differences in scaled units, of shape (variables,); NaN where there is
        no pair of known values.
    """
    variables = data.truths.shape[1]
    total, known = np.zeros(variables), np.zeros(variables, dtype=np.int64)
    for first, after in _find_pairs(data, season):
        for part in bounded_slices(after - first, variables, MOST_VALUES):
            rows = slice(first + part.start, first + part.stop)
            before = slice(rows.start - season, rows.stop - season)
            moves = np.abs(np.subtract(data.truths[rows], data.truths[before], dtype=float))
            total += np.nansum(moves, axis=0)
            known += np.isfinite(moves).sum(axis=0)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)


def _find_pairs(data: SequenceData, season: int) -> Iterator[tuple[int, int]]:
    """Find the training rows whose row one season before is a training row of its recording too.

    By what targets cover, not row by row: a study's rows may be many times its targets.

    Yields:
        The first row of a stretch, and the row after its last.
    """
    ends, recordings = data.ends["train"], data.recordings["train"]
    begins, stops = ends - data.card.longest + 1, ends + data.card.horizon + 1
    order = np.lexsort((begins, recordings))
    begins, stops, recordings = begins[order], stops[order], recordings[order]
    for own in np.split(np.arange(len(order)), np.flatnonzero(np.diff(recordings)) + 1):
        covered = _merge(begins[own], stops[own])
        place = 0
        for first, after in covered:
            # Stretches are in order, so what ends before this one can pair with none that follows.
            while place < len(covered) and covered[place][1] + season <= first:
                place += 1
            other = place
            while other < len(covered) and covered[other][0] + season < after:
                begin, end = covered[other]
                yield max(first, begin + season), min(after, end + season)
                other += 1


def _merge(begins: Array, stops: Array) -> list[tuple[int, int]]:
    """Merge stretches that are sorted by their beginnings into those that do not touch."""
    furthest = np.maximum.accumulate(stops)
    new = np.flatnonzero(np.append(True, begins[1:] > furthest[:-1]))
    last = np.append(new[1:] - 1, len(begins) - 1)
    return list(zip(begins[new].tolist(), furthest[last].tolist(), strict=True))


def _recall(data: SequenceData, ends: Array, steps: int) -> Array:
    """Look up the variables' last values.

    Args:
        data: The study's data.
        ends: The rows that windows end at, of shape (targets,).
        steps: How many values, at most the longest window.

    Returns:
        Scaled values of shape (targets, steps, variables); in place of an unknown one the
        known value before it in the longest window, or else the training mean, 0.
    """
    longest, variables = data.card.longest, data.truths.shape[1]
    windows = Windows(rows=data.truths, offsets=np.arange(1 - longest, 1))
    recalled = np.empty((len(ends), steps, variables), dtype=np.float32)
    for part in bounded_slices(len(ends), longest * variables, MOST_VALUES):
        past = windows.gather(ends[part])
        place = np.where(np.isnan(past), 0, np.arange(longest)[:, None])
        past = np.take_along_axis(past, np.maximum.accumulate(place, axis=1), axis=1)
        recalled[part] = np.nan_to_num(past[:, longest - steps :])
    return recalled


def _anchor(data: SequenceData, ends: Array) -> Array:
    """Look up what changes are counted from, of shape (targets, 1, variables or 1)."""
    if not data.card.target_channels:
        return np.zeros((len(ends), 1, 1), dtype=np.float32)
    return _recall(data, ends, 1)


def _read_window(data: SequenceData, ends: Array) -> Array:
    """Gather what the linear model reads, of shape (targets, features)."""
    longest, width = data.card.longest, math.prod(data.rows.shape[1:])
    chosen = data.card.target_channels
    if longest * width > MOST_FEATURES and chosen and data.rows.ndim == TABLE_AXES:
        rows = min(longest, max(1, MOST_FEATURES // len(chosen)))
        return data.inputs(rows).gather(ends)[..., list(chosen)].reshape(len(ends), -1)
    rows = min(longest, max(1, MOST_FEATURES // width))
    return data.inputs(rows).gather(ends).reshape(len(ends), -1)
