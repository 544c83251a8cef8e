"""The proof that no raw row stands on two sides: by number, content, group and scaling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from search.data.recordings import Recordings, Targets
from search.data.scaling import Scaling, rows_at_once
from search.data.sequences import SIDES, Array, Side
from search.data.splits import Sides
from search.data.targets import any_within
from search.errors import DataError

EVIDENCE = 3
"""A run of equal rows is told from chance when its first row and the changes after it are together
as rare as this many independent draws of one row out of all."""
SLACK = 1.25
"""How much longer a run is than it takes on average, since copies make rare changes less rare."""
FINENESS = 1e-4
"""Changes are compared in this fraction of a channel's spread, past rounding."""
QUARTILES = 1.349
"""Standard deviations between the quartiles of a normal distribution."""
RICH = 16
"""Different numbers in a row from which on an equal row is taken for a copy."""
LARGEST_PURGE = 0.5
"""Share of a side that may be dropped; past it the split itself is wrong."""
GIVES_WAY: Mapping[Side, tuple[Side, ...]] = {
    "train": ("validation", "test"),
    "validation": ("test",),
}
"""Which side loses a target that shares rows, and to which; the test side never does."""
HASHED_NUMBERS = 2**22
"""Numbers that are hashed at once, to bound memory."""
SCALING_TOLERANCE = 1e-3
"""How far, in training standard deviations, a scaler may be from what the audit works out."""
GROUPS_NAMED = 5


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
    recordings: Recordings,
    targets: Targets,
    sides: Sides,
    method: Literal["groups", "blocks", "time", "stratified"],
) -> tuple[dict[Side, Array], str]:
    """Prove that no raw row stands on two sides, through windows of the longest length too.

    A target holds the rows of its longest window and those that it predicts. Rows are compared by
    number and by content: overlapping clips that were copied into a file share runs of
    consecutive equal rows. A run counts only where its changes from row to row are too rare to be
    equal by chance, so an idle sensor, padding, a counter or coarse readings give no false alarm;
    a few rows tell of exact sensors, many of coarse ones. A single row counts where it is rich, as a
    frame is, unless a recording repeats it. Groups are compared too, unless
    recordings are split by time, where each of them stands on all sides.

    Args:
        recordings: The raw rows.
        targets: All targets.
        sides: For each side the numbers of its targets.
        method: How they were split. After stratified nothing is dropped; after every other a
            training target that shares rows is dropped, then such a validation target.

    Returns:
        The sides without the dropped targets, and what was compared and found.

    Raises:
        DataError: If rows are shared after stratified, if most of a side would be dropped, or
            if a group stands on two sides.
    """
    room = _Room(recordings, targets)
    marks = _mark_runs(recordings, targets.longest + targets.horizon), _mark_rows(recordings)
    kept: dict[Side, Array] = dict(sides)
    for side, others in GIVES_WAY.items():
        shared = _find_shared(room, kept, side, others, marks)
        if method == "stratified" and shared.any():
            raise _leak(sides, side, int(shared.sum()), "single targets cannot be kept apart")
        if len(shared) and shared.mean() > LARGEST_PURGE:
            raise _leak(sides, side, int(shared.sum()), "dropping them would leave too few")
        kept[side] = kept[side][~shared]
    if method != "time":
        _check_groups(recordings, targets, kept)
    return kept, _report(room, sides, kept, marks)


def keep_apart(recordings: Recordings, targets: Targets, sides: Sides) -> Array:
    """Keep the training targets that hold no row, by its number, of validation or test targets.

    Args:
        recordings: The raw rows.
        targets: All targets.
        sides: For each side the numbers of its targets.

    Returns:
        The numbers of training targets.
    """
    shared = _share_numbers(_Room(recordings, targets), sides, "train", GIVES_WAY["train"])
    return np.asarray(sides["train"][~shared])


def audit_scaling(
    recordings: Recordings, targets: Targets, training: Array, scaling: Scaling
) -> None:
    """Prove that what rows are scaled by rests on training rows alone.

    Means and spreads are worked out once more, in another way than the scaler's.

    Args:
        recordings: The raw rows.
        targets: All targets.
        training: The numbers of the training targets.
        scaling: What every row is scaled by.

    Raises:
        DataError: If it is not what the training rows give.
    """
    if scaling.range_only:
        return
    seen = _Room(recordings, targets).cover(training, 0, ahead=False)
    for place, low, high in scaling.parts(recordings):
        count = sum(len(part) for part in _read_seen(recordings.rows, seen, low, high))
        if not count:
            continue
        mean = sum(p.sum(axis=0) for p in _read_seen(recordings.rows, seen, low, high)) / count
        squares = (np.square(p - mean) for p in _read_seen(recordings.rows, seen, low, high))
        spread = np.sqrt(sum(square.sum(axis=0) for square in squares) / count)
        spread = np.where(spread > 0, spread, 1)
        # means are kept in float32, which is coarse far away from zero
        rounding = np.finfo(np.float32).eps * np.abs(mean)
        off = np.maximum(np.abs(scaling.mean[place] - mean) - rounding, 0) / spread
        ratio = np.abs(scaling.scale[place] / spread - 1)
        worst = float(np.maximum(off, np.where(scaling.scale[place] == 1, 0, ratio)).max())
        if not worst <= SCALING_TOLERANCE:
            raise DataError(
                f"The scaler must be fitted on training rows alone. Received: a mean or spread "
                f"that is {worst:.3g} standard deviations from that of the {count:,} "
                f"training rows."
            )


