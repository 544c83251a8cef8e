"""Clips in a NumPy .npz file become recordings, one a clip, after every check that a person needs."""

import contextlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from search.config import ArraysData
from search.data.recordings import Recordings
from search.data.sequences import Array
from search.errors import ConfigError, DataError, nearest

RANKS = (3, 4, 5)
"""Axes of clips: one, two or three beside (clips, steps): channels, lines or whole frames."""


def load_arrays(config: ArraysData) -> Recordings:
    """Read clips and labels.

    Args:
        config: The file, and the names of the arrays in it.

    Returns:
        Every clip's steps as rows, with one target at each clip's last row; official test
        clips come last.

    Raises:
        ConfigError: If the file, or an array named in the config, does not exist.
        DataError: If the file cannot be read, or its arrays do not fit each other.
    """
    with _open_file(config) as file:
        clips, labels = _read_pair(file, config, ("x", "y"))
        tests = 0
        if config.x_test is not None or config.y_test is not None:
            more, more_labels = _read_pair(file, config, ("x_test", "y_test"))
            _check_same_shape(clips, more)
            clips, labels = np.concatenate([clips, more]), np.concatenate([labels, more_labels])
            tests = len(more)
        count, steps = clips.shape[:2]
        classes = _name_classes(file, config, labels)
        return Recordings(
            description=_describe(config, clips, len(classes), tests),
            rows=clips.reshape(-1, *clips.shape[2:]),
            ends=np.arange(1, count + 1) * steps - 1,
            labels=labels,
            groups=_read_groups(file, config, count - tests, tests),
            official_test=np.arange(count) >= count - tests,
            longest=steps,
            channels=_name_channels(file, config, clips.shape[-1]),
            classes=classes,
        )


def _open_file(config: ArraysData) -> "np.lib.npyio.NpzFile":
    path = config.path
    if not path.is_file():
        why = "a folder stands there" if path.is_dir() else "there is no such file"
        raise ConfigError(f"data.path must name an .npz file: {why}. Received: path={str(path)!r}.")
    file = None
    if zipfile.is_zipfile(path):  # else NumPy leaves what it opened to the garbage collector
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):
            file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise DataError(
            f"data.path must be an .npz file, which is a zip archive: this file is none, or was "
            f"cut short. Received: path={str(path)!r}. Write it with numpy.savez_compressed."
        )
    return file


def _read(file: "np.lib.npyio.NpzFile", config: ArraysData, field: str) -> Array:
    """Read the array that one setting names."""
    name = getattr(config, field)
    if name is None:
        raise ConfigError(
            f"data.{field} must be given, since its partner is. Received: {field}=None. "
            f"{nearest(field, file.files)}"
        )
    if name not in file.files:
        raise ConfigError(
            f"data.{field} must name an array in {config.path.name!r}. "
            f"Received: {field}={name!r}. {nearest(name, file.files)}"
        )
    try:
        return np.asarray(file[name])
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as exc:
        raise DataError(
            f"data.{field} must be an array of plain values that can be read: {exc}. "
            f"Received: {field}={name!r}. Save it again, never with dtype=object."
        ) from None


def _read_pair(
    file: "np.lib.npyio.NpzFile", config: ArraysData, fields: tuple[str, str]
) -> tuple[Array, Array]:
    """Read clips as float32 and their labels as whole numbers."""
    x, y = fields
    clips, labels = _check_clips(x, _read(file, config, x)), _read(file, config, y)
    if labels.shape != clips.shape[:1]:
        raise DataError(
            f"data.{y} must hold one label for each clip of data.{x}. "
            f"Received: {y} of shape {labels.shape}, {x} of shape {clips.shape}. Write "
            f"y.argmax(axis=1) for one column a class, y.ravel() for a single column."
        )
    return clips, _check_labels(y, labels)


def _check_clips(field: str, clips: Array) -> Array:
    if clips.dtype.kind not in "iufb":
        raise DataError(f"data.{field} must hold numbers. Received: dtype={clips.dtype}.")
    if clips.ndim not in RANKS:
        raise DataError(
            f"data.{field} must have the axes (clips, steps, channels), (clips, steps, width, "
            f"channels) or (clips, frames, height, width, channels). "
            f"Received: shape={clips.shape}. Add an axis of length 1 for a single channel."
        )
    if clips.size == 0:
        raise DataError(f"data.{field} must not be empty. Received: shape={clips.shape}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below, as infinity
        clips = np.ascontiguousarray(clips, dtype=np.float32)
    wrong = np.count_nonzero(~np.isfinite(clips.reshape(len(clips), -1)), axis=1)
    if wrong.any():
        raise DataError(
            f"data.{field} must hold finite float32 numbers alone. Received: {wrong.sum()} values "
            f"of NaN or infinity in {np.count_nonzero(wrong)} clips, the first is clip "
            f"{np.argmax(wrong > 0)}. Fill them or leave these clips out."
        )
    return clips


def _check_same_shape(clips: Array, more: Array) -> None:
    if clips.shape[1:] != more.shape[1:]:
        raise DataError(
            f"data.x_test must have clips of the same shape as data.x. "
            f"Received: x_test of shape {more.shape}, x of shape {clips.shape}."
        )


def _check_labels(field: str, labels: Array) -> Array:
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


def _name_classes(
    file: "np.lib.npyio.NpzFile", config: ArraysData, labels: Array
) -> tuple[str, ...]:
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
    names = _read_names(file, config, "classes")
    if len(names) < count:
        raise DataError(
            f"data.classes must name every class. Received: {len(names)} names, and labels up to "
            f"{count - 1}, which takes {count}."
        )
    return names


def _name_channels(file: "np.lib.npyio.NpzFile", config: ArraysData, count: int) -> tuple[str, ...]:
    if config.channels is None:
        return tuple(f"channel_{number}" for number in range(count))
    names = _read_names(file, config, "channels")
    if len(names) != count:
        raise DataError(
            f"data.channels must name each channel of data.x once. "
            f"Received: {len(names)} names for {count} channels."
        )
    return names


def _read_names(file: "np.lib.npyio.NpzFile", config: ArraysData, field: str) -> tuple[str, ...]:
    names = _read(file, config, field)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"data.{field} must be a list of texts. "
            f"Received: dtype={names.dtype}, shape={names.shape}."
        )
    return tuple(str(name) for name in names)


def _read_groups(
    file: "np.lib.npyio.NpzFile", config: ArraysData, clips: int, tests: int
) -> Array | None:
    """Number the groups; official test clips belong to none of them."""
    if config.groups is None:
        return None
    groups = _read(file, config, "groups")
    if groups.shape != (clips,):
        raise DataError(
            f"data.groups must hold one group for each clip of data.x. "
            f"Received: shape={groups.shape} for {clips} clips."
        )
    numbers = np.unique(groups, return_inverse=True)[1]
    return np.concatenate([numbers, np.full(tests, -1)])


def _describe(config: ArraysData, clips: Array, classes: int, tests: int) -> str:
    count, steps = clips.shape[:2]
    shape = " x ".join(str(size) for size in clips.shape[2:])
    official = f" and {tests} official test clips" if tests else ""
    return (
        f"{count - tests} clips{official} of {steps} steps x {shape} with {classes} classes, "
        f"from {Path(config.path).name}."
    )
