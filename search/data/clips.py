"""Clips are read from arrays and become rows, their padding cut off."""

from dataclasses import dataclass

import numpy as np

from search.config import ArraysData, TaskConfig
from search.data.sequences import Array
from search.data.sheets import NamedArrays
from search.errors import ConfigError, DataError

RANKS = (3, 4, 5)
"""Axes of clips: one, two or three beside (clips, steps): channels, lines or whole frames."""
FRAMES_RANK = 5


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clips as rows, before any truth.

    Attributes:
        rows: Rows of shape (rows, ...).
        real: For the clips of ``data.x`` and ``data.x_test`` apart, which steps are real, of
            shape (clips, steps).
        ahead: Rows of frames to predict after each clip's own.
    """

    rows: Array
    real: tuple[Array, ...]
    ahead: int = 0

    @property
    def lengths(self) -> Array:
        """Rows of each clip, of shape (clips,)."""
        return np.concatenate([real.sum(axis=1) for real in self.real]) + self.ahead

    @property
    def official(self) -> int:
        """How many of the clips are official test clips; they come last."""
        return sum(len(real) for real in self.real[1:])


def read_clips(arrays: NamedArrays, config: ArraysData, task: TaskConfig) -> Clips:
    """Read the clips of every side, the frames to predict after each, and cut the padding off.

    Clips of bytes with a height and a width stay bytes; all others become float32.

    Args:
        arrays: The arrays and columns by name.
        config: Which of them hold clips, lengths and frames to predict.
        task: Says which axes clips must have, and how many frames are to be predicted.

    Returns:
        The rows of all clips, those of ``data.x_test`` last.

    Raises:
        ConfigError: If there is no such array, or ``task.horizon`` is another number of frames
            than ``data.y`` holds.
        DataError: If the arrays cannot be read, do not hold finite numbers with the axes of
            clips, or do not fit each other.
    """
    xs = [_read_numbers(arrays, config, "x", task)]
    if config.x_test is not None:
        xs.append(_read_numbers(arrays, config, "x_test", task))
        _check_same_shape("x_test", xs[1], xs[0], axis=1)
    real = _read_real(arrays, config, xs)
    blocks = [[x] for x in xs]
    ahead = 0
    if task.kind == "frames" and config.y is not None:
        for block, field in zip(blocks, ("y", "y_test"), strict=False):
            block.append(_read_numbers(arrays, config, field, task))
            _check_ahead(field, block[1], block[0], task)
        ahead = blocks[0][1].shape[1]
    for x, mask, field in zip(xs, real, ("x", "x_test"), strict=False):
        _check_finite(field, x, mask)
    return Clips(rows=_join(blocks, real), real=real, ahead=ahead)


def _read_numbers(arrays: NamedArrays, config: ArraysData, field: str, task: TaskConfig) -> Array:
    """Read clips as float32, or as bytes where they are frames of bytes."""
    clips = arrays.read(field, getattr(config, field))
    if clips.dtype.kind not in "iufb":
        raise DataError(f"data.{field} must hold numbers. Received: dtype={clips.dtype}.")
    if clips.ndim not in RANKS:
        raise DataError(
            f"data.{field} must have the axes (clips, steps, channels), (clips, steps, width, "
            f"channels) or (clips, frames, height, width, channels). "
            f"Received: shape={clips.shape}. Add an axis of length 1 for a single channel."
        )
    rank = {"frames": FRAMES_RANK, "forecasting": RANKS[0]}.get(task.kind, clips.ndim)
    if clips.ndim != rank:
        axes = "steps, channels" if rank == RANKS[0] else "frames, height, width, channels"
        raise DataError(
            f"data.{field} must have the axes (clips, {axes}) for task.kind={task.kind!r}. "
            f"Received: shape={clips.shape}."
        )
    if clips.size == 0:
        raise DataError(f"data.{field} must not be empty. Received: shape={clips.shape}.")
    bytes_kept = clips.ndim == FRAMES_RANK and clips.dtype == np.uint8
    # A mapped file is copied: it could change or vanish under the study.
    copy = True if isinstance(clips, np.memmap) else None
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused later, as infinity
        return np.array(clips, np.uint8 if bytes_kept else np.float32, order="C", copy=copy)


def _read_real(arrays: NamedArrays, config: ArraysData, xs: list[Array]) -> tuple[Array, ...]:
    """Say for each array of clips which steps are real, of shape (clips, steps)."""
    steps, counts = xs[0].shape[1], [len(x) for x in xs]
    lengths = np.full(sum(counts), steps)
    if config.lengths is not None:
        lengths = arrays.read("lengths", config.lengths)
        if lengths.shape != (sum(counts),):
            first = " and then of data.x_test" if len(xs) > 1 else ""
            raise DataError(
                f"data.lengths must hold one length for each clip of data.x{first}. Received: "
                f"shape={lengths.shape} for {sum(counts)} clips."
            )
        right = (lengths >= 1) & (lengths <= steps) if lengths.dtype.kind in "iu" else [False]
        if not np.all(right):
            raise DataError(
                f"data.lengths must hold whole numbers from 1 to {steps}, the steps of data.x. "
                f"Received: {lengths[np.argmin(right)]} for clip {np.argmin(right)}."
            )
    real = np.arange(steps) < lengths[:, None]
    return tuple(np.split(real, np.cumsum(counts)[:-1]))


def _check_finite(field: str, clips: Array, real: Array) -> None:
    if clips.dtype == np.uint8:
        return
    wrong = np.array(
        [
            np.count_nonzero(~np.isfinite(clip[: mask.sum()]))
            for clip, mask in zip(clips, real, strict=True)
        ]
    )
    if wrong.any():
        raise DataError(
            f"data.{field} must hold finite float32 numbers alone. Received: {wrong.sum()} values "
            f"of NaN or infinity in {np.count_nonzero(wrong)} clips, the first is clip "
            f"{np.argmax(wrong > 0)}. Fill them or leave these clips out."
        )


def _check_same_shape(field: str, clips: Array, x: Array, *, axis: int) -> None:
    if clips.shape[axis:] != x.shape[axis:]:
        what = "clips" if axis == 1 else "frames"
        raise DataError(
            f"data.{field} must have {what} of the same shape as data.x. "
            f"Received: {field} of shape {clips.shape}, x of shape {x.shape}."
        )


def _check_ahead(field: str, frames: Array, clips: Array, task: TaskConfig) -> None:
    """Check the frames to predict against the clips that they follow."""
    _check_same_shape(field, frames, clips, axis=2)
    if len(frames) != len(clips):
        raise DataError(
            f"data.{field} must hold the frames to predict for each clip. Received: {field} of "
            f"{len(frames)} clips for {len(clips)} clips."
        )
    if frames.shape[1] != task.horizon:
        raise ConfigError(
            f"task.horizon must be the number of frames that data.{field} holds for each clip. "
            f"Received: horizon={task.horizon}, {field} of shape {frames.shape}. Write "
            f"task.horizon={frames.shape[1]}."
        )
    _check_finite(field, frames, np.ones(frames.shape[:2], dtype=bool))


def _join(blocks: list[list[Array]], real: tuple[Array, ...]) -> Array:
    """Put the real steps of all clips into one array of rows, without a copy where they are one.

    Args:
        blocks: For data.x and data.x_test, the clips and, after them, any frames to predict.
        real: For both, which of the clips' steps are real, of shape (clips, steps).

    Returns:
        Rows of shape (rows, ...), of bytes if all arrays are.
    """
    x = blocks[0][0]
    if len(blocks) == len(blocks[0]) == 1 and real[0].all():
        return x.reshape(-1, *x.shape[2:])
    ahead = sum(part.shape[1] for part in blocks[0][1:])
    count = sum(mask.sum() + len(mask) * ahead for mask in real)
    dtype = np.result_type(*(part for block in blocks for part in block))
    rows, low = np.empty((count, *x.shape[2:]), dtype=dtype), 0
    for block, mask in zip(blocks, real, strict=True):
        for clip, steps in enumerate(mask.sum(axis=1)):
            for part in block:
                high = low + (steps if part is block[0] else part.shape[1])
                rows[low:high] = part[clip, : high - low]
                low = high
    return rows


def name_channels(arrays: NamedArrays, config: ArraysData, count: int) -> tuple[str, ...]:
    """Name the channels of the clips, by number where ``data.channels`` names none.

    Args:
        arrays: The arrays and columns by name.
        config: Which of them holds the names.
        count: How many channels the clips have.

    Returns:
        One name a channel, in their order.

    Raises:
        ConfigError: If there is no such array.
        DataError: If it holds no texts, or not one of its own for each channel.
    """
    if config.channels is None:
        return tuple(f"channel_{number}" for number in range(count))
    names = read_names(arrays, "channels", config.channels)
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            f"data.channels must name each channel of data.x once. "
            f"Received: {len(set(names))} names for {count} channels."
        )
    return names


def read_names(arrays: NamedArrays, field: str, name: str) -> tuple[str, ...]:
    """Read the array of texts that one setting names.

    Args:
        arrays: The arrays and columns by name.
        field: The setting, without its section.
        name: What it names.

    Returns:
        The texts, in their order.

    Raises:
        ConfigError: If there is no such array.
        DataError: If it cannot be read, or is no list of texts.
    """
    names = arrays.read(field, name)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"data.{field} must be a list of texts. "
            f"Received: dtype={names.dtype}, shape={names.shape}."
        )
    return tuple(str(text) for text in names)
