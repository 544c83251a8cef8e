"""Tables in CSV or Parquet files become recordings, after every check that a person needs."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from search.config import TableData, TaskConfig
from search.data.recordings import Recordings, Report
from search.data.sequences import SIDES, Array
from search.data.stamps import (
    Place,
    calendar_waves,
    check_order,
    count_missing,
    find_gaps,
    name_calendar,
    read_stamps,
    refuse_gaps,
    show_count,
)
from search.errors import ConfigError, DataError, nearest

SUFFIXES = (".csv", ".parquet")
SEPARATORS = (",", ";", "\t", "|", " ")
"""What a message may propose for ``data.separator``."""
FLAGS = {"0": 0, "false": 0, "1": 1, "true": 1}
"""What an anomaly's flag may be."""
MOST_WORDS = 1_000
"""Different words in a column of words, past which it is a column of values or of names."""
NAMED = 5
"""Columns that a message names."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file, and its name for messages and recordings."""

    name: str
    path: Path

    @property
    def is_csv(self) -> bool:
        return self.path.suffix.lower() == ".csv"


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """The part that each column has, the same for all files.

    Attributes:
        file: The file that they were found in first.
        numbers: Channels of numbers.
        values: Columns of values to predict; empty where there are labels.
        left_out: Columns of words that are no channel, where the study names no channels.
    """

    file: str
    numbers: tuple[str, ...]
    values: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Words:
    """A column of words: the number of each row's word, -1 for none, and the words."""

    codes: Array
    words: tuple[str, ...]

    def at(self, row: int) -> str:
        """Return the word of one row, '' where it has none."""
        return self.words[self.codes[row]] if self.codes[row] >= 0 else ""


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where rows stand in their files.

    Attributes:
        files: The file of each recording.
        names: The recordings' names.
        starts: The row that each recording begins at, and the number of rows.
        lines: The number of each row in its file, from 0, of shape (rows,).
    """

    files: tuple[_File, ...]
    names: tuple[str, ...]
    starts: Array
    lines: Array

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the recordings of several files one after the other."""
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            files=tuple(file for part in parts for file in part.files),
            names=tuple(name for part in parts for name in part.names),
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            lines=np.concatenate([part.lines for part in parts]),
        )

    def show(self, row: int) -> str:
        """Say where a row stands."""
        recording = int(np.searchsorted(self.starts, row, side="right")) - 1
        file, name = self.files[recording], self.names[recording]
        within = f" in recording {name!r}" if name != file.name else ""
        if file.is_csv:
            line = self.lines[row] + 2
            return f"line {line} of {file.name!r}{within} (the header is line 1)"
        return f"row {self.lines[row] + 1} of {file.name!r}{within} (counted from 1)"


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The rows of one file, each recording's together.

    Attributes:
        places: Where the rows stood.
        stamps: Of shape (rows,), or ``None``.
        values: Channels of numbers, of shape (rows, numbers), NaN for none.
        truths: Values to predict, of shape (rows, variables), NaN for none.
        label: The column of the label or flag, or ``None``.
        categories: The columns of words that become channels.
        group: The column of the group, or of the unit, or ``None``.
        sides: Official sides of shape (rows,), or ``None``.
    """

    places: _Places
    stamps: Array | None
    values: Array
    truths: Array
    label: _Words | None
    categories: tuple[_Words, ...]
    group: _Words | None
    sides: Array | None

    @property
    def rows(self) -> int:
        return len(self.values)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the rows of all files go once gaps were split or filled.

    Attributes:
        to: The final row of each row that was read, of shape (rows,).
        starts: The final row that each final recording begins at, and the number of rows.
        names: The final recordings' names.
        origins: The recording, as read, that each final one comes from.
        stamps: The time of each final row, or ``None``.
        note: What was done about gaps, '' for nothing.
    """

    to: Array
    starts: Array
    names: tuple[str, ...]
    origins: Array
    stamps: Array | None
    note: str = ""

    @property
    def rows(self) -> int:
        return int(self.starts[-1])

    @property
    def filled(self) -> int:
        return self.rows - len(self.to)


