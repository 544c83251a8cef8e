"""The data of a study: one array of rows, and the targets of each side as row numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from search.errors import DataError

Array: TypeAlias = NDArray[Any]
Side: TypeAlias = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True, kw_only=True)
class SequenceCard:
    """What is known of the data beside the arrays themselves.

    Attributes:
        description: One sentence for the person who browses the study.
        fingerprint: SHA-256 of rows, targets, labels and names: equal data, equal fingerprint.
        audit: What the leak audit compared and found.
        longest: The longest sequence that every target leaves room for, in rows.
        channels: Names along the last axis of a row.
        classes: Class names, in the order of the labels' numbers.
        mean: Training mean of each channel, taken off every row.
        scale: Training standard deviation of each channel, that every row was divided by.
    """

    description: str
    fingerprint: str
    audit: str
    longest: int
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SequenceData:
    """Rows in time, and where on them each side's targets lie.

    A window of any length ends at its target, so every sequence length is scored on the
    same targets, and no window is ever stored.

    Attributes:
        card: What is known beside the arrays.
        rows: Scaled rows of shape (rows, channels), (rows, bands, channels) or
            (rows, height, width, channels), recordings one after the other, read-only.
        ends: For each side the row that each target's window ends at, of shape (targets,);
            the ``card.longest`` rows up to it belong to the same recording.
        labels: For each side the class number of each target, of shape (targets,).
    """

    card: SequenceCard
    rows: Array
    ends: Mapping[Side, Array]
    labels: Mapping[Side, Array]

    def windows(self, side: Side, length: int) -> Array:
        """Gather the windows that end at one side's targets.

        Args:
            side: The side.
            length: Rows in one window.

        Returns:
            A copy of shape (targets, length, channels), or with a frame's axes in place of
            the channels.

        Raises:
            DataError: If some target leaves no room for such a window.
        """
        return gather_windows(self.rows, self.ends[side], check_length(length, self.card.longest))

    def with_more_training(self) -> Self:
        """Take the validation targets for training as well, as a last training does.

        Returns:
            The same data with a larger training side.
        """
        sides: tuple[Side, ...] = ("train", "validation")
        ends = np.concatenate([self.ends[side] for side in sides])
        labels = np.concatenate([self.labels[side] for side in sides])
        return replace(
            self, ends={**self.ends, "train": ends}, labels={**self.labels, "train": labels}
        )

    def save(self, folder: Path) -> None:
        """Write the data where workers can map them into memory.

        Args:
            folder: A new folder; its parent exists.
        """
        folder.mkdir()
        np.save(folder / "rows.npy", self.rows, allow_pickle=False)
        for side in SIDES:
            np.save(folder / f"{side}_ends.npy", self.ends[side], allow_pickle=False)
            np.save(folder / f"{side}_labels.npy", self.labels[side], allow_pickle=False)
        card = {field.name: getattr(self.card, field.name) for field in fields(self.card)}
        (folder / "card.json").write_text(json.dumps(card, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map saved data into memory, read-only and shared between processes.

        Args:
            folder: A folder that ``save`` wrote.

        Returns:
            The data.
        """
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        lists = {name: tuple(value) for name, value in card.items() if isinstance(value, list)}
        return cls(
            card=SequenceCard(**{**card, **lists}),
            rows=np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False),
            ends={s: np.load(folder / f"{s}_ends.npy", allow_pickle=False) for s in SIDES},
            labels={s: np.load(folder / f"{s}_labels.npy", allow_pickle=False) for s in SIDES},
        )


def check_length(length: int, longest: int) -> int:
    """Return the sequence length if every target leaves room for it.

    Raises:
        DataError: If it is shorter than one row or longer than the data admit.
    """
    if not 1 <= length <= longest:
        raise DataError(
            f"sequence_length must be from 1 to {longest}, the rows before the first target. "
            f"Received: sequence_length={length}."
        )
    return length


def gather_windows(rows: Array, ends: Array, length: int) -> Array:
    """Gather the windows that end at the given rows.

    Args:
        rows: Rows of shape (rows, ...), evenly spaced in time.
        ends: Row numbers of shape (windows,), each at least ``length - 1``.
        length: Rows in one window.

    Returns:
        A copy of shape (windows, length, ...).
    """
    return rows[ends[:, None] + np.arange(1 - length, 1)]
