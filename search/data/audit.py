"""The proof that no raw row stands on two sides, by row number and by content."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.data.recordings import Recordings
from search.data.sequences import SIDES, Array, Side
from search.data.splits import Sides, check_sides
from search.errors import DataError

EVIDENCE = 3
"""A run of equal rows is told from chance when its first row and the changes after it are together
as rare as this many independent draws of one row out of all."""
SLACK = 1.25
"""How much longer a run is than it takes on average, since copies make rare changes less rare."""
FINENESS = 1e-4
"""Changes are compared in this fraction of a channel's standard deviation, past rounding."""
LARGEST_PURGE = 0.5
"""Share of a side that may be dropped; past it the split itself is wrong."""
GIVES_WAY: Mapping[Side, tuple[Side, ...]] = {
    "train": ("validation", "test"),
    "validation": ("test",),
}
"""Which side loses a target that shares rows, and to which; the test side never does."""
HASHED_ROWS = 4096
"""Rows that are hashed at once, to bound memory."""


@dataclass(frozen=True, kw_only=True)
class _Marks:
    """What identifies raw data.

    Attributes:
        run: Rows in one run.
        hashes: Hash of the run that starts at each row, of shape (starts,).
        telling: Whether that run is worth comparing, of shape (starts,).
    """

    run: int
    hashes: Array
    telling: Array


def audit_sides(
    recordings: Recordings, sides: Sides, method: Literal["groups", "blocks", "stratified"]
) -> tuple[dict[Side, Array], str]:
    """Prove that no raw row stands on two sides, through windows of the longest length too.

    Rows are compared by number and by content: overlapping clips that were copied into a file
    share runs of consecutive equal rows. A run counts only where its changes from row to row are
    too rare to be equal by chance, so an idle sensor, padding, a counter or coarse readings give
    no false alarm; a few rows tell of exact sensors, many of coarse ones.

    Args:
        recordings: The raw rows and all targets.
        sides: For each side the numbers of its targets.
        method: How they were split. After groups and blocks a training target that shares rows
            is dropped, then such a validation target; after stratified nothing is.

    Returns:
        The sides without the dropped targets, and what was compared and found.

    Raises:
        DataError: If rows are shared after stratified, if most of a side would be dropped, or
            if ``check_sides`` refuses what is left.
    """
    marks = _mark_runs(recordings.rows, recordings.longest)
    kept: dict[Side, Array] = dict(sides)
    for side, others in GIVES_WAY.items():
        shared = _find_shared(recordings, kept, side, others, marks)
        if method == "stratified" and shared.any():
            raise _leak(sides, side, int(shared.sum()), "single targets cannot be kept apart")
        if shared.mean() > LARGEST_PURGE:
            raise _leak(sides, side, int(shared.sum()), "dropping them would leave too few")
        kept[side] = kept[side][~shared]
    check_sides(recordings, kept)
    return kept, _report(sides, kept, recordings, marks)


def _leak(sides: Sides, side: Side, count: int, why: str) -> DataError:
    return DataError(
        f"No raw row may stand on two sides: {why}. Received: {count} of {len(sides[side])} {side} "
        f"targets share rows with {' or '.join(GIVES_WAY[side])}. Write split.method='blocks' with "
        f"the clips in time order and split.gap=1 or more, or name data.groups and write "
        f"split.method='groups'."
    )


def _report(sides: Sides, kept: Sides, recordings: Recordings, marks: _Marks) -> str:
    rows = [np.count_nonzero(_cover(recordings, kept[side], 0)) for side in SIDES]
    counts = ", ".join(f"{number:,} {side}" for number, side in zip(rows, SIDES, strict=True))
    content = f"by content in runs of {marks.run}"
    if not marks.telling.any():
        content = "not by content, which is too coarse"
    dropped = " and ".join(
        f"{len(sides[side]) - len(kept[side]):,} {side}"
        for side in GIVES_WAY
        if len(kept[side]) < len(sides[side])
    )
    found = "no row stands on two sides"
    if dropped:
        found += f", once {dropped} targets that shared rows were dropped"
    return f"Compared {counts} rows by number and {content}: {found}."


def _find_shared(
    recordings: Recordings, sides: Sides, side: Side, others: tuple[Side, ...], marks: _Marks
) -> Array:
    """Say which targets of one side share a row or a run with other sides, of shape (targets,)."""
    targets = np.concatenate([sides[other] for other in others])
    rows = _cover(recordings, targets, 0)
    starts = _cover(recordings, targets, marks.run - 1)[: len(marks.hashes)]
    known = np.unique(marks.hashes[starts & marks.telling])
    runs = marks.telling & np.isin(marks.hashes, known)
    ends, length = recordings.ends[sides[side]], recordings.longest
    by_number = _any_within(rows, ends + 1 - length, ends + 1)
    by_content = _any_within(runs, ends + 1 - length, ends + 2 - marks.run)
    return np.asarray(by_number | by_content)


