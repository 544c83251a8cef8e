"""Clips in NumPy files become recordings, one a clip, after every check that a person needs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from search.config import ArraysData, Kind, TaskConfig
from search.data.recordings import Recordings
from search.data.sequences import SIDES, Array
from search.data.sheets import (
    NamedArrays,
    check_one_split,
    number_groups,
    open_arrays,
    place_fold,
    place_sides,
)
from search.errors import ConfigError, DataError, nearest

RANKS = (3, 4, 5)
"""Axes of clips: one, two or three beside (clips, steps): channels, lines or whole frames."""
FRAMES_RANK = 5
LABELLED: tuple[Kind, ...] = ("classification", "regression", "anomaly")
"""Kinds of task that need ``data.y``."""
DEFAULT_Y = "y"


@dataclass(frozen=True, kw_only=True)
class _Clips:
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


Truth: TypeAlias = Callable[[NamedArrays, ArraysData, _Clips], dict[str, Any]]
_Answer: TypeAlias = tuple[str, Array, Array]
"""A setting, the array that it names, and which steps of the clips are real."""


def load_arrays(config: ArraysData, task: TaskConfig, test_fold: int | None = None) -> Recordings:
    """Read clips, and what is right for each.

    Clips of bytes with a height and a width stay bytes; all others become float32. Steps beyond
    a clip's length are cut off. Official test clips come last and belong to no group.

    Args:
        config: The file or folder, and the names of the arrays in it.
        task: What is predicted. Where frames of an array of their own are to be predicted, they
            become rows that follow the clip's own.
        test_fold: ``split.test_fold``: the fold that is the test side.

    Returns:
        One recording a clip.

    Raises:
        ConfigError: If the file, or an array named in the config, does not exist, or settings
            do not fit each other or the task.
        DataError: If the file cannot be read, or its arrays do not fit each other.
    """
    _check_settings(config, task, test_fold)
    with open_arrays(config.path, config.sheet) as arrays:
        clips = _read_clips(arrays, config, task)
        channels = _name_channels(arrays, config, clips.rows.shape[-1])
        if task.kind == "forecasting":
            truth = _forecast(config, clips, channels)
        else:
            truth = TRUTHS[task.kind](arrays, config, clips)
        lengths, marks = clips.lengths, _read_marks(arrays, config, clips, test_fold)
        return Recordings(
            description=_describe(config, clips, truth),
            rows=clips.rows,
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            names=_name_clips(len(lengths), clips.official),
            channels=channels,
            clips=task.kind in ("classification", "regression") or clips.ahead > 0,
            stride=config.stride,
            **truth,
            **marks,
        )


def _check_settings(config: ArraysData, task: TaskConfig, test_fold: int | None) -> None:
    """Refuse settings that contradict each other, or that the task would not use."""
    check_one_split(sides=config.sides, folds=config.folds, test_fold=test_fold)
    official = "sides" if config.sides is not None else "folds"
    if config.x_test is not None and getattr(config, official) is not None:
        raise ConfigError(
            f"data.{official} must not be given beside data.x_test: each names a test side. "
            f"Received: {official}={getattr(config, official)!r}, x_test={config.x_test!r}."
        )
    if task.kind == "forecasting" and config.y is not None:
        raise ConfigError(
            f"data.y must be left out for task.kind='forecasting', which predicts the channels "
            f"that data.targets names. Received: y={config.y!r}. Write task.kind='regression' to "
            f"predict values of their own."
        )
    if task.kind != "forecasting" and config.targets:
        raise ConfigError(
            f"data.targets must be left out unless task.kind='forecasting'. Received: "
            f"targets={list(config.targets)}, kind={task.kind!r}. Name what is predicted in data.y."
        )
    answers = task.kind in LABELLED or config.y is not None
    if not answers and config.y_test is not None:
        raise ConfigError(
            f"data.y_test must be left out where data.y is not used: task.kind={task.kind!r} "
            f"predicts what follows in the clips themselves. Received: y_test={config.y_test!r}."
        )
    for field, partner in (("y_test", "x_test"), ("x_test", "y_test")):
        given = getattr(config, partner) is not None
        if given and getattr(config, field) is None and (answers or field == "x_test"):
            raise ConfigError(
                f"data.{field} must be given, since data.{partner} is. Received: {field}=None, "
                f"{partner}={getattr(config, partner)!r}."
            )


def _read_clips(arrays: NamedArrays, config: ArraysData, task: TaskConfig) -> _Clips:
    """Read the clips of every side, the frames to predict after each, and cut the padding off."""
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
    return _Clips(rows=_join(blocks, real), real=real, ahead=ahead)


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


def _read_answers(arrays: NamedArrays, config: ArraysData, clips: _Clips) -> Iterator[_Answer]:
    """Read what is right for the clips of ``data.x`` and ``data.x_test``."""
    for field, real in zip(("y", "y_test"), clips.real, strict=False):
        values = arrays.read(field, getattr(config, field) or DEFAULT_Y)
        if values.shape[:1] != real.shape[:1]:
            raise _misfit(field, values, real)
        yield field, values, real


def _misfit(field: str, values: Array, real: Array, more: str = "") -> DataError:
    partner = field.replace("y", "x")
    return DataError(
        f"data.{field} must hold one label or value for each clip of data.{partner}{more}. "
        f"Received: {field} of shape {values.shape}, {partner} of {real.shape[0]} clips of "
        f"{real.shape[1]} steps. Write y.argmax(axis=1) for one column a class, y.ravel() for a "
        f"single column."
    )


def _classify(arrays: NamedArrays, config: ArraysData, clips: _Clips) -> dict[str, Any]:
    """Give each row its clip's class number."""
    labels, words = [], None
    for field, values, real in _read_answers(arrays, config, clips):
        numbers = values
        named = config.classes is not None or config.y_test is not None
        if values.dtype.kind == "U" and not named and (config.y or DEFAULT_Y) in arrays.sheet:
            # A sheet has no other place for the classes' names.
            words, numbers = np.unique(values, return_inverse=True)
        labels.append(_check_labels(field, numbers, real))
    joined = np.concatenate(labels)
    classes = _name_classes(arrays, config, joined)
    if words is not None:
        classes = tuple(str(word) for word in words)
    return {"truths": np.repeat(joined, clips.lengths), "classes": classes}