def load_table(config: TableData, task: TaskConfig, report: Report) -> Recordings:
    """Read one table, or every table of a folder.

    Args:
        config: The files, and the part that each column has.
        task: What is predicted.
        report: Hears of every file that was read.

    Returns:
        The rows of all files: of each file, and in it of each unit, in file order.

    Raises:
        ConfigError: If a file or column that the study names does not exist, or settings
            contradict each other.
        DataError: If a file cannot be read, or holds what its column must not.
    """
    _check_settings(config, task)
    files, parts, columns = _list_files(config), list[_Part](), None
    for done, file in enumerate(files, start=1):
        columns, part = _read_part(file, columns, config, task)
        parts.append(part)
        report("Reading tables", done, len(files))
    if columns is None:  # _list_files names one file or more
        raise ValueError("no file was read")
    return _join(parts, columns, config, task)


# What the study asks for.


def _check_settings(config: TableData, task: TaskConfig) -> None:
    if task.kind == "frames":
        raise ConfigError(
            "task.kind must not be 'frames' for data.source='table': a table has no frames. "
            "Received: kind='frames'. Write 'forecasting' to predict the rows that follow."
        )
    if len(config.separator) != 1 and config.separator != r"\s+":
        raise ConfigError(
            rf"data.separator must be one character, or '\s+' for any blanks. "
            rf"Received: separator={config.separator!r}."
        )
    for field in ("time", "channels", "categories", "calendar", "targets"):
        twice = [name for name, count in Counter(getattr(config, field)).items() if count > 1]
        if twice:
            raise ConfigError(f"data.{field} must name each once. Received: {twice[0]!r} twice.")
    if not config.time:
        _check_timeless(config)
    _check_targets(config, task)


def _check_timeless(config: TableData) -> None:
    given = {
        "step": config.step,
        "calendar": config.calendar,
        "gaps": config.gaps if config.gaps in ("split", "fill") else None,
    }
    for field, value in given.items():
        if value:
            raise ConfigError(
                f"data.time must be given for data.{field}: without stamps rows are taken as "
                f"evenly spaced. Received: time=(), {field}={value!r}. Name the column of stamps."
            )


def _check_targets(config: TableData, task: TaskConfig) -> None:
    count = len(config.targets)
    if task.kind in ("classification", "anomaly") and count != 1:
        what = "label" if task.kind == "classification" else "flag"
        raise ConfigError(
            f"data.targets must name the one column of the {what} for task.kind={task.kind!r}. "
            f"Received: targets={config.targets}."
        )
    if task.kind == "regression" and not count:
        raise ConfigError(
            "data.targets must name the columns of the values for task.kind='regression'. "
            "Received: targets=()."
        )
    shown = [name for name in config.targets if name in config.channels + config.categories]
    if task.kind != "forecasting" and shown:
        forecasting = " or write task.kind='forecasting'" if task.kind == "regression" else ""
        raise ConfigError(
            f"data.channels and data.categories must not name a target: the model would be shown "
            f"what it is to tell. Received: {shown[0]!r} in both. Leave it out{forecasting}."
        )


def _list_files(config: TableData) -> list[_File]:
    """List the files in the natural order of their paths: 'valve1/2.csv' before '10.csv'."""
    path = config.path
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                f"data.path must name a .csv or .parquet file, or a folder of them. "
                f"Received: path={str(path)!r}."
            )
        return [_File(name=path.name, path=path)]
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
        _File(name=name.as_posix(), path=file)
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


# One file.


