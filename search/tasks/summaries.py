"""The longest windows of a side become a few simple statistics each."""

import math

import numpy as np

from search.data.sequences import Array, SequenceData, Side, Windows
from search.tasks.predictions import bounded_slices

MOST_VALUES = 2**22
"""Numbers that are gathered at once, to bound memory: 16 MiB in float32."""
FRAME_AXES = 4
"""Axes of rows that are frames: (rows, height, width, channels)."""


def summarize_windows(data: SequenceData, side: Side) -> Array:
    """Compute each longest window's mean, spread, minimum, maximum and last value.

    Of frames, these are statistics of three numbers a channel in place of the pixels: the mean
    and the spread over the frame, and its motion, the mean absolute difference to the frame
    before it in the same window. (A window's first frame has no motion.)

    Args:
        data: The study's data.
        side: Whose targets.

    Returns:
        Statistics of shape (targets, 5 * channels), float32, where bands count as channels;
        of frames (targets, 15 * channels), or (targets, 10 * channels) if the longest window
        is one frame.
    """
    ends = data.ends[side]
    if data.rows.ndim < FRAME_AXES:
        return _summarize(data.inputs(data.card.longest), ends, math.prod(data.rows.shape[1:]))
    offsets = np.arange(1 - data.card.longest, 1)
    shown = np.zeros(len(data.rows), dtype=bool)
    for offset in offsets:
        shown[ends + offset] = True
    looks, motion = _describe_frames(data, np.flatnonzero(shown))
    parts = [_summarize(Windows(rows=looks, offsets=offsets), ends, looks.shape[1])]
    if len(offsets) > 1:
        parts.append(_summarize(Windows(rows=motion, offsets=offsets[1:]), ends, motion.shape[1]))
    return np.concatenate(parts, axis=1)


def _summarize(windows: Windows, ends: Array, channels: int) -> Array:
    """Compute statistics of shape (targets, 5 * channels), some windows at once."""
    statistics = np.empty((len(ends), 5 * channels), dtype=np.float32)
    for part in bounded_slices(len(ends), math.prod(windows.window_shape), MOST_VALUES):
        values = windows.gather(ends[part]).reshape(len(ends[part]), -1, channels)
        statistics[part] = np.concatenate(
            [values.mean(1), values.std(1), values.min(1), values.max(1), values[:, -1]], axis=1
        )
    return statistics


def _describe_frames(data: SequenceData, numbers: Array) -> tuple[Array, Array]:
    """Describe some frames by a few numbers each.

    Args:
        data: The study's data, whose rows are frames.
        numbers: The rows to describe, of shape (frames,); others stay zero.

    Returns:
        Means and spreads, of shape (rows, 2 * channels), and the motion since the row before,
        of shape (rows, channels).
    """
    channels, axes = data.rows.shape[-1], tuple(range(1, data.rows.ndim - 1))
    looks = np.zeros((len(data.rows), 2 * channels), dtype=np.float32)
    motion = np.zeros((len(data.rows), channels), dtype=np.float32)
    frames = data.inputs(1)
    for part in bounded_slices(len(numbers), 2 * math.prod(data.rows.shape[1:]), MOST_VALUES):
        rows = numbers[part]
        now, before = (frames.gather(at)[:, 0] for at in (rows, np.maximum(rows - 1, 0)))
        looks[rows] = np.concatenate([now.mean(axes), now.std(axes)], axis=1)
        motion[rows] = np.abs(now - before).mean(axes)
    return looks, motion
