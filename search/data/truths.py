"""What is right for clips in arrays: a class, values, flags, channels or frames at each row."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from search.config import ArraysData, Kind
from search.data.clips import Clips, read_names
from search.data.sequences import Array
from search.data.sheets import NamedArrays
from search.errors import ConfigError, DataError, nearest

DEFAULT_Y = "y"

Truth: TypeAlias = Callable[[NamedArrays, ArraysData, Clips], dict[str, Any]]
_Answer: TypeAlias = tuple[str, Array, Array]
"""A setting, the array that it names, and which steps of the clips are real."""


def read_truths(
    arrays: NamedArrays, config: ArraysData, clips: Clips, kind: Kind, channels: tuple[str, ...]
) -> dict[str, Any]:
    """Read what is right at each row of the clips.

    Args:
        arrays: The arrays and columns by name.
        config: Which of them hold labels, values or flags, and which channels to forecast.
        clips: The clips as rows.
        kind: What is predicted.
        channels: The clips' channels by name.

    Returns:
        Fields of ``Recordings``: ``truths`` and what names them: ``classes``, ``variables`` or
        ``target_channels``.

    Raises:
        ConfigError: If there is no such array or channel.
        DataError: If the arrays cannot be read, or do not fit the clips or the task.
    """
    if kind == "forecasting":
        return _forecast(config, clips, channels)
    return TRUTHS[kind](arrays, config, clips)


def _read_answers(arrays: NamedArrays, config: ArraysData, clips: Clips) -> Iterator[_Answer]:
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


def _classify(arrays: NamedArrays, config: ArraysData, clips: Clips) -> dict[str, Any]:
    """Give each row its clip's class number."""
    parts = [_check_labels(*answer) for answer in _read_answers(arrays, config, clips)]
    if parts[0].dtype.kind != parts[-1].dtype.kind:
        raise DataError(
            f"data.y_test must hold labels of data.y's kind, words or whole numbers. "
            f"Received: dtype={parts[-1].dtype} and {parts[0].dtype}."
        )
    labels = np.concatenate(parts)
    if config.classes is None:
        known, numbers = np.unique(labels, return_inverse=True)
        classes = tuple(str(label) for label in known)
    else:
        classes = read_names(arrays, "classes", config.classes)
        if len(set(classes)) < len(classes):
            raise DataError(
                f"data.classes must name each class once. Received: {', '.join(classes)}."
            )
        numbers = _number_labels(labels, classes)
    if (numbers == numbers[0]).all():
        raise DataError(
            f"data.y must hold two classes or more. Received: only class "
            f"{classes[numbers[0]]!r} in {len(numbers)} labels."
        )
    return {"truths": np.repeat(numbers.astype(np.int64), clips.lengths), "classes": classes}


def _check_labels(field: str, labels: Array, real: Array) -> Array:
    if labels.ndim != 1:
        raise _misfit(field, labels, real)
    if labels.dtype.kind not in "iubfU":
        raise DataError(
            f"data.{field} must hold words or whole numbers. Received: dtype={labels.dtype}."
        )
    if labels.dtype.kind == "f" and (labels % 1 != 0).any():  # NaN is no whole number either
        first = int(np.argmax(labels % 1 != 0))
        raise DataError(
            f"data.{field} must hold words or whole numbers. Received: {labels[first]} at clip "
            f"{first}, the first of {np.count_nonzero(labels % 1 != 0)}. Leave clips without a "
            f"label out, or write task.kind = 'regression' for values."
        )
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


def _number_labels(labels: Array, classes: tuple[str, ...]) -> Array:
    """Find the place of each label among the names in ``data.classes``."""
    if labels.dtype.kind != "U":
        wrong = labels[(labels < 0) | (labels >= len(classes))]
        if len(wrong):
            raise DataError(
                f"data.classes must name every class: label 0 means the first name. "
                f"Received: {len(classes)} names, and a label {wrong[0]}. Leave data.classes out, "
                f"and labels name themselves."
            )
        return labels
    known, places = np.unique(labels, return_inverse=True)
    unknown = [str(word) for word in known if word not in classes]
    if unknown:
        raise DataError(
            f"data.classes must name every class. Received: a label {unknown[0]!r}. "
            f"{nearest(unknown[0], classes)}"
        )
    return np.array([classes.index(word) for word in known])[places]


def _regress(arrays: NamedArrays, config: ArraysData, clips: Clips) -> dict[str, Any]:
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


def _flag(arrays: NamedArrays, config: ArraysData, clips: Clips) -> dict[str, Any]:
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


def _forecast(config: ArraysData, clips: Clips, channels: tuple[str, ...]) -> dict[str, Any]:
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


def _frames(arrays: NamedArrays, config: ArraysData, clips: Clips) -> dict[str, Any]:
    """Let the rows themselves be what is right."""
    return {"truths": clips.rows}


TRUTHS: Mapping[Kind, Truth] = {
    "classification": _classify,
    "regression": _regress,
    "anomaly": _flag,
    "frames": _frames,
}
"""What gives each row its truth; forecasting needs the channels too."""