def _read_part(
    file: _File, columns: _Columns | None, config: TableData, task: TaskConfig
) -> tuple[_Columns, _Part]:
    """Read one file, and choose the columns if it is the first."""
    frame = _read_frame(file, config)
    if columns is None:
        _check_named(frame, file, config)
        columns = _choose_columns(frame, file, config, task)
    _check_present(frame, file, columns, config)
    frame, places = _gather_units(frame, file, config)
    place = places.show
    stamps = None
    if config.time:
        stamps = read_stamps(frame, config.time, place)
        check_order(stamps, places.starts, place)
    label = None
    if task.kind in ("classification", "anomaly"):
        label = _read_words(frame[config.targets[0]])
        if task.kind == "anomaly":
            label = _read_flags(label, config.targets[0], place)
    group = config.group or config.unit
    part = _Part(
        places=places,
        stamps=stamps,
        values=_read_numbers(frame, columns.numbers, "channels", place),
        truths=_read_numbers(frame, columns.values, "targets", place),
        label=label,
        categories=tuple(_read_words(frame[name]) for name in config.categories),
        group=None if group is None else _read_group(frame[group], places),
        sides=None if config.sides is None else _read_sides(frame[config.sides], place),
    )
    return columns, part


def _read_frame(file: _File, config: TableData) -> pd.DataFrame:
    """Read a file as it is: rows keep their line, and what is no number stays a text."""
    try:
        frame = _read_csv(file, config) if file.is_csv else _read_parquet(file)
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


def _read_csv(file: _File, config: TableData) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            file.path,
            sep=config.separator,
            # Else a row with one field more would silently shift all columns by one.
            index_col=False,
            # Else a column's type would change from chunk to chunk, and lines lose their number.
            low_memory=False,
            skip_blank_lines=False,
        )
    known = np.flatnonzero(frame.notna().any(axis=1))
    return frame.iloc[: known[-1] + 1 if len(known) else 0]


def _read_parquet(file: _File) -> pd.DataFrame:
    frame = pd.read_parquet(file.path, engine="pyarrow")
    # An index without a name is a counter that pandas made.
    frame = frame.reset_index(drop=all(name is None for name in frame.index.names))
    frame.columns = frame.columns.map(str)
    return frame


def _list_named(config: TableData) -> list[tuple[str, str]]:
    """List the columns that the study names, each with the setting that names it."""
    single = [(name, getattr(config, name)) for name in ("unit", "group", "sides")]
    several = [
        (field, name)
        for field in ("time", "channels", "categories", "targets")
        for name in getattr(config, field)
    ]
    return [(field, name) for field, name in single if name is not None] + several


def _check_named(frame: pd.DataFrame, file: _File, config: TableData) -> None:
    for field, name in _list_named(config):
        if name not in frame.columns:
            _check_separator(frame, file, config)
            raise ConfigError(
                f"data.{field} must name columns of the table. Received: {name!r}, which "
                f"{file.name!r} has not. {nearest(name, frame.columns)}"
            )


def _check_present(frame: pd.DataFrame, file: _File, columns: _Columns, config: TableData) -> None:
    needed = [name for _, name in _list_named(config)] + [*columns.numbers, *columns.values]
    lacking = [name for name in dict.fromkeys(needed) if name not in frame.columns]
    if lacking:
        _check_separator(frame, file, config)
        raise DataError(
            f"data.path must hold tables with the same columns. Received: {file.name!r} without "
            f"{_list_some(lacking)}, which {columns.file!r} has. Leave it out by data.pattern, "
            f"or name data.channels that all have."
        )


def _check_separator(frame: pd.DataFrame, file: _File, config: TableData) -> None:
    """Refuse a table of one column whose name holds what separates columns elsewhere."""
    name = str(frame.columns[0])
    if len(frame.columns) > 1 or not file.is_csv:
        return
    found = max(SEPARATORS, key=name.count)
    if found in name:
        raise DataError(
            f"data.separator must be what separates the columns of {file.name!r}: only one column "
            f"was found. Received: separator={config.separator!r}, column={name!r}. "
            f"Write data.separator={found!r}."
        )


