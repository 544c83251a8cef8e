"""The cells of a table's column become numbers, words, flags or official sides."""

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.data.sequences import SIDES, Array
from search.data.stamps import Place
from search.errors import DataError

DECIMAL_COMMA = r"[+-]?\d+,\d+"
FLAGS = {"0": 0, "false": 0, "1": 1, "true": 1}
"""What an anomaly's flag may be."""
EXACT = 2**24
"""Up to here float32 holds every whole number."""
LARGEST_STEP = 0.1
"""Share of the median change from row to row that a step of float32 may be."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """A column of words.

    Attributes:
        codes: The place of each row's word, -1 where it has none, of shape (rows,), int64.
        words: The different words, in the order in which they appear.
    """

    codes: Array
    words: tuple[str, ...]

    def at(self, row: int) -> str:
        """Return the word of one row, '' where it has none."""
        return self.words[self.codes[row]] if self.codes[row] >= 0 else ""


def read_numbers(frame: pd.DataFrame, names: Sequence[str], field: str, place: Place) -> Array:
    """Read columns of numbers.

    Args:
        frame: The rows of one file.
        names: The columns.
        field: The setting that names them, without its section.
        place: Says where a row stands.

    Returns:
        Values of shape (rows, columns), float32, NaN where a cell is empty.

    Raises:
        DataError: If a cell holds a text, infinity or what float32 cannot hold, or changes from row
            to row are lost in it.
    """
    values = np.empty((len(frame), len(names)), dtype=np.float32)
    for number, name in enumerate(names):
        values[:, number] = _read_number(frame[name], field, name, place)
    return values


def to_numbers(series: "pd.Series[float]") -> "pd.Series[float]":
    """Read cells of any type as numbers.

    Args:
        series: The cells.

    Returns:
        Their values: NaN where a cell holds none, infinity for a whole number beyond float64.
    """
    cells = series.astype(object).map(lambda cell: math.inf if _is_huge(cell) else cell)
    return pd.to_numeric(cells, errors="coerce")


def _is_huge(cell: object) -> bool:
    return isinstance(cell, int) and cell.bit_length() > sys.float_info.max_exp


def _read_number(series: "pd.Series[float]", field: str, name: str, place: Place) -> Array:
    if series.dtype.kind in "mMc":
        raise DataError(
            f"data.{field} must name columns of numbers. Received: {name!r} of type {series.dtype}."
        )
    if not pd.api.types.is_numeric_dtype(series.dtype):
        numbers = to_numbers(series)
        _refuse_any(np.asarray(numbers.isna() & series.notna()), "numbers", field, series, place)
        series = numbers
    values: Array = series.to_numpy(dtype=np.float64, na_value=np.nan)
    most = np.finfo(np.float32).max
    _refuse_any(abs(values) > most, "finite float32 numbers", field, series, place)
    _check_changes(values, field, name)
    return values


def _check_changes(values: Array, field: str, name: str) -> None:
    """Refuse a counter so far from zero that float32 tells few of its values apart."""
    highest = float(np.max(abs(values), initial=0, where=~np.isnan(values)))
    changes = abs(np.diff(values)) if highest > EXACT else np.zeros(0)
    changes = changes[changes > 0]
    step = float(np.spacing(np.float32(highest)))
    if len(changes) and step > LARGEST_STEP * np.median(changes):
        raise DataError(
            f"data.{field} must name columns whose changes float32 can tell. Received: {name!r} with "
            f"values up to {highest:.10g}, where it has steps of {step:g}, and changes of "
            f"{np.median(changes):g} from row to row. Take a constant off the column, write its "
            f"changes in its place, or name data.{field} without this column."
        )


def _refuse_any(
    wrong: Array, rule: str, field: str, series: "pd.Series[float]", place: Place
) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        value = series.iloc[row]
        shown = repr(value) if isinstance(value, str) else str(value)
        comma = isinstance(value, str) and re.fullmatch(DECIMAL_COMMA, value)
        hint = "Write decimals with a point" if comma else "Correct or empty them"
        raise DataError(
            f"data.{field} must name columns of {rule}. Received: {series.name}={shown} at "
            f"{place(row)}, the first of {np.count_nonzero(wrong):,}. {hint}, or name "
            f"data.{field} without this column."
        )


def read_words(series: "pd.Series[str]", field: str) -> Words:
    """Read a column of words; a number is the word that it is written as.

    Args:
        series: The column, of shape (rows,).
        field: The setting that names it, without its section.

    Returns:
        The word of each row.

    Raises:
        DataError: If a cell holds a list or a record, as Parquet files may.
    """
    try:
        codes, words = pd.factorize(series)
    except TypeError:
        raise DataError(
            f"data.{field} must name a column of texts or numbers. Received: {series.name!r} with "
            f"cells as {series.dropna().iloc[0]}. Name another column, or write its parts as "
            f"columns of their own."
        ) from None
    return Words(codes=codes.astype(np.int64), words=tuple(_write(word) for word in words))


def _write(word: object) -> str:
    """Write a value as a word: whole numbers alike in columns with and without missing ones."""
    if isinstance(word, float | np.floating) and float(word).is_integer():
        return str(int(word))
    return str(word)


def check_complete(words: Words, field: str, column: str, place: Place) -> None:
    """Refuse a column with empty cells.

    Args:
        words: The word of each row.
        field: The setting that names the column, without its section.
        column: The column.
        place: Says where a row stands.

    Raises:
        DataError: If a row has no word.
    """
    if (words.codes < 0).any():
        row = int(np.argmax(words.codes < 0))
        raise DataError(
            f"data.{field} must have a value in every row. Received: {column}= at {place(row)}, "
            f"the first of {np.count_nonzero(words.codes < 0):,}."
        )


def read_groups(series: "pd.Series[str]", starts: Array, place: Place) -> Words:
    """Read the group of each row, which is one within a recording.

    Args:
        series: The column, of shape (rows,).
        starts: The row that each recording begins at, and the number of rows, of shape
            (recordings + 1,).
        place: Says where a row stands.

    Returns:
        The group of each row.

    Raises:
        DataError: If a row has none, or another than its recording's first row.
    """
    groups = read_words(series, "group")
    check_complete(groups, "group", str(series.name), place)
    firsts = np.repeat(groups.codes[starts[:-1]], np.diff(starts))
    changed = groups.codes != firsts
    if changed.any():
        row = int(np.argmax(changed))
        raise DataError(
            f"data.group must not change within a recording. Received: "
            f"{series.name}={groups.at(row)} after {groups.words[firsts[row]]} at "
            f"{place(row)}. Name data.unit, the column that tells recordings apart."
        )
    return groups


def read_sides(series: "pd.Series[str]", place: Place) -> Array:
    """Read the official side of each row.

    Args:
        series: The column, of shape (rows,).
        place: Says where a row stands.

    Returns:
        Places in ``SIDES`` of shape (rows,), int8.

    Raises:
        DataError: If a cell names no side.
    """
    words = read_words(series, "sides")
    known = {str(side): code for code, side in enumerate(SIDES)}
    codes = np.array([known.get(word, -1) for word in words.words] + [-1])
    sides = codes[words.codes].astype(np.int8)
    if (sides < 0).any():
        row = int(np.argmax(sides < 0))
        raise DataError(
            f"data.sides must say 'train', 'validation' or 'test' in every row. Received: "
            f"{series.name}={words.at(row)} at {place(row)}, the first of "
            f"{np.count_nonzero(sides < 0):,}."
        )
    return sides


def read_flags(series: "pd.Series[str]", place: Place) -> Words:
    """Read flags of anomalies.

    Args:
        series: The column, of shape (rows,).
        place: Says where a row stands.

    Returns:
        'anomalous' or 'normal' for each row, none where its cell is empty.

    Raises:
        DataError: If a cell holds something else than 0, 1, False or True.
    """
    words = read_words(series, "targets")
    flags = np.array([FLAGS.get(word.casefold(), -1) for word in words.words] + [-1])
    codes = flags[words.codes]
    wrong = (codes < 0) & (words.codes >= 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"data.targets must name a column of flags for task.kind='anomaly': 1 or True where "
            f"the row is anomalous, 0 or False where it is normal. Received: "
            f"{series.name}={words.at(row)} at {place(row)}, the first of "
            f"{np.count_nonzero(wrong):,}."
        )
    return Words(codes=codes, words=("normal", "anomalous"))