def _read_seen(rows: Array, seen: Array, low: int, high: int) -> Iterator[Array]:
    """Read the rows that are seen between two row numbers, a few at a time, in float64."""
    size = rows_at_once(rows)
    for at in range(low, high, size):
        to = min(at + size, high)
        yield _flatten(rows[at:to][seen[at:to]]).astype(np.float64)


def _flatten(rows: Array) -> Array:
    return rows.reshape(-1, rows.shape[-1])


def _check_groups(recordings: Recordings, targets: Targets, sides: Sides) -> None:
    """Refuse a group (a subject, an engine, a source video) that stands on two sides."""
    if recordings.groups is None:
        return
    numbers = {side: recordings.groups[targets.recordings[sides[side]]] for side in SIDES}
    for side, others in GIVES_WAY.items():
        for other in others:
            shared = np.intersect1d(numbers[side], numbers[other])
            shared = shared[shared >= 0]
            if len(shared):
                where = np.flatnonzero(np.isin(recordings.groups, shared))[:GROUPS_NAMED]
                names = ", ".join(repr(recordings.names[number]) for number in where)
                raise DataError(
                    f"No group may stand on two sides. Received: {len(shared)} groups with "
                    f"{side} and {other} targets, among them the recordings {names}. Write "
                    f"split.method='groups', or 'time' where each recording is cut by time."
                )


class _Room:
    """Which raw rows targets hold."""

    def __init__(self, recordings: Recordings, targets: Targets) -> None:
        self.rows = len(recordings.rows)
        self.targets = targets

    def span(self, chosen: Array) -> tuple[Array, Array]:
        """Return the first row of each target, and the row after its last one."""
        ends = self.targets.ends[chosen]
        return ends + 1 - self.targets.longest, ends + 1 + self.targets.horizon

    def cover(self, chosen: Array, short: int, *, ahead: bool = True) -> Array:
        """Mark the rows of some targets, leaving out the last ``short`` rows of each."""
        lows, highs = self.span(chosen)
        highs = highs - short - (0 if ahead else self.targets.horizon)
        edges = np.zeros(self.rows + 1, dtype=np.int64)
        np.add.at(edges, lows, 1)
        np.add.at(edges, np.maximum(highs, lows), -1)
        return np.asarray(np.cumsum(edges)[:-1] > 0)


def _leak(sides: Sides, side: Side, count: int, why: str) -> DataError:
    return DataError(
        f"No raw row may stand on two sides: {why}. Received: {count} of {len(sides[side])} {side} "
        f"targets share rows with {' or '.join(GIVES_WAY[side])}. Write split.method='blocks' with "
        f"the clips in time order and split.gap=1 or more, or name data.groups and write "
        f"split.method='groups', or 'time' for long recordings."
    )


def _report(room: _Room, sides: Sides, kept: Sides, marks: Sequence[_Marks]) -> str:
    rows = [np.count_nonzero(room.cover(kept[side], 0)) for side in SIDES]
    counts = ", ".join(f"{number:,} {side}" for number, side in zip(rows, SIDES, strict=True))
    compared = [f"in runs of {one.run}" for one in marks if one.run > 1 and one.telling.any()]
    compared += ["one by one" for one in marks if one.run == 1 and one.telling.any()]
    content = f"by content {' and '.join(compared)}"
    if not compared:
        content = "not by content, since runs so short, or rows so coarse, tell nothing"
    dropped = " and ".join(
        f"{len(sides[side]) - len(kept[side]):,} {side}"
        for side in GIVES_WAY
        if len(kept[side]) < len(sides[side])
    )
    found = "no row stands on two sides"
    if dropped:
        found += f", once {dropped} targets that shared rows were dropped"
    return f"Compared {counts} rows by number and {content}: {found}."


def _share_numbers(room: _Room, sides: Sides, side: Side, others: tuple[Side, ...]) -> Array:
    """Say which targets of one side hold a row that other sides hold, of shape (targets,)."""
    held = np.concatenate([sides[other] for other in others])
    return any_within(room.cover(held, 0), *room.span(sides[side]))


def _find_shared(
    room: _Room, sides: Sides, side: Side, others: tuple[Side, ...], marks: Sequence[_Marks]
) -> Array:
    """Say which targets of one side share a row or a run with other sides, of shape (targets,)."""
    shared = _share_numbers(room, sides, side, others)
    held = np.concatenate([sides[other] for other in others])
    lows, highs = room.span(sides[side])
    for one in marks:
        starts = room.cover(held, one.run - 1)[: len(one.hashes)]
        known = np.unique(one.hashes[starts & one.telling])
        runs = one.telling & np.isin(one.hashes, known)
        shared |= any_within(runs, lows, np.maximum(highs + 1 - one.run, lows))
    return np.asarray(shared)


