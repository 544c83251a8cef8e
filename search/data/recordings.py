"""What every source of data returns, and the targets that are placed on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from search.data.sequences import Array

Report: TypeAlias = Callable[[str, int, int], None]
"""Hears how far a source has read: what it does, how much is done, out of how much."""


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """One neutral value for every source: rows in time, before any target or split.

    Attributes:
        description: One sentence for the person who browses the study.
        rows: Unscaled rows of shape (rows, channels), (rows, width, channels) or
            (rows, height, width, channels), recordings one after the other: float32, or uint8
            for frames of bytes.
        starts: The row that each recording begins at, and the number of rows at the end, of
            shape (recordings + 1,).
        names: The recordings' names, for messages.
        truths: What is right at each row: class numbers of shape (rows,), int64; values of
            shape (rows, variables), float32, NaN where nothing is known; or ``rows`` itself
            where frames are predicted. Where clips have a label, it stands at each clip's rows.
        channels: Names along the last axis of a row.
        classes: Class names, in the order of the class numbers; empty for values and frames.
        variables: The values' names; empty for classes and frames.
        target_channels: For each variable the channel that shows its past; empty where the
            model does not see it.
        clips: Whether a recording is a clip with one target, at its last row that leaves room
            for the horizon.
        stride: Rows between one target and the next, where recordings are no clips.
        groups: The group number of each recording, of shape (recordings,), or ``None`` where
            the source knows of no groups.
        sides: The official side of each row as its place in ``SIDES``, -1 where there is
            none, of shape (rows,), int8; ``None`` where the source has no official split.
        stamps: The time of each row, of shape (rows,), datetime64[ns], or ``None``.
        step: The time from one row to the next, in nanoseconds, or ``None``.
        usable: Whether each row may be shown to a model, of shape (rows,); ``None`` for all.
        drops_short: Whether recordings without room for a target are left out, not refused.
        scaled_apart: Whether each recording is scaled by its own training rows.
        firsts: The first piece of each recording that was read, where gaps cut them into pieces,
            of shape (recordings read,); ``None`` where nothing was cut.
    """

    description: str
    rows: Array
    starts: Array
    names: tuple[str, ...]
    truths: Array
    channels: tuple[str, ...]
    classes: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    target_channels: tuple[int, ...] = ()
    clips: bool = False
    stride: int = 1
    groups: Array | None = None
    sides: Array | None = None
    stamps: Array | None = None
    step: int | None = None
    usable: Array | None = None
    drops_short: bool = False
    scaled_apart: bool = False
    firsts: Array | None = None

    @property
    def wholes(self) -> Array:
        """The row that each recording as read begins at, and the number of rows at the end."""
        return (
            self.starts
            if self.firsts is None
            else np.append(self.starts[self.firsts], self.starts[-1])
        )

    @property
    def whole_names(self) -> tuple[str, ...]:
        """The names of the recordings as read: those of their first pieces."""
        return (
            self.names if self.firsts is None else tuple(self.names[first] for first in self.firsts)
        )

    @property
    def origins(self) -> Array:
        """The number of the recording, as read, that each one is a piece of, of shape (recordings,)."""
        numbers = np.arange(len(self.names))
        if self.firsts is None:
            return numbers
        return np.asarray(np.searchsorted(self.firsts, numbers, side="right") - 1)

    @property
    def lengths(self) -> Array:
        """Rows of each recording, of shape (recordings,)."""
        return np.diff(self.starts)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where a prediction is scored; fixed before any window is cut.

    Attributes:
        ends: The row that each target's window ends at, of shape (targets,), ascending.
        recordings: The recording that each target lies in, of shape (targets,).
        labels: The class number of each target, of shape (targets,); zeros where the task has
            no classes.
        longest: The longest sequence that every target leaves room for, in rows.
        horizon: Rows after ``ends`` that the truth covers; 0 where it is the row itself.
        notes: What was left out, one sentence each.
    """

    ends: Array
    recordings: Array
    labels: Array
    longest: int
    horizon: int
    notes: tuple[str, ...] = field(default=())
