"""Targets go to training, validation and test, before any window is cut."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from search.config import SplitConfig
from search.data.recordings import Recordings
from search.data.sequences import SIDES, Array, Side
from search.errors import ConfigError, DataError

Sides: TypeAlias = Mapping[Side, Array]
DRAWS = 50
"""Orders of the groups that are tried; the one whose sides are most like the whole is taken."""


def split_targets(recordings: Recordings, config: SplitConfig, seed: int) -> dict[Side, Array]:
    """Give every target one side, or none where a gap is asked for.

    An official test set stays whole, and the rest goes to training and validation.

    Args:
        recordings: The targets, in file order.
        config: The method and the shares.
        seed: The study's seed; equal seeds give equal splits.

    Returns:
        For each side the numbers of its targets, of shape (targets,), ascending.

    Raises:
        ConfigError: If ``split.method`` is groups and the data name none.
        DataError: If there are too few groups, or ``check_sides`` refuses the sides.
    """
    official = np.flatnonzero(recordings.official_test)
    pool = np.flatnonzero(~recordings.official_test)
    share = 0.0 if len(official) else config.test
    shares = {"test": share, "validation": config.validation * (1 - share)}
    rng = np.random.default_rng(seed)
    methods: Mapping[str, Callable[[], Array]] = {
        "groups": lambda: _by_groups(recordings, pool, shares, rng),
        "blocks": lambda: _by_blocks(len(pool), shares, config),
        "stratified": lambda: _by_class(recordings.labels[pool], shares, rng),
    }
    names = methods[config.method]()
    sides = {side: pool[names == side] for side in SIDES}
    if len(official):
        sides["test"] = official
    check_sides(recordings, sides)
    return sides


def check_sides(recordings: Recordings, sides: Sides) -> None:
    """Refuse sides on which nothing can be learned or compared.

    Args:
        recordings: The targets.
        sides: For each side the numbers of its targets.

    Raises:
        DataError: If a side is empty or has one class, or one that training lacks.
    """
    known = set(recordings.labels[sides["train"]].tolist())
    for side in SIDES:
        labels = set(recordings.labels[sides[side]].tolist())
        if not labels:
            raise DataError(
                f"The {side} side must not be empty. Received: {_count(sides)}. Change "
                f"split.validation or split.test, take fewer split.blocks or a smaller split.gap."
            )
        names = ", ".join(recordings.classes[label] for label in sorted(labels - known))
        if names:
            raise DataError(
                f"Every class must be in training: the {side} side has classes that no training "
                f"target shows. Received: {names}. Change split.method, split.blocks or seed, or "
                f"leave these classes out."
            )
        if len(labels) == 1:
            raise DataError(
                f"The {side} side must show two classes or more, or scores say nothing. Received: "
                f"only {recordings.classes[labels.pop()]}. Change split.method, split.blocks or "
                f"the shares split.validation and split.test."
            )


def _count(sides: Sides) -> str:
    return ", ".join(f"{len(sides[side])} {side}" for side in SIDES)


def _by_groups(
    recordings: Recordings, pool: Array, shares: Mapping[str, float], rng: np.random.Generator
) -> Array:
    """Name the side of each target in the pool: whole groups, classes as even as they allow."""
    if recordings.groups is None:
        raise ConfigError(
            "data.groups must be given for split.method='groups'. Received: groups=None. "
            "Name the array of groups, or write split.method='blocks' for clips in time order."
        )
    groups = np.unique(recordings.groups[pool], return_inverse=True)[1]
    wanted = [side for side, share in shares.items() if share]
    if groups.max() < len(wanted):
        raise DataError(
            f"split.method='groups' must find {len(wanted) + 1} groups or more, one a side. "
            f"Received: {groups.max() + 1} groups. Write split.method='blocks'."
        )
    labels = recordings.labels[pool]
    counts = np.zeros((groups.max() + 1, len(recordings.classes)))
    np.add.at(counts, (groups, labels), 1)
    draws = [_deal_groups(counts, shares, rng) for _ in range(DRAWS)]
    best = min(draws, key=lambda names: _unevenness(counts, names, shares))
    return np.asarray(best[groups])


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
    edges = np.linspace(0, count, config.blocks + 1).round().astype(int)
    for low, high in pairwise(edges):
        validation = high - round(shares["validation"] * (high - low))
        tests = round(shares["test"] * (high - low))
        tested = max(low, validation - config.gap) if tests else validation
        test = max(low, tested - tests)
        names[max(low, test - config.gap) : high + config.gap] = ""
        names[test:tested] = "test"
        names[validation:high] = "validation"
    return names


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