def _check_labels(field: str, labels: Array, real: Array) -> Array:
    if labels.ndim != 1:
        raise _misfit(field, labels, real)
    if labels.dtype.kind not in "iub":
        raise DataError(
            f"data.{field} must hold class numbers 0, 1, 2, ... of an integer type. "
            f"Received: dtype={labels.dtype}, first value {labels.flat[0]!r}. Write "
            f"names, labels = numpy.unique(labels, return_inverse=True) and save both."
        )
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DataError(
            f"data.{field} must hold class numbers from 0. "
            f"Received: {labels.min()} at clip {np.argmin(labels)}."
        )
    return labels


def _regress(arrays: NamedArrays, config: ArraysData, clips: _Clips) -> dict[str, Any]:
    """Give each row its clip's values; one that is NaN is not known."""
    blocks = []
    for field, values, real in _read_answers(arrays, config, clips):
        if values.dtype.kind not in "iufb":
            raise DataError(f"data.{field} must hold numbers. Received: dtype={values.dtype}.")
        if values.ndim > 2 or values.size == 0:  # noqa: PLR2004 - (clips,) or (clips, values)
            raise _misfit(field, values, real, ", of shape (clips,) or (clips, values)")
        with np.errstate(over="ignore"):
            block = values.astype(np.float32).reshape(len(values), -1)
        endless = np.isinf(block).any(axis=1)
        if endless.any():
            raise DataError(
                f"data.{field} must hold finite float32 numbers, or NaN where a value is not "
                f"known. Received: infinity for {np.count_nonzero(endless)} clips, the first is "
                f"clip {np.argmax(endless)}."
            )
        blocks.append(block)
    if blocks[0].shape[1:] != blocks[-1].shape[1:]:
        raise DataError(
            f"data.y_test must hold as many values for each clip as data.y. Received: "
            f"{blocks[-1].shape[1]} and {blocks[0].shape[1]}."
        )
    values, name = np.concatenate(blocks), config.y or DEFAULT_Y
    count = values.shape[1]
    variables = (name,) if count == 1 else tuple(f"{name}_{place}" for place in range(count))
    return {"truths": np.repeat(values, clips.lengths, axis=0), "variables": variables}


def _flag(arrays: NamedArrays, config: ArraysData, clips: _Clips) -> dict[str, Any]:
    """Give each row its own flag, or its clip's."""
    parts = []
    for field, values, real in _read_answers(arrays, config, clips):
        if values.ndim == 1:
            flags = np.repeat(values, real.sum(axis=1))
        elif values.shape == real.shape:
            flags = values[real]
        else:
            raise _misfit(field, values, real, ", or one for each step")
        if flags.dtype.kind not in "iub" or not np.isin(flags, (0, 1)).all():
            wrong = flags[~np.isin(flags, (0, 1))]
            raise DataError(
                f"data.{field} must flag what is anomalous by 1 and what is normal by 0, of an "
                f"integer type. Received: dtype={flags.dtype}, "
                f"value {(wrong if len(wrong) else flags)[0]!r}."
            )
        parts.append(flags.astype(np.int64))
    return {"truths": np.concatenate(parts), "classes": ("normal", "anomalous")}


