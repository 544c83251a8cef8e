"""Gaps between the stamps of rows are refused, split recordings, are filled in or ignored."""

from dataclasses import dataclass, replace

import numpy as np

from search.config import TableData
from search.data.parts import Places
from search.data.sequences import Array
from search.data.stamps import Place, read_step, show_count, show_stamp, show_time
from search.errors import ConfigError, DataError

RARE = 0.1
"""Share of the times between rows that one of them needs to be called their step."""
JITTER = 0.01
"""Share of a step by which a stamp may miss its place, past clocks that tremble."""
UNITS = (10**9, 10**6, 10**3, 1)
"""What stamps may be written in, in nanoseconds: rounding moves them by as much."""
LARGEST_ROUNDING = 0.25
"""Share of a step that rounding may be taken for: a missing row is told from it."""
LONGEST_FILL = 1.0
"""Rows that may be filled in, as a share of those that were read: past it most would be made up."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the rows of all files go once gaps were split or filled.

    Attributes:
        to: The final row of each row that was read, of shape (rows,).
        starts: The final row that each final recording begins at, and the number of final rows,
            of shape (recordings + 1,).
        names: The final recordings' names.
        origins: The recording, as read, that each final one comes from, of shape (recordings,).
        stamps: The time of each final row, of shape (final rows,), or ``None``.
        note: What was done about gaps, '' for nothing.
        step: The time from one row to the next, in nanoseconds, or ``None``.
    """

    to: Array
    starts: Array
    names: tuple[str, ...]
    origins: Array
    stamps: Array | None
    note: str = ""
    step: int | None = None

    @property
    def rows(self) -> int:
        """How many final rows there are."""
        return int(self.starts[-1])


@dataclass(frozen=True, kw_only=True)
class _Gaps:
    """Where a stamp does not follow the last one by a step.

    Attributes:
        step: The time from one row to the next, in nanoseconds.
        rows: The row after each gap, of shape (gaps,).
        sizes: The time from the row before to the row after each gap, in nanoseconds, of
            shape (gaps,).
        slack: By how much a time may differ from whole steps, in nanoseconds.
    """

    step: int
    rows: Array
    sizes: Array
    slack: float


def lay_out(stamps: Array | None, places: Places, config: TableData) -> Layout:
    """Say where rows go: gaps are refused, begin a recording, are filled or left.

    Args:
        stamps: The time of each row, ascending in each recording, of shape (rows,), or ``None``.
        places: Where the rows stand in their files.
        config: What is done about gaps.

    Returns:
        The final row of each row, and the recordings that the final rows lie in.

    Raises:
        ConfigError: If rows are to be filled in whose missing values are refused.
        DataError: If there are gaps that are refused or cannot be filled.
    """
    layout = Layout(
        to=np.arange(len(places.lines)),
        starts=places.starts,
        names=places.names,
        origins=np.arange(len(places.names)),
        stamps=stamps,
    )
    if stamps is None or (np.diff(places.starts) == 1).all():  # no time between two rows
        return layout
    gaps = _find_gaps(stamps, places.starts, config.step)
    layout = replace(layout, step=gaps.step)
    if not len(gaps.rows):
        return layout
    match config.gaps:
        case "refuse":
            raise _refuse_gaps(gaps, stamps, places.show)
        case "split":
            return _split_at(layout, gaps.rows)
        case "fill":
            _check_fill(gaps, config)
            return _widen(layout, gaps.rows, _count_missing(gaps, stamps, places.show), gaps.step)
    return replace(layout, note=f"{show_count(len(gaps.rows), 'gap')} ignored")


def _check_fill(gaps: _Gaps, config: TableData) -> None:
    if config.missing == "refuse":
        raise ConfigError(
            f"data.missing must be 'forward' or 'drop' for data.gaps='fill': rows that are filled "
            f"in have no values. Received: missing='refuse' and "
            f"{show_count(len(gaps.rows), 'gap')}."
        )


def _find_gaps(stamps: Array, starts: Array, step: str | None) -> _Gaps:
    """Find the rows whose stamp does not follow the last one by a step.

    Args:
        stamps: Ascending stamps within each recording, of shape (rows,).
        starts: The row that each recording begins at, and the number of rows; one recording has
            two or more.
        step: The time from one row to the next as '1h'; by default the most frequent one.

    Returns:
        The gaps, in row order.
    """
    wanted = read_step(step)
    inner = np.ones(len(stamps), dtype=bool)
    inner[starts[:-1]] = False
    rows = np.flatnonzero(inner)
    sizes = (stamps[rows] - stamps[rows - 1]).astype(np.int64)
    rounding = next(unit for unit in UNITS if not (stamps.astype(np.int64) % unit).any())
    if wanted is None:
        wanted = _find_step(sizes, rounding)
    slack = _find_slack(wanted, rounding)
    gaps = abs(sizes - wanted) > slack
    return _Gaps(step=wanted, rows=rows[gaps], sizes=sizes[gaps], slack=slack)


