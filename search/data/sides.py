"""Official splits of clips: each clip's side or fold, and the groups that must stay whole."""

import numpy as np

from search.data.sequences import SIDES, Array
from search.errors import ConfigError, DataError, nearest

NAMED = 5
"""Groups and folds that a message names."""


def number_groups(groups: Array) -> Array:
    """Number groups of any names from 0, in the order of their names.

    Args:
        groups: The group of each clip, of shape (clips,).

    Returns:
        Group numbers of shape (clips,), int64.
    """
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def check_one_split(*, sides: str | None, folds: str | None, test_fold: int | None) -> None:
    """Refuse settings that name two official splits, or half of one.

    Args:
        sides: What ``data.sides`` names.
        folds: What ``data.folds`` names.
        test_fold: ``split.test_fold``.

    Raises:
        ConfigError: If sides and folds are both given, or ``split.test_fold`` without folds.
    """
    if sides is not None and folds is not None:
        raise ConfigError(
            f"data.sides must not be given beside data.folds: each names a test side. Received: "
            f"sides={sides!r}, folds={folds!r}. Leave one of them out."
        )
    if folds is None and test_fold is not None:
        raise ConfigError(
            f"data.folds must be given, since split.test_fold is. Received: folds=None, "
            f"test_fold={test_fold}. Name the array or column of folds, or leave "
            f"split.test_fold out."
        )


def place_sides(words: Array, groups: Array | None) -> Array:
    """Turn an official split's words into places in ``SIDES``.

    Args:
        words: 'train', 'validation' or 'test' for each clip, of shape (clips,).
        groups: The group of each clip, of shape (clips,), or ``None``.

    Returns:
        Places of shape (clips,), int8.

    Raises:
        DataError: If there is another word, or a group on two sides.
    """
    known = np.isin(words, SIDES)
    if not known.all():
        raise DataError(
            f"data.sides must hold 'train', 'validation' or 'test' for each clip. Received: "
            f"{str(words[~known][0])!r} for clip {np.argmin(known)}, and "
            f"{np.count_nonzero(~known) - 1} more. {nearest(str(words[~known][0]), SIDES)}"
        )
    places = np.zeros(len(words), dtype=np.int8)
    for place, side in enumerate(SIDES):
        places[words == side] = place
    _check_whole("data.sides", places, groups)
    return places


def place_fold(folds: Array, test_fold: int | None, groups: Array | None) -> Array:
    """Put one fold on the test side and leave the others open.

    Args:
        folds: The fold of each clip, of shape (clips,).
        test_fold: The fold that is the test side.
        groups: The group of each clip, of shape (clips,), or ``None``.

    Returns:
        The place of 'test' in ``SIDES`` or -1, of shape (clips,), int8.

    Raises:
        ConfigError: If ``test_fold`` is missing or names no fold.
        DataError: If folds are no whole numbers, there is one alone, or a group lies partly in
            the test fold.
    """
    if folds.dtype.kind not in "iu":
        raise DataError(
            f"data.folds must hold whole numbers. Received: dtype={folds.dtype}, first value "
            f"{str(folds[0])!r}."
        )
    known = np.unique(folds)
    if len(known) == 1:
        raise DataError(
            f"data.folds must hold two folds or more. Received: only fold {known[0]} in "
            f"{len(folds)} clips."
        )
    if test_fold is None or test_fold not in known:
        listed = ", ".join(map(str, known))
        raise ConfigError(
            f"split.test_fold must be one of the folds {listed}, since data.folds is given: that "
            f"fold is the test side. Received: test_fold={test_fold}."
        )
    places = np.where(folds == test_fold, SIDES.index("test"), -1).astype(np.int8)
    _check_whole("data.folds", places, groups)
    return places


def _check_whole(setting: str, places: Array, groups: Array | None) -> None:
    """Refuse a group whose clips are on two sides."""
    if groups is None:
        return
    pairs = np.unique(np.stack([number_groups(groups), places]), axis=1)
    numbers, counts = np.unique(pairs[0], return_counts=True)
    split = np.unique(groups)[numbers[counts > 1]]
    if len(split):
        names = ", ".join(repr(str(name)) for name in split[:NAMED])
        more = f" and {len(split) - NAMED} more" if len(split) > NAMED else ""
        raise DataError(
            f"{setting} must keep each group of data.groups on one side, or the test side has "
            f"been seen in training. Received: clips of group {names}{more} on two sides."
        )