def _forecast(config: ArraysData, clips: _Clips, channels: tuple[str, ...]) -> dict[str, Any]:
    """Give each row the channels to predict."""
    targets = config.targets or channels
    unknown = [name for name in targets if name not in channels]
    if unknown:
        raise ConfigError(
            f"data.targets must name channels of data.x. Received: {unknown[0]!r}. "
            f"{nearest(unknown[0], channels)}"
        )
    if len(set(targets)) < len(targets):
        raise ConfigError(
            f"data.targets must name each channel once. Received: targets={list(targets)}."
        )
    places = tuple(channels.index(name) for name in targets)
    return {
        "truths": clips.rows[:, list(places)],
        "variables": targets,
        "target_channels": places,
    }


def _frames(arrays: NamedArrays, config: ArraysData, clips: _Clips) -> dict[str, Any]:
    """Let the rows themselves be what is right."""
    return {"truths": clips.rows}


TRUTHS: Mapping[Kind, Truth] = {
    "classification": _classify,
    "regression": _regress,
    "anomaly": _flag,
    "frames": _frames,
}
"""What gives each row its truth; forecasting needs the channels too."""


def _name_classes(arrays: NamedArrays, config: ArraysData, labels: Array) -> tuple[str, ...]:
    count = int(labels.max()) + 1
    shown = np.unique(labels)
    if len(shown) == 1:
        raise DataError(
            f"data.y must hold two classes or more. Received: only class {labels[0]} in "
            f"{len(labels)} labels."
        )
    if config.classes is None:
        if len(shown) < count:
            raise DataError(
                f"data.y must use every class number from 0, where data.classes names none. "
                f"Received: {len(shown)} different numbers from {shown[0]} to {shown[-1]}. "
                f"Write numpy.unique(y, return_inverse=True)[1]."
            )
        return tuple(str(number) for number in range(count))
    names = _read_names(arrays, "classes", config.classes)
    if len(names) < count:
        raise DataError(
            f"data.classes must name every class. Received: {len(names)} names, and labels up to "
            f"{count - 1}, which takes {count}."
        )
    return names


def _name_channels(arrays: NamedArrays, config: ArraysData, count: int) -> tuple[str, ...]:
    if config.channels is None:
        return tuple(f"channel_{number}" for number in range(count))
    names = _read_names(arrays, "channels", config.channels)
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            f"data.channels must name each channel of data.x once. "
            f"Received: {len(set(names))} names for {count} channels."
        )
    return names


def _read_names(arrays: NamedArrays, field: str, name: str) -> tuple[str, ...]:
    names = arrays.read(field, name)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"data.{field} must be a list of texts. "
            f"Received: dtype={names.dtype}, shape={names.shape}."
        )
    return tuple(str(text) for text in names)


def _read_marks(
    arrays: NamedArrays, config: ArraysData, clips: _Clips, test_fold: int | None
) -> dict[str, Any]:
    """Read the group of each clip, and the official side of each row."""
    tests, lengths = clips.official, clips.lengths
    groups, sides = (_read_mark(arrays, config, clips, field) for field in ("groups", "sides"))
    folds = _read_mark(arrays, config, clips, "folds")
    places = np.full(len(lengths) - tests, -1, dtype=np.int8)
    if sides is not None:
        places = place_sides(sides, groups)
    if folds is not None:
        places = place_fold(folds, test_fold, groups)
    marks: dict[str, Any] = {}
    if groups is not None:
        marks["groups"] = np.concatenate([number_groups(groups), np.full(tests, -1)])
    if tests or sides is not None or folds is not None:
        tested = np.full(tests, SIDES.index("test"), dtype=np.int8)
        marks["sides"] = np.repeat(np.concatenate([places, tested]), lengths)
    return marks


def _read_mark(arrays: NamedArrays, config: ArraysData, clips: _Clips, field: str) -> Array | None:
    """Read one mark of each clip of ``data.x``, of shape (clips,), where there is one."""
    name, count = getattr(config, field), len(clips.real[0])
    if name is None:
        return None
    values = arrays.read(field, name)
    if values.shape != (count,):
        raise DataError(
            f"data.{field} must hold one value for each clip of data.x. "
            f"Received: shape={values.shape} for {count} clips."
        )
    return values


def _name_clips(count: int, official: int) -> tuple[str, ...]:
    names = [f"clip {number}" for number in range(count - official)]
    return (*names, *(f"test clip {number}" for number in range(official)))


def _describe(config: ArraysData, clips: _Clips, truth: Mapping[str, Any]) -> str:
    shape = " x ".join(str(size) for size in clips.rows.shape[1:])
    lengths, official = clips.lengths - clips.ahead, ""
    if clips.official:
        official = f" and {clips.official} official test clips"
    steps = f"{lengths.min()}"
    if lengths.min() < lengths.max():
        steps += f" to {lengths.max()}"
    about = f" with {clips.ahead} frames to predict" if clips.ahead else ""
    if truth.get("classes"):
        about = f" with {len(truth['classes'])} classes"
    if truth.get("variables"):
        about = f" with {len(truth['variables'])} values to predict"
    count = len(lengths) - clips.official
    return f"{count} clips{official} of {steps} steps x {shape}{about}, from {config.path.name}."
