"""Targets go to training, validation and test, before any window is cut."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from search.config import SplitConfig
from search.data.borders import BORDERS, split_by_time
from search.data.recordings import Recordings, Targets
from search.data.sequences import SIDES, Array, Side
from search.data.targets import any_within
from search.errors import ConfigError, DataError

Sides: TypeAlias = Mapping[Side, Array]
DRAWS = 50
"""Orders of the groups that are tried; the one whose sides are most like the whole is taken."""
TOLERANCE = 0.1
"""How much less like the whole a side that is drawn again may be, as a share of a class: of few groups
one deal is the most even one, whatever the seed."""
DRAWN = ("groups", "blocks", "stratified")
"""Methods whose validation side can be drawn anew."""


def split_targets(
    recordings: Recordings, targets: Targets, config: SplitConfig, seed: int
) -> dict[Side, Array]:
    """Give every target one side, or none where a gap is asked for.

    What the source calls an official side stays whole there; the rest goes to the sides that
    the source leaves open.

    Args:
        recordings: What the source read.
        targets: The targets, in file order.
        config: The method and the shares.
        seed: The study's seed; equal seeds give equal splits.

    Returns:
        For each side the numbers of its targets, of shape (targets,), ascending.

    Raises:
        ConfigError: If ``split.method`` needs groups or stamps, and the data have none, or a
            border is given that an official side has already.
        DataError: If there are too few groups, or a border lies beside the data.
    """
    official = _official_sides(recordings, targets)
    fixed = {side: np.flatnonzero(official == place) for place, side in enumerate(SIDES)}
    _check_borders(fixed, config)
    if len(fixed["validation"]):  # all that is named is named; what is not has no side
        return fixed
    pool = np.flatnonzero((official != SIDES.index("test")) & (official != NOWHERE))
    share = 0.0 if len(fixed["test"]) else config.test
    shares = {"test": share, "validation": config.validation * (1 - share)}
    rng = np.random.default_rng(seed)
    methods: Mapping[str, Callable[[], Array]] = {
        "groups": lambda: _by_groups(recordings, targets, pool, shares, rng),
        "blocks": lambda: _by_blocks(len(pool), shares, config),
        "time": lambda: split_by_time(recordings, targets, pool, shares, config),
        "stratified": lambda: _by_class(targets.labels[pool], shares, rng),
    }
    if config.method == "time" and recordings.clips:
        raise ConfigError(
            f"split.method must be another than 'time' for clips, each of which has one target. "
            f"Received: method={config.method!r}. Write 'blocks' where they stand in the order of "
            f"time, or 'groups'."
        )
    names = methods[config.method]()
    sides = {side: pool[names == side] for side in SIDES}
    if len(fixed["test"]):
        sides["test"] = fixed["test"]
    return sides


def _check_borders(fixed: Mapping[Side, Array], config: SplitConfig) -> None:
    """Refuse borders of sides that the source names: they would do nothing."""
    named = next((side for side in ("validation", "test") if len(fixed[side])), None)
    void = {None: (), "test": ("test_from", "until"), "validation": BORDERS}[named]
    for field in void:
        if (border := getattr(config, field)) is not None:
            raise ConfigError(
                f"split.{field} must be left out where the source names the {named} side: that "
                f"stays as it is. Received: {field}={border!r}."
            )


NOWHERE = -2
"""The official side of a target whose horizon crosses from one side to another."""


def _official_sides(recordings: Recordings, targets: Targets) -> Array:
    """Find the official side of the rows that each target predicts, of shape (targets,)."""
    if recordings.sides is None:
        return np.full(len(targets.ends), -1)
    first = targets.ends + (1 if targets.horizon else 0)
    sides = recordings.sides[first].astype(np.int64)
    changes = np.diff(recordings.sides, prepend=recordings.sides[:1]) != 0
    crossing = any_within(changes, first + 1, targets.ends + targets.horizon + 1)
    return np.where(crossing, NOWHERE, sides)


def redraw_validation(
    recordings: Recordings, targets: Targets, sides: Sides, config: SplitConfig, seed: int
) -> dict[Side, Array]:
    """Draw another validation side from what is not the test side.

    Hold-out scores of a few targets are luck to a part; Nagler et al., "Reshuffling Resampling
    Splits Can Improve Generalization of Hyperparameter Optimization", 2024 (arXiv 2405.15393).

    Args:
        recordings: What the source read.
        targets: The targets, in file order.
        sides: The study's own sides.
        config: The method and the shares.
        seed: The seed of this draw.

    Returns:
        The sides, with the same test side; ``sides`` where the method draws nothing, or the
        source names its validation side.

    Raises:
        DataError: If there are too few groups.
    """
    named = np.any(_official_sides(recordings, targets) == SIDES.index("validation"))
    if config.method not in DRAWN or named:
        return dict(sides)
    pool = np.union1d(sides["train"], sides["validation"])
    shares = {"validation": len(sides["validation"]) / len(pool)}
    rng = np.random.default_rng(seed)
    methods: Mapping[str, Callable[[], Array]] = {
        "groups": lambda: _by_groups(recordings, targets, pool, shares, rng, TOLERANCE),
        "blocks": lambda: _move_stretches(len(pool), shares["validation"], config, rng),
        "stratified": lambda: _by_class(targets.labels[pool], {"test": 0.0, **shares}, rng),
    }
    names = methods[config.method]()
    drawn: dict[Side, Array] = {side: pool[names == side] for side in SIDES}
    return {**drawn, "test": sides["test"]}


def _by_groups(
    recordings: Recordings,
    targets: Targets,
    pool: Array,
    shares: Mapping[str, float],
    rng: np.random.Generator,
    tolerance: float = 0.0,
) -> Array:
    """Name the side of each target in the pool: whole groups, classes as even as they allow.

    Args:
        recordings: What the source read.
        targets: The targets.
        pool: Numbers of the targets to deal.
        shares: The share of all targets that each held-out side should have.
        rng: The source of the deals.
        tolerance: By how large a share of a class the first deal to be taken may be less even than
            the most even one.

    Returns:
        Side names of shape (targets in the pool,).
    """
    if recordings.groups is None:
        raise ConfigError(
            "data.groups (of a table: data.unit or data.group) must be given for "
            "split.method='groups'. Received: no groups. Name the array or column of groups, or "
            "write split.method='blocks' for clips in time order, 'time' for recordings."
        )
    numbers = recordings.groups[targets.recordings[pool]]
    groups = np.unique(numbers, return_inverse=True)[1]
    wanted = [side for side, share in shares.items() if share]
    if groups.max(initial=-1) < len(wanted):
        raise DataError(
            f"split.method='groups' must find {len(wanted) + 1} groups or more, one a side. "
            f"Received: {groups.max(initial=-1) + 1} groups. Write split.method='blocks', or "
            f"'time' for recordings."
        )
    labels = targets.labels[pool]
    counts = np.zeros((groups.max() + 1, labels.max() + 1))
    np.add.at(counts, (groups, labels), 1)
    draws = [_deal_groups(counts, shares, rng) for _ in range(DRAWS)]
    uneven = [_unevenness(counts, names, shares) for names in draws]
    most = min(uneven) + tolerance
    first = next(names for names, found in zip(draws, uneven, strict=True) if found <= most)
    return np.asarray(first[groups])


def _deal_groups(counts: Array, shares: Mapping[str, float], rng: np.random.Generator) -> Array:
    """Name a side for each group, held-out sides first, in a random order.

    Args:
        counts: Targets of each class in each group, of shape (groups, classes).
        shares: The share of all targets that each held-out side should have.
        rng: The source of the order.

    Returns:
        Side names of shape (groups,).
    """
    order = rng.permutation(len(counts))
    sizes = counts.sum(axis=1)[order] / counts.sum()
    names = np.full(len(counts), "train", dtype="<U10")
    start, left = 0, sum(share > 0 for share in shares.values())
    for side, share in shares.items():
        if share:
            reached = np.cumsum(sizes[start:])
            size = int(np.argmin(abs(reached - share))) + 1
            size = min(size, len(counts) - start - left)
            names[order[start : start + size]] = side
            start, left = start + size, left - 1
    return names


def _unevenness(counts: Array, names: Array, shares: Mapping[str, float]) -> float:
    """Say how far the sides are from the wanted share of every class, at worst."""
    whole = np.maximum(counts.sum(axis=0), 1)
    gaps = [
        abs(counts[names == side].sum(axis=0) / whole - share) for side, share in shares.items()
    ]
    return float(np.max(gaps))


def _by_blocks(count: int, shares: Mapping[str, float], config: SplitConfig) -> Array:
    """Name the side of each target, in stretches of neighbours; '' in the gaps.

    Each stretch is training, then test, then validation; training gives up all the gaps.
    """
    names = np.full(count, "train", dtype="<U10")
    for low, high in _cut_stretches(count, config.blocks):
        validation = high - round(shares["validation"] * (high - low))
        tests = round(shares["test"] * (high - low))
        tested = max(low, validation - config.gap) if tests else validation
        test = max(low, tested - tests)
        names[max(low, test - config.gap) : high + config.gap] = ""
        names[test:tested] = "test"
        names[validation:high] = "validation"
    return names


def _move_stretches(
    count: int, share: float, config: SplitConfig, rng: np.random.Generator
) -> Array:
    """Name the side of each target as ``_by_blocks``, validation anywhere in each stretch."""
    names = np.full(count, "train", dtype="<U10")
    held = []
    for low, high in _cut_stretches(count, config.blocks):
        size = round(share * (high - low))
        start = rng.integers(low, high - size + 1)
        names[max(0, start - config.gap) : start + size + config.gap] = ""
        held.append(slice(start, start + size))
    for stretch in held:  # after all gaps, which may reach into a neighbour's
        names[stretch] = "validation"
    return names


def _cut_stretches(count: int, blocks: int) -> Iterator[tuple[int, int]]:
    """Cut a row of targets into stretches of equal length: where each begins and ends."""
    return pairwise(np.linspace(0, count, blocks + 1).round().astype(int).tolist())


def _by_class(labels: Array, shares: Mapping[str, float], rng: np.random.Generator) -> Array:
    """Name the side of each target at random, every class in the same shares."""
    names = np.full(len(labels), "train", dtype="<U10")
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        test = round(shares["test"] * len(members))
        validation = test + round(shares["validation"] * len(members))
        names[members[:test]] = "test"
        names[members[test:validation]] = "validation"
    return names