def _choose_columns(
    frame: pd.DataFrame, file: _File, config: TableData, task: TaskConfig
) -> _Columns:
    """Give every column its part, by the first file."""
    numbers, left_out = config.channels, list[str]()
    if not numbers:
        taken = {name for _, name in _list_named(config)}
        if task.kind == "forecasting":
            taken -= set(config.targets)
        # A column without a name is what pandas writes as its row counter.
        free = [n for n in frame.columns if n not in taken and not re.match(r"Unnamed: \d+$", n)]
        numbers = tuple(name for name in free if _holds_numbers(frame[name]))
        left_out = [name for name in free if name not in numbers]
    if not numbers and not config.categories and not config.calendar:
        _check_separator(frame, file, config)
        raise DataError(
            f"data.channels must name columns of numbers: {file.name!r} has none that is free. "
            f"Received: columns {_list_some([*frame.columns])}."
        )
    values: tuple[str, ...] = ()
    if task.kind in ("regression", "forecasting"):
        values = config.targets or numbers
    if task.kind == "forecasting" and not values:
        raise ConfigError(
            "data.targets must name columns of numbers to predict. Received: targets=() and no "
            "channel of numbers."
        )
    return _Columns(file=file.name, numbers=numbers, values=values, left_out=tuple(left_out))


