"""The data of a study: one array of rows, and the targets of each side as row numbers."""

import hashlib
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
class Windows:
    """Rows at fixed distances from a target: windows as indices, not copies.

    Attributes:
        rows: Rows of shape (rows, ...).
        offsets: Distances from a target's last row, of shape (steps,), negative for the past;
            ``None`` for that row alone, without an axis of steps.
        mean: Taken off each row, of shape (channels,), or ``None`` where rows are as they should
            be.
        scale: What each row is then divided by, likewise.
        shape: The shape to give to one window, where it is another than the rows make.
    """

    rows: Array
    offsets: Array | None
    mean: Array | None = None
    scale: Array | None = None
    shape: tuple[int, ...] | None = None

    @property
    def window_shape(self) -> tuple[int, ...]:
        """The shape of one window."""
        steps = () if self.offsets is None else (len(self.offsets),)
        return (*steps, *self.rows.shape[1:]) if self.shape is None else self.shape

    def gather(self, ends: Array) -> Array:
        """Copy the windows of some targets.

        Args:
            ends: The row that each target's window ends at, of shape (targets,).

        Returns:
            An array of shape (targets, *window_shape).
        """
        index = ends if self.offsets is None else ends[:, None] + self.offsets
        windows = self.rows[index]
        if self.mean is not None and self.scale is not None:
            windows = (windows.astype(np.float32) - self.mean) / self.scale
        return windows.reshape(len(ends), *self.window_shape)


