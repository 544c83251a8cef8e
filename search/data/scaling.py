"""Means and spreads of training rows, fitted once and used for every sequence length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.preprocessing import StandardScaler

from search.data.recordings import Recordings, Targets
from search.data.sequences import Array
from search.errors import DataError

FITTED_NUMBERS = 2**22
"""Numbers that the scaler reads at once, to bound memory: it computes in float64."""
BYTE = 255.0


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What is taken off every row, and what it is then divided by.

    Attributes:
        mean: Of shape (parts, channels): one part for all rows, or one a recording as read.
        scale: Likewise.
        apart: Whether there is one part a recording.
        range_only: Whether frames are scaled to the range from 0 to 1, not by training rows.
    """

    mean: Array
    scale: Array
    apart: bool = False
    range_only: bool = False

    def parts(self, recordings: Recordings) -> Iterator[tuple[int, int, int]]:
        """Name each part, the row that it begins at, and the row after its last one."""
        if not self.apart:
            yield 0, 0, len(recordings.rows)
            return
        for place, (low, high) in enumerate(
            zip(recordings.wholes[:-1], recordings.wholes[1:], strict=True)
        ):
            yield place, int(low), int(high)

    def scale_rows(self, recordings: Recordings) -> Array:
        """Scale every row, into a new float32 array of the same shape."""
        scaled = np.empty(recordings.rows.shape, dtype=np.float32)
        size = rows_at_once(recordings.rows)
        for place, first, last in self.parts(recordings):
            mean, scale = self.mean[place], self.scale[place]
            for low in range(first, last, size):
                high = min(low + size, last)
                scaled[low:high] = (recordings.rows[low:high] - mean) / scale
        return scaled


def fit_scaling(
    recordings: Recordings, targets: Targets, training: Array, *, frames: bool
) -> Scaling:
    """Fit each channel's mean and spread on the rows that training windows show.

    Args:
        recordings: The raw rows.
        targets: All targets.
        training: The numbers of the training targets.
        frames: Whether frames are predicted: then they are scaled to the range from 0 to 1 by
            what a byte holds, or, where it holds 0 and 1 alone and for other numbers, by the
            smallest and largest training value, of the frames to predict as well.

    Returns:
        Means and spreads in float32.

    Raises:
        DataError: If recordings are scaled apart and one has no training row.
    """
    shown = _mark_shown(recordings, targets, training)
    if frames:
        for step in range(
            1, targets.horizon + 1
        ):  # those to predict, too: answers end at the range
            shown[targets.ends[training] + step] = True
        return _fit_range(recordings, shown)
    if not recordings.scaled_apart:
        mean, scale = fit_rows(recordings.rows, np.flatnonzero(shown))
        return Scaling(mean=mean[None], scale=scale[None])
    used, names = np.unique(recordings.origins[targets.recordings]), recordings.whole_names
    means, scales = (
        np.zeros((len(names), len(recordings.channels)), np.float32),
        np.ones((len(names), len(recordings.channels)), np.float32),
    )
    for place in used:
        low, high = recordings.wholes[place : place + 2]
        rows = low + np.flatnonzero(shown[low:high])
        if not len(rows):
            raise DataError(
                f"data.scaling='recording' must find training rows in every recording. Received: "
                f"none in {names[place]!r}. Leave it out of the data, let "
                f"validation begin later (split.validation_from), or write data.scaling='all'."
            )
        means[place], scales[place] = fit_rows(recordings.rows, rows)
    return Scaling(mean=means, scale=scales, apart=True)


def fit_truths(recordings: Recordings, targets: Targets, training: Array) -> tuple[Array, Array]:
    """Fit each variable's mean and spread on the true values of training targets.

    Args:
        recordings: Truths of shape (rows, variables).
        targets: All targets.
        training: The numbers of the training targets.

    Returns:
        Means and spreads, each of shape (variables,), in float32.
    """
    first = 1 if targets.horizon else 0
    ends = targets.ends[training][:, None] + np.arange(first, targets.horizon + 1)
    return fit_rows(recordings.truths, np.unique(ends))


def _mark_shown(recordings: Recordings, targets: Targets, training: Array) -> Array:
    """Mark the rows that training windows show, of shape (rows,)."""
    shown = np.zeros(len(recordings.rows), dtype=bool)
    for step in range(targets.longest):
        shown[targets.ends[training] - step] = True
    return shown


def fit_rows(rows: Array, numbers: Array) -> tuple[Array, Array]:
    """Fit each channel's mean and spread.

    Args:
        rows: Of shape (rows, ..., channels).
        numbers: Which of them to fit on, of shape (rows chosen,).

    Returns:
        Means and spreads, each of shape (channels,), in float32; the spread of a channel that does
        not change is 1.
    """
    scaler, size = StandardScaler(), rows_at_once(rows)
    for low in range(0, len(numbers), size):
        part = rows[numbers[low : low + size]]
        scaler.partial_fit(part.reshape(-1, part.shape[-1]).astype(np.float64))
    return scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)


def _fit_range(recordings: Recordings, shown: Array) -> Scaling:
    shape = (1, recordings.rows.shape[-1])
    size = rows_at_once(recordings.rows)
    parts = range(0, len(shown), size)
    ranges = [
        (chosen.min(), chosen.max())
        for at in parts
        if len(chosen := recordings.rows[at : at + size][shown[at : at + size]])
    ]
    low, high = (float(ends) for ends in (np.min(ranges), np.max(ranges)))
    if recordings.rows.dtype == np.uint8 and high > 1:  # else masks of 0 and 1
        low, high = 0.0, BYTE
    scale = np.full(shape, (high - low) or 1.0, np.float32)
    return Scaling(mean=np.full(shape, low, np.float32), scale=scale, range_only=True)


def rows_at_once(rows: Array) -> int:
    """Say how many rows to take up at once, so that copies stay small.

    Args:
        rows: Of shape (rows, ...).

    Returns:
        A number of rows, at least 1.
    """
    return max(1, FITTED_NUMBERS // int(np.prod(rows.shape[1:])))