def _cover(recordings: Recordings, targets: Array, short: int) -> Array:
    """Mark the rows of the targets' longest windows, leaving out the last rows of each."""
    ends = recordings.ends[targets]
    edges = np.zeros(len(recordings.rows) + 1, dtype=np.int64)
    np.add.at(edges, ends + 1 - recordings.longest, 1)
    np.add.at(edges, ends + 1 - short, -1)
    return np.asarray(np.cumsum(edges)[:-1] > 0)


def _any_within(flags: Array, lows: Array, highs: Array) -> Array:
    """Say for each range of rows from ``lows`` up to ``highs`` whether a flag is set in it."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(sums[highs] > sums[lows])


def _mark_runs(rows: Array, longest: int) -> _Marks:
    """Hash every run of consecutive rows, and find the telling ones."""
    flat = rows.reshape(len(rows), -1)
    hashes, changes = _hash_rows(flat), _hash_changes(flat, rows.shape[-1])
    bits = np.where(changes == 0, 0, _surprise(changes))
    wanted = EVIDENCE * np.log2(len(rows))
    usual = bits[bits > 0].mean() if bits.any() else 1.0
    run = min(longest, 1 + int(np.ceil(SLACK * wanted / usual)))
    sums = np.concatenate([[0], np.cumsum(bits)])
    told = sums[run - 1 :] - sums[: len(sums) - run + 1]
    telling = told + _surprise(hashes)[: len(told)] >= wanted
    return _Marks(run=run, hashes=_hash_runs(hashes, run), telling=telling)


def _surprise(hashes: Array) -> Array:
    """Say how seldom each value occurs, in bits."""
    _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(np.log2(len(hashes) / counts)[places])


def _hash_changes(rows: Array, channels: int) -> Array:
    """Hash the change from each row to the next, past rounding.

    Args:
        rows: Rows of shape (rows, numbers), the channel last in the numbers' order.
        channels: How many channels.

    Returns:
        Hashes of shape (rows - 1,), 0 where nothing changes.
    """
    spread = rows.reshape(-1, channels).std(axis=0, dtype=np.float64)
    steps = np.tile(np.where(spread > 0, spread, 1) * FINENESS, rows.shape[1] // channels)
    weights = _weights(rows.shape[1])
    hashes = np.zeros(len(rows) - 1, dtype=np.uint64)
    for low in range(0, len(hashes), HASHED_ROWS):
        changes = np.diff(rows[low : low + HASHED_ROWS + 1], axis=0) / steps
        whole = np.round(changes).astype(np.int64).view(np.uint64)
        hashes[low : low + HASHED_ROWS] = (whole * weights).sum(axis=1, dtype=np.uint64)
    return hashes


def _weights(count: int) -> Array:
    """Draw the odd weights of a sum that hashes, the same in every study."""
    return np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64) * 2 + 1


def _hash_rows(rows: Array) -> Array:
    """Hash rows of shape (rows, numbers) by a random weighted sum of their bits, modulo 2**64."""
    weights = _weights(rows.shape[1])
    bits = np.ascontiguousarray(rows, dtype=np.float32).view(np.uint32)
    sums = [
        (bits[low : low + HASHED_ROWS] * weights).sum(axis=1, dtype=np.uint64)
        for low in range(0, len(bits), HASHED_ROWS)
    ]
    return _mix(np.concatenate(sums))


def _mix(hashes: Array) -> Array:
    """Spread every bit over all others, as the end of SplitMix64 does (Steele et al., 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)))


def _hash_runs(hashes: Array, run: int) -> Array:
    """Hash each run of rows as a polynomial in an odd base, modulo 2**64, by running sums."""
    base = 0x9E3779B97F4A7C15
    powers = np.full(len(hashes), base, dtype=np.uint64).cumprod(dtype=np.uint64)
    inverses = np.full(len(hashes), pow(base, -1, 2**64), dtype=np.uint64).cumprod(dtype=np.uint64)
    sums = np.concatenate([np.zeros(1, np.uint64), (hashes * powers).cumsum(dtype=np.uint64)])
    return _mix((sums[run:] - sums[:-run]) * inverses[: len(hashes) - run + 1])
