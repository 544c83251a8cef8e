"""Targets are placed on recordings by the task alone, before any split or window."""

import numpy as np

from search.config import SequenceLengthConfig, TaskConfig
from search.data.recordings import Recordings, Targets
from search.data.sequences import Array, check_length
from search.errors import DataError

SHORT_SHARE = 0.2
"""Recordings that may be left out for the longest sequence of a study that names none."""
DEFAULT_LENGTH = 96
"""The longest sequence of a stream where the study names none, in rows."""
SHORTEST_SHARE = 8
"""The shortest sequence is by default this fraction (one in eight) of the longest."""
NAMED = 5
"""Recordings that a message names."""


def place_targets(
    recordings: Recordings, task: TaskConfig, lengths: SequenceLengthConfig
) -> Targets:
    """Place every target that has a truth and leaves room for the longest sequence.

    A clip has one target, at its end. A longer recording has one at every stride, from the first
    row that leaves room for the longest sequence, to the last that leaves room for the horizon.

    Args:
        recordings: What the source read.
        task: What is predicted.
        lengths: Which sequences are searched.

    Returns:
        The targets, in file order.

    Raises:
        DataError: If recordings are too short, or no target is left.
    """
    horizon = task.horizon if task.kind in ("forecasting", "frames") else 0
    longest = _longest(recordings, lengths, horizon)
    room = recordings.lengths >= longest + horizon
    if not room.all() and not recordings.drops_short:
        raise _too_short(recordings, longest, horizon)
    counts = _Counts()
    ends = _place(recordings, room, longest, horizon)
    ends = counts.keep("that lack a true value", ends, _known(recordings, ends, horizon))
    ends = counts.keep("whose window misses values", ends, _shown(recordings, ends, longest))
    notes = [*counts.notes]
    if task.season is not None and task.season > longest:
        notes.append(
            f"The last season is no baseline, since no window shows {task.season} rows: raise "
            f"sequence_length.high."
        )
    if recordings.clips and lengths.high is None and longest + horizon < recordings.lengths.max():
        name = recordings.names[int(np.argmin(recordings.lengths))]
        notes.append(f"The longest sequence is {longest}, since {name!r} has no more steps.")
    if not room.all():
        notes.insert(0, f"{np.count_nonzero(~room)} recordings were too short and left out.")
    if not len(ends):
        raise DataError(
            f"The data must hold a target: a row with a true value, and {longest - 1} rows "
            f"before and {horizon} after it. Received: none in {len(recordings.names)} recordings. "
            f"{' '.join(notes)} Write a smaller sequence_length.high."
        )
    labels = recordings.truths[ends] if recordings.classes else np.zeros(len(ends), np.int64)
    return Targets(
        ends=ends,
        recordings=np.searchsorted(recordings.starts, ends, side="right") - 1,
        labels=labels,
        longest=longest,
        horizon=horizon,
        notes=tuple(notes),
    )


def sequence_lengths(config: SequenceLengthConfig, longest: int) -> tuple[int, int, int]:
    """Work out the range of the hyperparameter sequence_length.

    Args:
        config: What the study asks for.
        longest: The longest sequence that every target leaves room for, in rows.

    Returns:
        The shortest and the longest sequence, in rows, and the step that leads from one
        exactly to the other.

    Raises:
        DataError: If the study asks for more rows than the data have.
    """
    high = check_length(longest if config.high is None else config.high, longest)
    if config.low is None:
        low = max(1, high // SHORTEST_SHARE)
        return high - (high - low) // config.step * config.step, high, config.step
    low = check_length(config.low, longest)
    return low, low + (high - low) // config.step * config.step, config.step


class _Counts:
    """Counts the targets that are left out, and why."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def keep(self, why: str, ends: Array, kept: Array) -> Array:
        if not kept.all():
            self.notes.append(f"{np.count_nonzero(~kept):,} targets {why} were left out.")
        return np.asarray(ends[kept])


def _longest(recordings: Recordings, lengths: SequenceLengthConfig, horizon: int) -> int:
    """Find the longest sequence that the study asks for, in rows."""
    shortest = int(recordings.lengths.min())
    if recordings.drops_short:
        shortest = int(np.quantile(recordings.lengths, SHORT_SHARE, method="lower"))
    if lengths.high is not None:
        return lengths.high
    longest = shortest - horizon
    if not recordings.clips:
        longest = min(longest, DEFAULT_LENGTH)
    if longest < 1:
        raise DataError(
            f"task.horizon must leave rows to predict from. Received: horizon={horizon} for "
            f"recordings of {shortest} rows."
        )
    return longest


def _too_short(recordings: Recordings, longest: int, horizon: int) -> DataError:
    short = [
        f"{name!r} with {length} rows"
        for name, length in zip(recordings.names, recordings.lengths, strict=True)
        if length < longest + horizon
    ]
    more = f" and {len(short) - NAMED} more" if len(short) > NAMED else ""
    after = f" and {horizon} to predict" if horizon else ""
    return DataError(
        f"sequence_length.high must fit into every recording: the longest sequence takes "
        f"{longest} rows{after}. Received: {len(short)} of {len(recordings.names)} recordings are "
        f"shorter: {', '.join(short[:NAMED])}{more}. Write a smaller sequence_length.high"
        f"{' or task.horizon' if horizon else ''}, leave them out of the data, or for tables "
        f"write data.short='drop'."
    )


def _place(recordings: Recordings, room: Array, longest: int, horizon: int) -> Array:
    """List the rows that windows may end at, of shape (targets,)."""
    starts, stops = recordings.starts[:-1][room], recordings.starts[1:][room]
    if recordings.clips:
        return np.asarray(stops - 1 - horizon)
    ranges = [
        np.arange(start + longest - 1, stop - horizon, recordings.stride)
        for start, stop in zip(starts, stops, strict=True)
    ]
    return np.concatenate(ranges) if ranges else np.zeros(0, np.int64)


def _known(recordings: Recordings, ends: Array, horizon: int) -> Array:
    """Say which targets have a whole truth, of shape (targets,)."""
    truths = recordings.truths
    if truths is recordings.rows:
        return np.ones(len(ends), dtype=bool)
    if recordings.classes:
        return np.asarray(truths[ends] >= 0)
    holes = np.asarray(np.isnan(truths).any(axis=tuple(range(1, truths.ndim))))
    first = 1 if horizon else 0
    return ~any_within(holes, ends + first, ends + horizon + 1)


def _shown(recordings: Recordings, ends: Array, longest: int) -> Array:
    """Say which targets have a longest window that may be shown, of shape (targets,)."""
    if recordings.usable is None:
        return np.ones(len(ends), dtype=bool)
    return ~any_within(~recordings.usable, ends + 1 - longest, ends + 1)


def any_within(flags: Array, lows: Array, highs: Array) -> Array:
    """Say for each range of rows whether a flag is set in it.

    Args:
        flags: Flags of shape (rows,).
        lows: The first row of each range, of shape (ranges,).
        highs: The row after the last of each range, of shape (ranges,).

    Returns:
        Flags of shape (ranges,).
    """
    sums = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(sums[highs] > sums[lows])
