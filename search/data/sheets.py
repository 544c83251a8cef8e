"""Arrays of a file or folder, and columns of a sheet beside it, are read by name."""

import contextlib
import re
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from search.data.files import read_word
from search.data.sequences import Array
from search.errors import ConfigError, DataError, nearest

WORDS = ("groups", "sides", "sheet")
"""The settings that name columns of words, even where each is written as a number."""
PLAIN = re.compile(r"0|[1-9]\d{0,17}")
"""A number that is written in one way only, as 7 is, and 07 is not."""
UNREADABLE = (
    *(OSError, EOFError, ValueError, MemoryError, RuntimeError, OverflowError, TypeError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What NumPy and zipfile raise of files that are damaged, or made to do damage."""


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
        except UNREADABLE as exc:
            reason = str(exc).partition("\n")[0].rstrip(".")
            raise DataError(
                f"data.{field} must be an array of plain values that can be read: {reason}. "
                f"Received: {field}={name!r}. Save it again, never with dtype=object."
            ) from None

    def _load(self, name: str) -> Array:
        if self.archive is not None:
            return np.asarray(self.archive[name])
        # Mapped, so that an array of float64 is never held beside its float32.
        array: Array = np.load(self.path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of arrays")
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
        with contextlib.suppress(*UNREADABLE):
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
        The columns, each of shape (lines,): texts, NaN where a cell is empty.

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
                dtype=str,  # a group may be called 01, and 1 is another
                compression=None,
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
        Of shape (lines,): numbers where every cell is one, else texts; so is a column of groups
        or names where one number is written in two ways, as 7 and 07.

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
    if field in WORDS:
        words = np.array([read_word(cell) for cell in column], dtype=np.str_)
        plain = all(PLAIN.fullmatch(word) for word in words)
        return words.astype(np.int64) if plain else words
    numbers = pd.to_numeric(pd.Series(column, dtype=object), errors="coerce").to_numpy()
    return column.astype(np.str_) if np.isnan(numbers).any() else numbers
