"""The CSV and Parquet files of tables are listed and read as they are."""

import math
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.config import TableData
from search.errors import ConfigError, DataError

SUFFIXES = (".csv", ".parquet")


NO_WORDS = ("", "nan")
"""What stands for no value in a column of words."""
NO_NUMBERS = (
    *("", "NaN", "nan", "-NaN", "-nan", "NA", "N/A", "n/a", "<NA>", "NULL", "null", "None"),
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"),
)
"""What stands for no value in other columns: what pandas takes for it."""
WHOLE = re.compile(r"^([+-]?\d+)\.0*$")
"""A whole number as programs write it whose column has missing values, too."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a table.

    Attributes:
        name: What messages and recordings call it: its path under the folder, or its own name.
        path: Where it stands.
    """

    name: str
    path: Path

    @property
    def is_csv(self) -> bool:
        """Whether it is a CSV file, not a Parquet file."""
        return self.path.suffix.lower() == ".csv"


def list_files(config: TableData) -> list[File]:
    """List the files in the natural order of their paths: 'valve1/2.csv' before 'valve1/10.csv'.

    Hidden files and those in hidden folders are passed over.

    Args:
        config: The file, or the folder and the pattern of names in it.

    Returns:
        One file or more.

    Raises:
        ConfigError: If there is no such file or folder, or it holds no CSV or Parquet file that
            the pattern names.
    """
    path = config.path
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                f"data.path must name a .csv or .parquet file, or a folder of them. "
                f"Received: path={str(path)!r}."
            )
        return [File(name=path.name, path=path)]
    if not path.is_dir():
        raise ConfigError(
            f"data.path must name a .csv or .parquet file, or a folder of them: nothing stands "
            f"there. Received: path={str(path)!r}."
        )
    try:
        found = [(file.relative_to(path), file) for file in path.glob(config.pattern)]
    except (ValueError, NotImplementedError) as exc:
        raise ConfigError(
            f"data.pattern must name files under data.path: {exc}. "
            f"Received: pattern={config.pattern!r}. Write one like 'valve*/*.csv'."
        ) from None
    files = [
        File(name=name.as_posix(), path=file)
        for name, file in found
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        # Hidden ones are what editors and file managers leave behind.
        and not any(place.startswith(".") for place in name.parts)
    ]
    if not files:
        raise ConfigError(
            f"data.path must hold .csv or .parquet files that data.pattern names. Received: none "
            f"in {str(path)!r} for pattern={config.pattern!r}."
        )
    return sorted(files, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[str, int]]:
    pieces = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, int(number or -1)) for text, number in pieces]


def read_frame(file: File, config: TableData, words: Collection[str]) -> pd.DataFrame:
    """Read a file as it is: rows keep their line, and what is no number stays a text.

    Args:
        file: The file.
        config: What separates the columns of a CSV file.
        words: Columns of words, which a CSV file does not tell from numbers: 01 and NA are words.

    Returns:
        The rows and columns of the file; empty lines at its end are no rows.

    Raises:
        DataError: If the file cannot be read, has rows of more fields than names, or no rows.
    """
    try:
        frame = _read_csv(file, config, words) if file.is_csv else _read_parquet(file)
    except (OSError, ValueError, NotImplementedError, pd.errors.ParserWarning) as exc:
        kind = "CSV" if file.is_csv else "Parquet"
        why = str(exc).strip().rstrip(".").split("\n")[0]
        if isinstance(exc, pd.errors.ParserWarning):
            why = "its rows have more fields than its header has names"
        separator = f", separator={config.separator!r}" if file.is_csv else ""
        hint = " Write data.separator if it is another." if file.is_csv else ""
        raise DataError(
            f"data.path must hold {kind} files that can be read: {why}. Received: "
            f"{file.name!r}{separator}.{hint}"
        ) from None
    if frame.empty:
        raise DataError(
            f"data.path must hold tables with rows. Received: {file.name!r} with none. Leave it "
            f"out by data.pattern."
        )
    return frame


def _read_csv(file: File, config: TableData, words: Collection[str]) -> pd.DataFrame:
    shape: dict[str, Any] = {
        "sep": config.separator,
        # Else a row with one field more would silently shift all columns by one.
        "index_col": False,
        "compression": None,  # a name that ends in .csv is no archive
    }
    named = pd.read_csv(file.path, **shape, nrows=0).columns
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = pd.read_csv(
            file.path,
            **shape,
            # Else a column's type would change from chunk to chunk, and lines lose their number.
            low_memory=False,
            skip_blank_lines=False,
            dtype=dict.fromkeys(words, str),
            keep_default_na=False,
            na_values={str(name): NO_NUMBERS for name in named if name not in words},
        )
    for name in named.intersection([*words]):
        frame[name] = frame[name].map({cell: read_word(cell) for cell in frame[name].unique()})
    known = np.flatnonzero(frame.notna().any(axis=1))
    return frame.iloc[: known[-1] + 1 if len(known) else 0]


def read_word(cell: str | float) -> str | float:
    """Read a cell of words as it is written, whatever other cells and files hold.

    Args:
        cell: The text of the cell; NaN where a line is too short for it.

    Returns:
        The word, a whole number without its point; NaN where there is none.
    """
    if not isinstance(cell, str) or cell.strip().casefold() in NO_WORDS:
        return math.nan
    return WHOLE.sub(r"\1", cell)


def _read_parquet(file: File) -> pd.DataFrame:
    frame = pd.read_parquet(file.path, engine="pyarrow")
    # An index without a name is a counter that pandas made.
    frame = frame.reset_index(drop=all(name is None for name in frame.index.names))
    frame.columns = frame.columns.map(str)
    return frame