def _holds_numbers(series: "pd.Series[float]") -> bool:
    """Say whether a column holds numbers, or mostly: then its texts are mistakes to tell of."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        return True
    if series.dtype.kind in "mM":
        return False
    known = series.dropna().astype(object)
    return bool(pd.to_numeric(known, errors="coerce").notna().sum() * 2 > len(known))


def _gather_units(
    frame: pd.DataFrame, file: _File, config: TableData
) -> tuple[pd.DataFrame, _Places]:
    """Put the rows of each unit together, units in the order in which they appear."""
    rows = np.arange(len(frame))
    whole = _Places(files=(file,), names=(file.name,), starts=np.array([0, len(frame)]), lines=rows)
    if config.unit is None:
        return frame, whole
    units = _read_words(frame[config.unit])
    _check_complete(units, "unit", config.unit, whole.show)
    order = np.argsort(units.codes, kind="stable")
    prefix = f"{file.name}:" if config.path.is_dir() else ""
    places = _Places(
        files=(file,) * len(units.words),
        names=tuple(prefix + word for word in units.words),
        starts=np.concatenate([[0], np.cumsum(np.bincount(units.codes))]),
        lines=order,
    )
    return (frame if (order == rows).all() else frame.iloc[order]), places


# One column.


def _read_numbers(frame: pd.DataFrame, names: Sequence[str], field: str, place: Place) -> Array:
    """Read columns as float32 of shape (rows, columns), NaN for missing values."""
    values = np.empty((len(frame), len(names)), dtype=np.float32)
    for number, name in enumerate(names):
        values[:, number] = _read_number(frame[name], field, name, place)
    return values


def _read_number(series: "pd.Series[float]", field: str, name: str, place: Place) -> Array:
    if series.dtype.kind in "mMc":
        raise DataError(
            f"data.{field} must name columns of numbers. Received: {name!r} of type {series.dtype}."
        )
    if not pd.api.types.is_numeric_dtype(series.dtype):
        numbers = pd.to_numeric(series.astype(object), errors="coerce")
        _refuse_any(np.asarray(numbers.isna() & series.notna()), "numbers", field, series, place)
        series = numbers
    values: Array = series.to_numpy(dtype=np.float64, na_value=np.nan)
    most = np.finfo(np.float32).max
    _refuse_any(abs(values) > most, "finite float32 numbers", field, series, place)
    return values


def _refuse_any(
    wrong: Array, rule: str, field: str, series: "pd.Series[float]", place: Place
) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        value = series.iloc[row]
        shown = repr(value) if isinstance(value, str) else str(value)
        comma = isinstance(value, str) and re.fullmatch(r"[+-]?\d+,\d+", value)
        hint = "Write decimals with a point" if comma else "Correct or empty them"
        raise DataError(
            f"data.{field} must name columns of {rule}. Received: {series.name}={shown} at "
            f"{place(row)}, the first of {np.count_nonzero(wrong):,}. {hint}, or name "
            f"data.channels without this column."
        )


def _read_words(series: "pd.Series[str]") -> _Words:
    codes, words = pd.factorize(series)
    return _Words(codes=codes.astype(np.int64), words=tuple(_write(word) for word in words))


def _write(word: object) -> str:
    """Write a value as a word: whole numbers alike in columns with and without missing ones."""
    if isinstance(word, float | np.floating) and float(word).is_integer():
        return str(int(word))
    return str(word)


def _check_complete(words: _Words, field: str, column: str, place: Place) -> None:
    if (words.codes < 0).any():
        row = int(np.argmax(words.codes < 0))
        raise DataError(
            f"data.{field} must have a value in every row. Received: {column}= at {place(row)}, "
            f"the first of {np.count_nonzero(words.codes < 0):,}."
        )


def _read_group(series: "pd.Series[str]", places: _Places) -> _Words:
    groups = _read_words(series)
    _check_complete(groups, "group", str(series.name), places.show)
    firsts = np.repeat(groups.codes[places.starts[:-1]], np.diff(places.starts))
    changed = groups.codes != firsts
    if changed.any():
        row = int(np.argmax(changed))
        raise DataError(
            f"data.group must not change within a recording. Received: "
            f"{series.name}={groups.at(row)} after {groups.words[firsts[row]]} at "
            f"{places.show(row)}. Name data.unit, the column that tells recordings apart."
        )
    return groups


def _read_sides(series: "pd.Series[str]", place: Place) -> Array:
    words = _read_words(series)
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


def _read_flags(words: _Words, column: str, place: Place) -> _Words:
    """Read flags: 1 for an anomaly, 0 for none, -1 where nothing is known."""
    flags = np.array([FLAGS.get(word.casefold(), -1) for word in words.words] + [-1])
    codes = flags[words.codes]
    wrong = (codes < 0) & (words.codes >= 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"data.targets must name a column of flags for task.kind='anomaly': 1 or True where "
            f"the row is anomalous, 0 or False where it is normal. Received: "
            f"{column}={words.at(row)} at {place(row)}, the first of "
            f"{np.count_nonzero(wrong):,}."
        )
    return _Words(codes=codes, words=("normal", "anomalous"))


# All files.


def _join(
    parts: Sequence[_Part], columns: _Columns, config: TableData, task: TaskConfig
) -> Recordings:
    places = _Places.join([part.places for part in parts])
    layout = _lay_out(parts, places, config)
    words = [
        _list_words([part.categories[place] for part in parts], "categories", name)
        for place, name in enumerate(config.categories)
    ]
    channels = (
        *columns.numbers,
        *(
            f"{name}={word}"
            for name, known in zip(config.categories, words, strict=True)
            for word in known
        ),
        *name_calendar(config.calendar),
    )
    rows = _fill_rows(parts, layout, words, channels, config)
    usable, note = _treat_missing(rows, layout, places, channels, config)
    truths, classes = _join_truths(parts, layout, config, task)
    seen = set(columns.values) <= set(columns.numbers) and task.kind == "forecasting"
    return Recordings(
        description=_describe(config, layout, channels, columns, note),
        rows=rows,
        starts=layout.starts,
        names=layout.names,
        truths=truths,
        channels=channels,
        classes=classes,
        variables=columns.values,
        target_channels=tuple(columns.numbers.index(v) for v in columns.values) if seen else (),
        stride=config.stride,
        groups=_number_groups(parts, layout, places),
        sides=_join_sides(parts, layout, config),
        stamps=layout.stamps,
        usable=usable,
        drops_short=config.short == "drop",
        scaled_apart=config.scaling == "recording",
    )


def _lay_out(parts: Sequence[_Part], places: _Places, config: TableData) -> _Layout:
    """Say where rows go: gaps are refused, begin a recording, are filled or left."""
    stamps = [part.stamps for part in parts if part.stamps is not None]
    layout = _Layout(
        to=np.arange(len(places.lines)),
        starts=places.starts,
        names=places.names,
        origins=np.arange(len(places.names)),
        stamps=np.concatenate(stamps) if stamps else None,
    )
    if layout.stamps is None:
        return layout
    gaps = find_gaps(layout.stamps, places.starts, config.step)
    count = len(gaps.rows)
    if not count:
        return layout
    match config.gaps:
        case "refuse":
            raise refuse_gaps(gaps, layout.stamps, places.show)
        case "split":
            return _split_at(layout, gaps.rows)
        case "fill":
            if config.missing == "refuse":
                raise ConfigError(
                    f"data.missing must be 'forward' or 'drop' for data.gaps='fill': rows that "
                    f"are filled in have no values. Received: missing='refuse' and {show_count(count, 'gap')}."
                )
            added = count_missing(gaps, layout.stamps, places.show)
            return _widen(layout, gaps.rows, added, gaps.step)
    return _Layout(**{**vars(layout), "note": f"{show_count(count, 'gap')} ignored"})


def _split_at(layout: _Layout, rows: Array) -> _Layout:
    """Begin a new recording at some rows."""
    starts = np.sort(np.concatenate([layout.starts, rows]))
    origins = np.searchsorted(layout.starts, starts[:-1], side="right") - 1
    numbers = np.arange(len(origins)) - np.searchsorted(origins, origins) + 1
    names = [
        layout.names[origin] + (f"#{number}" if number > 1 else "")
        for origin, number in zip(origins, numbers, strict=True)
    ]
    return _Layout(
        to=layout.to,
        starts=starts,
        names=tuple(names),
        origins=origins,
        stamps=layout.stamps,
        note=f"{show_count(len(rows), 'gap')} split recordings",
    )


def _widen(layout: _Layout, rows: Array, added: Array, step: int) -> _Layout:
    """Leave room for missing rows before some rows, and give them their stamps."""
    shifts = np.zeros(len(layout.to), dtype=np.int64)
    shifts[rows] = added
    to = layout.to + np.cumsum(shifts)
    total = len(to) + int(added.sum())
    before = np.searchsorted(to, np.arange(total), side="right") - 1
    since = (np.arange(total) - to[before]) * np.timedelta64(step, "ns")
    return _Layout(
        to=to,
        starts=np.append(to[layout.starts[:-1]], total),
        names=layout.names,
        origins=layout.origins,
        stamps=None if layout.stamps is None else layout.stamps[before] + since,
        note=f"{show_count(int(added.sum()), 'missing row')} filled in",
    )


def _list_words(columns: Sequence[_Words], field: str, name: str) -> tuple[str, ...]:
    """Sort the words of a column over all files, numbers by their value.

    All rows are looked at, those of the test side too: what leaks is which words there are, and
    no row's value. A word that training never shows is a channel of zeros there.
    """
    words = {word for column in columns for word in column.words}
    if len(words) > MOST_WORDS:
        raise DataError(
            f"data.{field} must name a column of words. Received: {name!r} with {len(words):,} "
            f"different ones, the first {min(words)!r}. For values name data.channels, or "
            f"write task.kind='regression'."
        )
    ordered = sorted(words)
    try:
        return tuple(sorted(ordered, key=float))
    except ValueError:
        return tuple(ordered)


def _translate(column: _Words, words: Sequence[str]) -> Array:
    """Number a file's words as all files' together, -1 for none."""
    numbers = {word: number for number, word in enumerate(words)}
    return np.array([numbers[word] for word in column.words] + [-1])[column.codes]


def _fill_rows(
    parts: Sequence[_Part],
    layout: _Layout,
    words: Sequence[Sequence[str]],
    channels: Sequence[str],
    config: TableData,
) -> Array:
    """Put numbers, words and calendar side by side, NaN in missing values and filled rows."""
    rows = np.full((layout.rows, len(channels)), np.nan, dtype=np.float32)
    for part, to in _spread(parts, layout):
        rows[to, : part.values.shape[1]] = part.values
        first = part.values.shape[1]
        for column, known in zip(part.categories, words, strict=True):
            codes = _translate(column, known)
            for number in range(len(known)):
                rows[to, first + number] = codes == number
            first += len(known)
    if config.calendar and layout.stamps is not None:
        first = len(channels) - 2 * len(config.calendar)
        for number, wave in enumerate(calendar_waves(layout.stamps, config.calendar)):
            rows[:, first + number] = wave
    return rows


def _spread(parts: Sequence[_Part], layout: _Layout) -> Iterable[tuple[_Part, Array]]:
    """Give each file's rows the final rows that they go to."""
    edges = np.concatenate([[0], np.cumsum([part.rows for part in parts])])
    for part, (low, high) in zip(parts, pairwise(edges), strict=True):
        yield part, layout.to[low:high]


