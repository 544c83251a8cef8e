"""Missing values of a table are refused, carried forward or never shown."""

from collections.abc import Sequence

import numpy as np

from search.config import TableData
from search.data.columns import list_some
from search.data.gaps import Layout
from search.data.parts import Places
from search.data.sequences import Array
from search.data.stamps import show_count
from search.errors import DataError


def treat_missing(
    rows: Array, layout: Layout, places: Places, channels: Sequence[str], config: TableData
) -> tuple[Array | None, str]:
    """Refuse, carry forward or drop missing values, in place.

    Args:
        rows: Rows of shape (rows, channels), NaN in missing values, changed in place: none is
            left.
        layout: Where the rows come from, and the recordings that they lie in.
        places: Where the rows that were read stand in their files.
        channels: Names along the last axis of a row.
        config: What is done about missing values.

    Returns:
        Whether each row may be shown, of shape (rows,), or ``None`` for all; and what was done,
        '' for nothing.

    Raises:
        DataError: If missing values are refused, or a recording has none to carry.
    """
    holes = np.isnan(rows)
    # A row that was filled in is told of as such, not as missing values.
    count = int(np.count_nonzero(holes[layout.to]))
    if not holes.any():
        return None, ""
    match config.missing:
        case "refuse":
            raise _refuse_missing(holes, places, channels)
        case "forward":
            for number, name in enumerate(channels):
                if holes[:, number].any():
                    rows[:, number] = _carry(rows[:, number], ~holes[:, number], layout, name)
            return None, f"{show_count(count, 'missing value')} carried forward" if count else ""
    rows[holes] = 0
    usable = np.asarray(~holes.any(axis=1))
    unshown = int(np.count_nonzero(~usable))
    return usable, f"{show_count(unshown, 'row')} without all values never shown"


def _refuse_missing(holes: Array, places: Places, channels: Sequence[str]) -> DataError:
    counts = holes.sum(axis=0)
    first = int(np.argmax(counts > 0))
    row = int(np.argmax(holes[:, first]))
    others = [name for name, n in zip(channels, counts, strict=True) if n][1:]
    also = f", and some in {list_some(others)}" if others else ""
    return DataError(
        f"data.channels must have a value in every row, where data.missing='refuse'. Received: "
        f"{show_count(int(counts[first]), 'missing value')} in {channels[first]!r}, the first at "
        f"{places.show(row)}{also}. Write data.missing='forward' to carry the last known "
        f"value forward, or 'drop' to leave such rows' targets out."
    )


def _carry(values: Array, known: Array, layout: Layout, name: str) -> Array:
    """Take the last known value within a recording, at its start the next one."""
    numbers, size = np.arange(len(values)), len(values)
    lengths = np.diff(layout.starts)
    last = np.maximum.accumulate(np.where(known, numbers, -1))
    following = np.minimum.accumulate(np.where(known, numbers, size)[::-1])[::-1]
    sources = np.where(last >= np.repeat(layout.starts[:-1], lengths), last, following)
    empty = sources >= np.repeat(layout.starts[1:], lengths)
    if empty.any():
        recording = int(np.searchsorted(layout.starts, np.argmax(empty), side="right")) - 1
        raise DataError(
            f"data.missing='forward' must find a value of every channel in each recording. "
            f"Received: none of {name!r} in {layout.names[recording]!r}. Name data.channels "
            f"without it, leave the recording out, or write data.missing='drop'."
        )
    return np.asarray(values[sources])