@dataclass(frozen=True, kw_only=True)
class SequenceCard:
    """What is known of the data beside the arrays themselves.

    Attributes:
        description: One sentence for the person who browses the study.
        fingerprint: SHA-256 of rows, targets, labels and names: equal data, equal fingerprint.
        audit: What the leak audit compared and found.
        longest: The longest sequence that every target leaves room for, in rows.
        horizon: Rows after a window that its truth covers; 0 where the truth is the last row's.
        channels: Names along the last axis of a row.
        classes: Class names, in the order of the labels' numbers; empty for values and frames.
        variables: Names of the values to predict; empty for classes and frames.
        target_channels: For each variable the channel that shows its past; empty where none does.
        mean: What was taken off each channel of every row: the training mean, or the darkest
            value of frames to predict. Zeros where each recording has its own.
        scale: What every channel was then divided by: the training standard deviation, or the
            range of frames.
        truth_mean: What was taken off each variable; empty for classes and frames.
        truth_scale: What each variable was then divided by, likewise.
        scaled_apart: For each recording that was scaled by its own training rows, its name,
            means and scales; empty where all share ``mean`` and ``scale``.
        recordings: The recordings' names, in the order of their numbers, of a piece that of the
            recording that gaps cut it from; empty for clips.
        step: The time from one row to the next, in nanoseconds, or ``None``.
        cut_from: For each recording the number of the first piece of that which gaps cut it from;
            empty where nothing was cut.
    """

    description: str
    fingerprint: str
    audit: str
    longest: int
    horizon: int
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    variables: tuple[str, ...]
    target_channels: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    truth_mean: tuple[float, ...]
    truth_scale: tuple[float, ...]
    scaled_apart: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    recordings: tuple[str, ...] = ()
    step: int | None = None
    cut_from: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SequenceData:
    """Rows in time, and where on them each side's targets lie.

    A window of any length ends at its target, so every sequence length is scored on the
    same targets, and no window is ever stored.

    Attributes:
        card: What is known beside the arrays.
        rows: Rows of shape (rows, channels), (rows, bands, channels) or
            (rows, height, width, channels), recordings one after the other, read-only. Scaled
            float32; or bytes, uint8, that are scaled as windows are gathered.
        truths: What is right at each row: class numbers of shape (rows,), or scaled values of
            shape (rows, variables), or ``rows`` itself where frames are predicted.
        ends: For each side the row that each target's window ends at, of shape (targets,);
            the ``card.longest`` rows up to it belong to the same recording, and so do the
            ``card.horizon`` rows after it.
        recordings: For each side the number of the recording of each target, of shape (targets,).
    """

    card: SequenceCard
    rows: Array
    truths: Array
    ends: Mapping[Side, Array]
    recordings: Mapping[Side, Array]

    def inputs(self, length: int, stride: int = 1) -> Windows:
        """Describe the windows that a model reads.

        Args:
            length: Rows in one window.
            stride: Rows from one step of a window to the next.

        Returns:
            Windows that end at their target, scaled.

        Raises:
            DataError: If some target leaves no room for such a window.
        """
        reach = check_length((length - 1) * stride + 1, self.card.longest)
        return self._scaled(self.rows, np.arange(1 - reach, 1, stride))

    def answers(self) -> Windows:
        """Describe what is right for each target: a class, values, or what follows its window."""
        if self.card.horizon == 0:
            return Windows(rows=self.truths, offsets=None)
        offsets = np.arange(1, self.card.horizon + 1)
        if self.truths is self.rows:
            return self._scaled(self.rows, offsets)
        return Windows(rows=self.truths, offsets=offsets)

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
        return self.inputs(length).gather(self.ends[side])

    def labels(self, side: Side) -> Array:
        """Gather what is right for one side's targets.

        Args:
            side: The side.

        Returns:
            Class numbers of shape (targets,), scaled values of shape (targets, variables),
            or scaled rows that follow, of shape (targets, horizon, ...).
        """
        return self.answers().gather(self.ends[side])

    def wholes(self, side: Side) -> Array:
        """Name the recording as read that each target of a side lies in, by its first piece.

        Args:
            side: The side.

        Returns:
            Numbers of recordings, of shape (targets,).
        """
        numbers = self.recordings[side]
        return np.array(self.card.cut_from)[numbers] if self.card.cut_from else numbers

    def targets_hash(self, side: Side) -> str:
        """Hash the targets of a side and what is right for them: equal targets, equal hash."""
        digest = hashlib.sha256(self.ends[side].astype("<i8").tobytes())
        digest.update(self.card.fingerprint.encode())
        return digest.hexdigest()[:16]

    def with_more_training(self) -> Self:
        """Take the validation targets for training as well, as a last training does.

        Returns:
            The same data with a larger training side.
        """
        joined = {
            name: {**arrays, "train": np.concatenate([arrays["train"], arrays["validation"]])}
            for name, arrays in (("ends", self.ends), ("recordings", self.recordings))
        }
        return replace(self, ends=joined["ends"], recordings=joined["recordings"])

    def few(self, count: int, also: Mapping[Side, Array] | None = None) -> Self:
        """Take the first targets of each side alone, and the first of each of its classes.

        Args:
            count: How many of the first.
            also: Places of other targets to take, by side.

        Returns:
            The same data with smaller sides.
        """
        chosen = {}
        for side, ends in self.ends.items():
            chosen[side] = np.arange(min(count, len(ends)))
            if self.card.classes:
                _, firsts = np.unique(self.labels(side), return_index=True)
                chosen[side] = np.union1d(chosen[side], firsts)
            chosen[side] = np.union1d(chosen[side], (also or {}).get(side, chosen[side]))
        cut = [
            {side: array[chosen[side]] for side, array in arrays.items()}
            for arrays in (self.ends, self.recordings)
        ]
        return replace(self, ends=cut[0], recordings=cut[1])

    def save(self, folder: Path) -> None:
        """Write the data where workers can map them into memory.

        Args:
            folder: A new folder; its parent exists.
        """
        folder.mkdir()
        # Row by row, whatever made them: columns that are mapped would be copied to be lent or gathered.
        np.save(folder / "rows.npy", np.ascontiguousarray(self.rows), allow_pickle=False)
        if self.truths is not self.rows:
            np.save(folder / "truths.npy", np.ascontiguousarray(self.truths), allow_pickle=False)
        for side in SIDES:
            np.save(folder / f"{side}_ends.npy", self.ends[side], allow_pickle=False)
            np.save(folder / f"{side}_recordings.npy", self.recordings[side], allow_pickle=False)
        card = {field.name: getattr(self.card, field.name) for field in fields(self.card)}
        (folder / "card.json").write_text(json.dumps(card, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Map saved data into memory, read-only and shared between processes.

        Args:
            folder: A folder that ``save`` wrote.

        Returns:
            The data.

        Raises:
            DataError: If a file is missing, or was cut short.
        """
        try:
            return cls._read(folder)
        except (OSError, ValueError, EOFError, TypeError, AttributeError) as exc:
            raise DataError(
                f"storage.folder must hold the prepared data whole: "
                f"{str(exc).strip().splitlines()[0].rstrip('.')}. Received: {str(folder)!r}. Remove "
                f"that folder, and launch the study again: it is prepared anew."
            ) from exc

    @classmethod
    def _read(cls, folder: Path) -> Self:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        lists = {name: tuple(value) for name, value in card.items() if isinstance(value, list)}
        rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
        truths = rows
        if (folder / "truths.npy").is_file():
            truths = np.load(folder / "truths.npy", mmap_mode="r", allow_pickle=False)
        return cls(
            card=SequenceCard(**{**card, **lists}),
            rows=rows,
            truths=truths,
            ends={s: np.load(folder / f"{s}_ends.npy", allow_pickle=False) for s in SIDES},
            recordings={
                s: np.load(folder / f"{s}_recordings.npy", allow_pickle=False) for s in SIDES
            },
        )

    def _scaled(self, rows: Array, offsets: Array) -> Windows:
        if rows.dtype != np.uint8:
            return Windows(rows=rows, offsets=offsets)
        mean, scale = (np.array(v, dtype=np.float32) for v in (self.card.mean, self.card.scale))
        return Windows(rows=rows, offsets=offsets, mean=mean, scale=scale)


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