def _treat_missing(
    rows: Array, layout: _Layout, places: _Places, channels: Sequence[str], config: TableData
) -> tuple[Array | None, str]:
    """Refuse, carry forward or drop missing values, in place.

    Returns:
        Whether each row may be shown, of shape (rows,), or ``None`` for all; and what was done.
    """
    holes = np.isnan(rows)
    # A row that was filled in is told of as such, not as missing values.
    count = int(np.count_nonzero(holes[layout.to]))
    if not holes.any():
        return None, ""
    match config.missing:
        case "refuse":
            raise _refuse_missing(holes, places, channels)
        case "forward":
            for number, name in enumerate(channels):
                if holes[:, number].any():
                    rows[:, number] = _carry(rows[:, number], ~holes[:, number], layout, name)
            return None, f"{show_count(count, 'missing value')} carried forward" if count else ""
    rows[holes] = 0
    usable = np.asarray(~holes.any(axis=1))
    unshown = int(np.count_nonzero(~usable))
    return usable, f"{show_count(unshown, 'row')} without all values never shown"


def _refuse_missing(holes: Array, places: _Places, channels: Sequence[str]) -> DataError:
    counts = holes.sum(axis=0)
    first = int(np.argmax(counts > 0))
    row = int(np.argmax(holes[:, first]))
    others = [name for name, n in zip(channels, counts, strict=True) if n][1:]
    also = f", and some in {_list_some(others)}" if others else ""
    return DataError(
        f"data.channels must have a value in every row, where data.missing='refuse'. Received: "
        f"{show_count(int(counts[first]), 'missing value')} in {channels[first]!r}, the first at "
        f"{places.show(row)}{also}. Write data.missing='forward' to carry the last known "
        f"value forward, or 'drop' to leave such rows' targets out."
    )