def _mark_runs(recordings: Recordings, longest: int) -> _Marks:
    """Hash every run of consecutive rows of a recording, and find the telling ones."""
    rows = recordings.rows
    hashes, changes = _hash_rows(rows.reshape(len(rows), -1)), _hash_changes(rows)
    bits = np.where(changes == 0, 0, _surprise(changes)) if len(changes) else np.zeros(0)
    wanted = EVIDENCE * np.log2(len(rows))
    usual = bits[bits > 0].mean() if bits.any() else 1.0
    run = min(longest, 1 + int(np.ceil(SLACK * wanted / usual)))
    sums = np.concatenate([[0], np.cumsum(bits)])
    told = sums[run - 1 :] - sums[: len(sums) - run + 1]
    telling = told + _surprise(hashes)[: len(told)] >= wanted
    starts = np.arange(len(told))
    # a run that begins in one recording and ends in the next is nobody's
    whole = np.searchsorted(recordings.starts, starts, side="right")
    telling &= recordings.starts[whole] >= starts + run
    return _Marks(run=run, hashes=_hash_runs(hashes, run), telling=telling)


def _mark_rows(recordings: Recordings) -> _Marks:
    """Hash every row, and find those that tell of a copy alone: overlaps may be of few frames."""
    rows = recordings.rows
    hashes, telling = _hash_rows(rows.reshape(len(rows), -1)), _find_rich(rows)
    owners = np.repeat(np.arange(len(recordings.names)), recordings.lengths)
    order = np.lexsort((hashes, owners))
    again = (np.diff(owners[order]) == 0) & (hashes[order][1:] == hashes[order][:-1])
    return _Marks(
        run=1,
        hashes=hashes,
        # what stands still, as a test card, is repeated by chance
        telling=telling & ~np.isin(hashes, hashes[order][1:][again]),
    )


def _find_rich(rows: Array) -> Array:
    """Say which rows, as frames do, hold so many different numbers that chance repeats none."""
    width = int(np.prod(rows.shape[1:]))
    if width < RICH:
        return np.zeros(len(rows), dtype=bool)
    size, rich = rows_at_once(rows), np.empty(len(rows), dtype=bool)
    for low in range(0, len(rows), size):
        values = np.sort(rows[low : low + size].reshape(-1, width), axis=1)
        rich[low : low + size] = 1 + (values[:, 1:] != values[:, :-1]).sum(axis=1) >= RICH
    return rich


def _surprise(hashes: Array) -> Array:
    """Say how seldom each value occurs, in bits."""
    _, places, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(np.log2(len(hashes) / counts)[places])


def _hash_changes(rows: Array) -> Array:
    """Hash the change from each row to the next, past rounding.

    Args:
        rows: Rows of shape (rows, ..., channels).

    Returns:
        Hashes of shape (rows - 1,), 0 where nothing changes.
    """
    numbers = int(np.prod(rows.shape[1:]))
    spread = _spread(rows)
    steps = np.tile(np.where(spread > 0, spread, 1) * FINENESS, numbers // rows.shape[-1])
    weights, size = _weights(numbers), _chunk(rows)
    hashes = np.zeros(len(rows) - 1, dtype=np.uint64)
    for low in range(0, len(hashes), size):
        part = rows[low : low + size + 1].reshape(-1, numbers).astype(np.float32)
        whole = np.round(np.diff(part, axis=0) / steps).astype(np.int64).view(np.uint64)
        hashes[low : low + size] = (whole * weights).sum(axis=1, dtype=np.uint64)
    return hashes


def _spread(rows: Array) -> Array:
    """Estimate each channel's spread from some rows, of shape (channels,).

    It is the standard deviation, or that of a normal distribution with the same quartiles where
    that is less: one value of a broken sensor hides no change.
    """
    some = _flatten(rows[:: -(-len(rows) // _chunk(rows))]).astype(np.float64)
    low, high = np.percentile(some, (25, 75), axis=0)
    spread, quartiles = some.std(axis=0), (high - low) / QUARTILES
    return np.asarray(np.where(quartiles > 0, np.minimum(spread, quartiles), spread))


def _chunk(rows: Array) -> int:
    """Count the rows that are read at once."""
    return max(1, HASHED_NUMBERS // int(np.prod(rows.shape[1:])))


def _weights(count: int) -> Array:
    """Draw the odd weights of a sum that hashes, the same in every study."""
    return np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64) * 2 + 1


def _hash_rows(rows: Array) -> Array:
    """Hash rows of shape (rows, numbers) by a random weighted sum of their bits, modulo 2**64."""
    weights, size = _weights(rows.shape[1]), _chunk(rows)
    parts = (
        np.ascontiguousarray(rows[low : low + size], dtype=np.float32).view(np.uint32)
        for low in range(0, len(rows), size)
    )
    return _mix(np.concatenate([(part * weights).sum(axis=1, dtype=np.uint64) for part in parts]))


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
