"""Arrays and columns are read by name, and become the groups and official sides of clips."""

import contextlib
import warnings
import zipfile
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from search.data.sequences import SIDES, Array
from search.errors import ConfigError, DataError, nearest

NAMED = 5
"""Groups and folds that a message names."""


@dataclass(frozen=True, kw_only=True)
class NamedArrays:
    """The arrays of a file or folder, and the columns of a sheet beside it.

    Attributes:
        path: The .npz file, or the folder of .npy files.
        names: The arrays' names.
        archive: The open .npz file, or ``None`` for a folder.
        sheet: The columns, each of shape (lines,); empty without a sheet.
    """

    path: Path
    names: tuple[str, ...]
    archive: "np.lib.npyio.NpzFile | None"
    sheet: Mapping[str, Array]

    def read(self, field: str, name: str) -> Array:
        """Read the array or the column that one setting names.

        Args:
            field: The setting, without its section.
            name: What it names.

        Returns:
            The array, which may be mapped from its file; a column has the shape (lines,).

        Raises:
            ConfigError: If there is no such name, or both an array and a column have it.
            DataError: If the array cannot be read, or the column has empty cells.
        """
        if name in self.names and name in self.sheet:
            raise ConfigError(
                f"data.{field} must name one thing: {self.path.name!r} has an array of this name, "
                f"and data.sheet a column. Received: {field}={name!r}. Rename the column."
            )
        if name in self.sheet:
            return read_column(self.sheet, field, name)
        if name not in self.names:
            column = " or a column of data.sheet" if self.sheet else ""
            raise ConfigError(
                f"data.{field} must name an array in {self.path.name!r}{column}. "
                f"Received: {field}={name!r}. {nearest(name, {*self.names, *self.sheet})}"
            )
        try:
            return self._load(name)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as exc:
            raise DataError(
                f"data.{field} must be an array of plain values that can be read: {exc}. "
                f"Received: {field}={name!r}. Save it again, never with dtype=object."
            ) from None

    def _load(self, name: str) -> Array:
        if self.archive is not None:
            return np.asarray(self.archive[name])
        # Mapped, so that an array of float64 is never held beside its float32.
        array: Array = np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array


@contextlib.contextmanager
def open_arrays(path: Path, sheet: Path | None = None) -> Generator[NamedArrays, None, None]:
    """Open the file or folder that ``data.path`` names, and the sheet beside it.

    Args:
        path: An .npz file, or a folder of .npy files.
        sheet: A CSV file, or ``None``.

    Yields:
        The arrays and columns by name, none of them read yet.

    Raises:
        ConfigError: If a file does not exist, or the folder holds no array.
        DataError: If a file cannot be read.
    """
    columns = {} if sheet is None else load_sheet(sheet)
    if path.is_dir():
        names = tuple(sorted(file.stem for file in path.glob("*.npy")))
        if not names:
            raise ConfigError(
                f"data.path must name an .npz file or a folder of .npy files: this folder has "
                f"none. Received: path={str(path)!r}."
            )
        yield NamedArrays(path=path, names=names, archive=None, sheet=columns)
        return
    with _open_archive(path) as archive:
        yield NamedArrays(path=path, names=tuple(archive.files), archive=archive, sheet=columns)


def _open_archive(path: Path) -> "np.lib.npyio.NpzFile":
    if not path.is_file():
        raise ConfigError(
            f"data.path must name an .npz file or a folder of .npy files: there is no such file "
            f"or folder. Received: path={str(path)!r}."
        )
    archive = None
    if zipfile.is_zipfile(path):  # else NumPy leaves what it opened to the garbage collector
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):
            archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(
            f"data.path must be an .npz file, which is a zip archive: this file is none, or was "
            f"cut short. Received: path={str(path)!r}. Write it with numpy.savez_compressed."
        )
    return archive


def load_sheet(path: Path) -> dict[str, Array]:
    """Read a CSV file with a line of column names.

    Args:
        path: The file.

    Returns:
        The columns, each of shape (lines,): numbers, or objects where a cell is text or empty.

    Raises:
        ConfigError: If there is no such file.
        DataError: If it is no CSV file, or its lines have more fields than it has names.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # else fields would be lost
            table = pd.read_csv(
                path,
                index_col=False,  # else columns would move where lines have a field too many
                keep_default_na=False,  # a group may be called "NA" or "None"
                na_values=[""],
                low_memory=False,
            )
    except OSError as exc:
        raise ConfigError(
            f"data.sheet must name a CSV file: {exc.strerror}. Received: sheet={str(path)!r}."
        ) from None
    except pd.errors.ParserWarning:
        raise DataError(
            f"data.sheet must have a name for each field of its lines. Received: "
            f"sheet={str(path)!r}, with a line of more fields than names. Is a comma missing?"
        ) from None
    except ValueError as exc:  # pandas raises kinds of it for what it cannot parse or decode
        raise DataError(
            f"data.sheet must be a CSV file in UTF-8 with a line of column names: "
            f"{str(exc).strip()}. Received: sheet={str(path)!r}."
        ) from None
    return {str(name): table[name].to_numpy() for name in table.columns}


def read_column(sheet: Mapping[str, Array], field: str, name: str) -> Array:
    """Pick the column that one setting names.

    Args:
        sheet: The columns, each of shape (lines,).
        field: The setting, without its section.
        name: What it names.

    Returns:
        Numbers or texts of shape (lines,).

    Raises:
        ConfigError: If there is no such column.
        DataError: If it has empty cells.
    """
    if name not in sheet:
        raise ConfigError(
            f"data.{field} must name a column of data.sheet. Received: {field}={name!r}. "
            f"{nearest(name, sheet)}"
        )
    column = sheet[name]
    missing = pd.isna(column)
    if missing.any():
        raise DataError(
            f"data.{field} must have a value in every line of data.sheet. Received: "
            f"{np.count_nonzero(missing)} empty cells in column {name!r}, the first in line "
            f"{np.argmax(missing) + 2}."
        )
    return column if column.dtype.kind in "iufb" else column.astype(np.str_)


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