def _carry(values: Array, known: Array, layout: _Layout, name: str) -> Array:
    """Take the last known value within a recording, at its start the next one."""
    numbers, size = np.arange(len(values)), len(values)
    lengths = np.diff(layout.starts)
    last = np.maximum.accumulate(np.where(known, numbers, -1))
    following = np.minimum.accumulate(np.where(known, numbers, size)[::-1])[::-1]
    sources = np.where(last >= np.repeat(layout.starts[:-1], lengths), last, following)
    empty = sources >= np.repeat(layout.starts[1:], lengths)
    if empty.any():
        recording = int(np.searchsorted(layout.starts, np.argmax(empty), side="right")) - 1
        raise DataError(
            f"data.missing='forward' must find a value of every channel in each recording. "
            f"Received: none of {name!r} in {layout.names[recording]!r}. Name data.channels "
            f"without it, leave the recording out, or write data.missing='drop'."
        )
    return np.asarray(values[sources])


def _join_truths(
    parts: Sequence[_Part], layout: _Layout, config: TableData, task: TaskConfig
) -> tuple[Array, tuple[str, ...]]:
    """Gather what is right at each row, and the classes' names where these are labels."""
    labels = [part.label for part in parts if part.label is not None]
    if not labels:
        truths = np.full((layout.rows, parts[0].truths.shape[1]), np.nan, dtype=np.float32)
        for part, to in _spread(parts, layout):
            truths[to] = part.truths
        return truths, ()
    classes = labels[0].words
    if task.kind == "classification":
        classes = _list_words(labels, "targets", config.targets[0])
        if len(classes) < 2:  # noqa: PLR2004
            raise DataError(
                f"data.targets must name a column with two labels or more. Received: "
                f"{config.targets[0]!r} with {', '.join(classes) or 'none'}."
            )
    numbers = np.full(layout.rows, -1, dtype=np.int64)
    for label, (_, to) in zip(labels, _spread(parts, layout), strict=True):
        numbers[to] = _translate(label, classes)
    return numbers, classes


