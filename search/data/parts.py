"""One table becomes a part: the rows of each recording in it together, every column read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from search.config import Kind, TableData
from search.data.cells import (
    Words,
    check_complete,
    read_flags,
    read_groups,
    read_numbers,
    read_sides,
    read_words,
)
from search.data.columns import Columns
from search.data.files import File
from search.data.sequences import SIDES, Array
from search.data.stamps import check_order, read_stamps
from search.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where rows stand in their files.

    Attributes:
        files: The file of each recording.
        names: The recordings' names.
        starts: The row that each recording begins at, and the number of rows.
        lines: The number of each row in its file, from 0, of shape (rows,).
    """

    files: tuple[File, ...]
    names: tuple[str, ...]
    starts: Array
    lines: Array

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the recordings of several files one after the other."""
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            files=tuple(file for part in parts for file in part.files),
            names=tuple(name for part in parts for name in part.names),
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            lines=np.concatenate([part.lines for part in parts]),
        )

    def show(self, row: int) -> str:
        """Say where a row stands."""
        recording = int(np.searchsorted(self.starts, row, side="right")) - 1
        file, name = self.files[recording], self.names[recording]
        within = f" in recording {name!r}" if name != file.name else ""
        if file.is_csv:
            line = self.lines[row] + 2
            return f"line {line} of {file.name!r}{within} (the header is line 1)"
        return f"row {self.lines[row] + 1} of {file.name!r}{within} (counted from 1)"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of one file, each recording's together.

    Attributes:
        places: Where the rows stood.
        stamps: Of shape (rows,), or ``None``.
        values: Channels of numbers, of shape (rows, numbers), NaN for none.
        truths: Values to predict, of shape (rows, variables), NaN for none.
        label: The column of the label or flag, or ``None``.
        categories: The columns of words that become channels.
        group: The column of the group, or of the unit, or ``None``.
        sides: Official sides of shape (rows,), or ``None``.
    """

    places: Places
    stamps: Array | None
    values: Array
    truths: Array
    label: Words | None
    categories: tuple[Words, ...]
    group: Words | None
    sides: Array | None

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return len(self.values)


def read_part(
    frame: pd.DataFrame, file: File, columns: Columns, config: TableData, kind: Kind | None
) -> Part:
    """Read every column of one file that has a part.

    Args:
        frame: The rows of the file.
        file: The file.
        columns: The columns of numbers to show and to predict.
        config: The other columns.
        kind: What is predicted; ``None`` where nothing is.

    Returns:
        The rows, each recording's together and in the order of the file.

    Raises:
        ConfigError: If the columns of time cannot make a stamp together.
        DataError: If a cell does not hold what its column must, stamps of a recording do not
            ascend, or its group changes.
    """
    frame, places = _gather_units(frame, file, config)
    place = places.show
    stamps = label = None
    if config.time:
        stamps = read_stamps(frame, config.time, place)
        check_order(stamps, places.starts, place)
    if kind == "classification":
        label = read_words(frame[config.targets[0]], "targets")
    if kind == "anomaly":
        label = read_flags(frame[config.targets[0]], place)
    group = config.group or config.unit
    return Part(
        places=places,
        stamps=stamps,
        values=read_numbers(frame, columns.numbers, "channels", place),
        truths=read_numbers(frame, columns.values, "targets", place),
        label=label,
        categories=tuple(read_words(frame[name], "categories") for name in config.categories),
        group=None if group is None else read_groups(frame[group], places.starts, place),
        sides=None if config.sides is None else read_sides(frame[config.sides], place),
    )


def _gather_units(
    frame: pd.DataFrame, file: File, config: TableData
) -> tuple[pd.DataFrame, Places]:
    """Put the rows of each unit together, units in the order in which they appear."""
    rows = np.arange(len(frame))
    whole = Places(files=(file,), names=(file.name,), starts=np.array([0, len(frame)]), lines=rows)
    if config.unit is None:
        return frame, whole
    units = read_words(frame[config.unit], "unit")
    check_complete(units, "unit", config.unit, whole.show)
    order = np.argsort(units.codes, kind="stable")
    prefix = f"{file.name}:" if config.path.is_dir() else ""
    places = Places(
        files=(file,) * len(units.words),
        names=tuple(prefix + word for word in units.words),
        starts=np.concatenate([[0], np.cumsum(np.bincount(units.codes))]),
        lines=order,
    )
    return (frame if (order == rows).all() else frame.iloc[order]), places


def label_groups(parts: Sequence[Part]) -> list[str]:
    """Name the group of each recording as read; equal names in two files are one group.

    Args:
        parts: All files, with a group in each or in none.

    Returns:
        One name a recording: its own where there are no groups.
    """
    return [
        name if part.group is None else part.group.at(row)
        for part in parts
        for name, row in zip(part.places.names, part.places.starts[:-1], strict=True)
    ]


def check_groups(parts: Sequence[Part], column: str) -> None:
    """Refuse a group, or unit, with rows on two official sides.

    Args:
        parts: All files, each with groups and sides.
        column: The column of the groups.

    Raises:
        DataError: If there is one.
    """
    found: dict[str, set[int]] = {}
    for part in parts:
        if part.group is not None and part.sides is not None:
            pairs = np.unique(np.stack([part.group.codes, part.sides]), axis=1)
            for code, side in pairs.T.tolist():
                found.setdefault(part.group.words[code], set()).add(side)
    for label, sides in found.items():
        if len(sides) > 1:
            names = " and ".join(SIDES[side] for side in sorted(sides))
            raise DataError(
                f"data.sides must keep each group on one side. Received: {column} {label} stands "
                f"on {names}. Correct the column of sides; where equal names in two files are "
                f"different ones, make them differ."
            )