def _find_slack(step: int, rounding: int) -> float:
    """Say by how much the time between two rows may differ from a step, in nanoseconds."""
    return max(JITTER * step, min(rounding, LARGEST_ROUNDING * step))


def _find_step(sizes: Array, rounding: int) -> int:
    """Find the most frequent time between rows; where stamps jitter and none is, the median.

    Rounded stamps show a step as two times in turn, 33 and 34 ms: then it is their mean.
    """
    values, counts = np.unique(sizes, return_counts=True)
    frequent = int(np.argmax(counts))
    rare = counts[frequent] < RARE * len(sizes)
    step = int(np.median(sizes)) if rare else int(values[frequent])
    slack = _find_slack(step, rounding)
    if rare or slack == JITTER * step:
        return step
    return int(sizes[abs(sizes - step) <= slack].mean())


def _refuse_gaps(gaps: _Gaps, stamps: Array, place: Place) -> DataError:
    """Write the message that names the gaps and what can be done about them."""
    row, largest = int(gaps.rows[0]), int(gaps.sizes.max())
    return DataError(
        f"data.time must go forward by a step of {show_time(gaps.step)} from row to row, where "
        f"data.gaps='refuse'. Received: {show_count(len(gaps.rows), 'gap')}, the largest of "
        f"{show_time(largest)}, the first from {show_stamp(stamps[row - 1])} to "
        f"{show_stamp(stamps[row])} at {place(row)}. Write data.gaps='split' to begin a new "
        f"recording there, 'fill' to fill in missing rows, 'ignore' to take rows as they come, or "
        f"another data.step."
    )


def _count_missing(gaps: _Gaps, stamps: Array, place: Place) -> Array:
    """Count the rows that are missing in each gap.

    Args:
        gaps: The gaps.
        stamps: The time of each row, of shape (rows,).
        place: Says where a row stands.

    Returns:
        Rows to fill in, of shape (gaps,), int64.

    Raises:
        DataError: If a gap is not a whole number of steps, or more rows are missing than there
            are.
    """
    steps = np.round(gaps.sizes / gaps.step)
    uneven = (steps < 1) | (abs(gaps.sizes - steps * gaps.step) > gaps.slack)
    if uneven.any():
        row = int(gaps.rows[np.argmax(uneven)])
        raise DataError(
            f"data.gaps='fill' must find gaps of whole steps of {show_time(gaps.step)}. Received: "
            f"{show_stamp(stamps[row - 1])} then {show_stamp(stamps[row])} at {place(row)}, the "
            f"first of {np.count_nonzero(uneven):,}. Write another data.step, or "
            f"data.gaps='split' or 'ignore'."
        )
    missing = int(steps.sum()) - len(steps)
    if missing > LONGEST_FILL * len(stamps):
        raise DataError(
            f"data.gaps='fill' must not make up most of the table. Received: {missing:,} missing "
            f"rows beside {len(stamps):,}, at a step of {show_time(gaps.step)}. Write another "
            f"data.step, or data.gaps='split'."
        )
    return steps.astype(np.int64) - 1


def _split_at(layout: Layout, rows: Array) -> Layout:
    """Begin a new recording at some rows."""
    starts = np.sort(np.concatenate([layout.starts, rows]))
    origins = np.searchsorted(layout.starts, starts[:-1], side="right") - 1
    numbers = np.arange(len(origins)) - np.searchsorted(origins, origins) + 1
    names = [
        layout.names[origin] + (f"#{number}" if number > 1 else "")
        for origin, number in zip(origins, numbers, strict=True)
    ]
    return replace(
        layout,
        starts=starts,
        names=tuple(names),
        origins=origins,
        note=f"{show_count(len(rows), 'gap')} split recordings",
    )


def _widen(layout: Layout, rows: Array, added: Array, step: int) -> Layout:
    """Leave room for missing rows before some rows, and give them their stamps."""
    shifts = np.zeros(len(layout.to), dtype=np.int64)
    shifts[rows] = added
    to = layout.to + np.cumsum(shifts)
    total = len(to) + int(added.sum())
    before = np.searchsorted(to, np.arange(total), side="right") - 1
    since = (np.arange(total) - to[before]) * np.timedelta64(step, "ns")
    return replace(
        layout,
        to=to,
        starts=np.append(to[layout.starts[:-1]], total),
        stamps=None if layout.stamps is None else layout.stamps[before] + since,
        note=f"{show_count(int(added.sum()), 'missing row')} filled in",
    )
