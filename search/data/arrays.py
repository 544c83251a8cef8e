"""Clips in NumPy files become recordings, one a clip, after every check that a person needs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from search.config import ArraysData, Kind, TaskConfig
from search.data.clips import Clips, name_channels, read_clips
from search.data.recordings import Recordings
from search.data.sequences import SIDES, Array
from search.data.sheets import NamedArrays, open_arrays
from search.data.sides import check_one_split, number_groups, place_fold, place_sides
from search.data.truths import read_truths
from search.errors import ConfigError, DataError

LABELLED: tuple[Kind, ...] = ("classification", "regression", "anomaly")
"""Kinds of task that need ``data.y``."""


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
        clips = read_clips(arrays, config, task)
        channels = name_channels(arrays, config, clips.rows.shape[-1])
        truth = read_truths(arrays, config, clips, task.kind, channels)
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


def _read_marks(
    arrays: NamedArrays, config: ArraysData, clips: Clips, test_fold: int | None
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


def _read_mark(arrays: NamedArrays, config: ArraysData, clips: Clips, field: str) -> Array | None:
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
    if values.dtype.kind == "f" and np.isnan(values).any():
        missing = int(np.isnan(values).argmax())
        raise DataError(
            f"data.{field} must have a value for every clip. Received: nan for clip {missing}."
        )
    return values


def _name_clips(count: int, official: int) -> tuple[str, ...]:
    names = [f"clip {number}" for number in range(count - official)]
    return (*names, *(f"test clip {number}" for number in range(official)))


def _describe(config: ArraysData, clips: Clips, truth: Mapping[str, Any]) -> str:
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