def _number_groups(parts: Sequence[_Part], layout: _Layout, places: _Places) -> Array | None:
    """Number the groups of the final recordings in the order in which they appear."""
    labels = _label_groups(parts, places)
    known = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    if len(known) == 1:
        return None
    return np.array([known[labels[origin]] for origin in layout.origins])


def _label_groups(parts: Sequence[_Part], places: _Places) -> list[str]:
    """Name the group of each recording as read; equal names in two files are one group."""
    if parts[0].group is None:
        return list(places.names)
    return [
        part.group.at(row)
        for part in parts
        if part.group is not None
        for row in part.places.starts[:-1]
    ]


def _join_sides(parts: Sequence[_Part], layout: _Layout, config: TableData) -> Array | None:
    """Gather the official sides; a filled row has one where both its neighbours share it."""
    read = [part.sides for part in parts if part.sides is not None]
    if not read:
        return None
    group = config.group or config.unit
    if group is not None:
        _check_groups(parts, group)
    sides, numbers = np.concatenate(read), np.arange(layout.rows)
    before = sides[np.searchsorted(layout.to, numbers, side="right") - 1]
    after = sides[np.searchsorted(layout.to, numbers, side="left")]
    return np.where(before == after, before, -1).astype(np.int8)


def _check_groups(parts: Sequence[_Part], column: str) -> None:
    """Refuse a group, or unit, with rows on two official sides."""
    found: dict[str, set[int]] = {}
    for part in parts:
        if part.group is not None and part.sides is not None:
            pairs = np.unique(np.stack([part.group.codes, part.sides]), axis=1)
            for code, side in pairs.T.tolist():
                found.setdefault(part.group.words[code], set()).add(side)
    for label, sides in found.items():
        if len(sides) > 1:
            names = " and ".join(SIDES[side] for side in sorted(sides))
            raise DataError(
                f"data.sides must keep each group on one side. Received: {column} {label} stands "
                f"on {names}. Correct the column of sides; where equal names in two files are "
                f"different ones, make them differ."
            )


def _describe(
    config: TableData, layout: _Layout, channels: Sequence[str], columns: _Columns, note: str
) -> str:
    counts = (
        f"{show_count(len(layout.names), 'recording')} with {show_count(layout.rows, 'row')}, "
        f"{show_count(len(channels), 'channel')}, from {config.path.name}"
    )
    words = f"no channel of {_list_some(columns.left_out)}" if columns.left_out else ""
    return "; ".join(filter(None, (counts, layout.note, note, words))) + "."


def _list_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + more
