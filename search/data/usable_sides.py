"""Sides on which something can be learned and compared: what they must show, and what not."""

import numpy as np

from search.config import TaskConfig
from search.data.recordings import Recordings, Targets
from search.data.sequences import SIDES, Array, Side
from search.data.splits import Sides
from search.data.targets import any_within
from search.errors import DataError

CLASSES_NAMED = 20
"""Classes that a message names."""


def keep_normal(recordings: Recordings, targets: Targets, sides: Sides) -> dict[Side, Array]:
    """Leave out of training the targets whose window shows an anomalous row.

    Args:
        recordings: Rows whose truths flag the anomalous ones.
        targets: The targets.
        sides: For each side the numbers of its targets.

    Returns:
        The sides, with normal training targets alone.

    Raises:
        DataError: If no training target is normal.
    """
    ends = targets.ends[sides["train"]]
    flagged = any_within(recordings.truths == 1, ends + 1 - targets.longest, ends + 1)
    if flagged.all():
        raise DataError(
            f"An anomaly study must have normal data to learn from. Received: {len(ends)} training "
            f"targets, and a window of {targets.longest} rows before each shows a row that is "
            f"flagged as anomalous. Check what data.targets flags, or write a smaller "
            f"sequence_length.high."
        )
    return {**sides, "train": sides["train"][~flagged]}


def check_sides(recordings: Recordings, targets: Targets, sides: Sides, task: TaskConfig) -> None:
    """Refuse sides on which nothing can be learned or compared.

    Args:
        recordings: What the source read.
        targets: The targets.
        sides: For each side the numbers of its targets.
        task: What is predicted.

    Raises:
        DataError: If a side is empty; for classes, if one shows a single class or one that
            training lacks; for anomalies, if the test side lacks one of both kinds.
    """
    for side in SIDES:
        if len(sides[side]) == 0:
            raise DataError(
                f"The {side} side must not be empty. Received: {_count(sides)}. {_advise(recordings, targets)}"
            )
    if task.kind == "classification":
        _check_classes(recordings, targets, sides)
    if task.kind == "anomaly":
        _check_flags(recordings, targets, sides)


def _check_classes(recordings: Recordings, targets: Targets, sides: Sides) -> None:
    known = set(targets.labels[sides["train"]].tolist())
    for side in SIDES:
        labels = set(targets.labels[sides[side]].tolist())
        unseen = sorted(labels - known)
        if unseen:
            names = ", ".join(recordings.classes[label] for label in unseen[:CLASSES_NAMED])
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


def _check_flags(recordings: Recordings, targets: Targets, sides: Sides) -> None:
    needed: tuple[tuple[Side, int], ...] = (("validation", 0), ("test", 0), ("test", 1))
    for side, flag in needed:
        labels = targets.labels[sides[side]]
        if not np.any(labels == flag):
            raise DataError(
                f"The {side} side of an anomaly study must have {recordings.classes[flag]} "
                f"targets. Received: none among {len(labels)}. Change split.method or the "
                f"borders of the split."
            )


def _advise(recordings: Recordings, targets: Targets) -> str:
    """Say what may be changed where a side is empty."""
    ahead = f" and {targets.horizon} to predict" if targets.horizon else ""
    room = (
        f"A target takes {targets.longest} rows{ahead}, none of which may stand on another side: "
        f"write a smaller sequence_length.high"
    )
    if recordings.sides is not None:
        return f"{room}, or name all three sides in the source's official split."
    return (
        f"{room}, change split.validation or split.test, or take fewer split.blocks or a smaller "
        f"split.gap."
    )


def _count(sides: Sides) -> str:
    return ", ".join(f"{len(sides[side])} {side}" for side in SIDES)
