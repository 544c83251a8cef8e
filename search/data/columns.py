"""The columns of tables are given their parts: time, unit, channels, targets."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from search.config import Kind, TableData
from search.data.cells import DECIMAL_COMMA, to_numbers
from search.data.files import File
from search.data.stamps import read_step
from search.errors import ConfigError, DataError, nearest

SEPARATORS = (",", ";", "\t", "|", " ")
"""What a message may propose for ``data.separator``."""
NAMED = 5
"""Columns that a message names."""


@dataclass(frozen=True, kw_only=True)
class Columns:
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


def check_settings(config: TableData, kind: Kind | None) -> None:
    """Refuse settings that contradict each other or the task, before a file is opened.

    Args:
        config: The part that each column has.
        kind: What is predicted; ``None`` where nothing is.

    Raises:
        ConfigError: If they do.
    """
    if kind == "frames":
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
    read_step(config.step)
    if kind is not None:
        _check_targets(config, kind)


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


def _check_targets(config: TableData, kind: Kind) -> None:
    count = len(config.targets)
    if kind in ("classification", "anomaly") and count != 1:
        what = "label" if kind == "classification" else "flag"
        raise ConfigError(
            f"data.targets must name the one column of the {what} for task.kind={kind!r}. "
            f"Received: targets={config.targets}."
        )
    if kind == "regression" and not count:
        raise ConfigError(
            "data.targets must name the columns of the values for task.kind='regression'. "
            "Received: targets=()."
        )
    taken = (*config.time, config.unit, config.group, config.sides)
    named = [name for name in config.targets if name in taken]
    if named:
        raise ConfigError(
            f"data.targets must not name a column of data.time, data.unit, data.group or "
            f"data.sides: these say which row is which. Received: {named[0]!r} in both."
        )
    shown = [name for name in config.targets if name in config.channels + config.categories]
    if kind != "forecasting" and shown:
        forecasting = " or write task.kind='forecasting'" if kind == "regression" else ""
        raise ConfigError(
            f"data.channels and data.categories must not name a target: the model would be shown "
            f"what it is to tell. Received: {shown[0]!r} in both. Leave it out{forecasting}."
        )


def choose_columns(
    frame: pd.DataFrame, file: File, config: TableData, kind: Kind | None
) -> Columns:
    """Give every column its part, by the first file.

    Args:
        frame: The rows of the first file.
        file: That file.
        config: The columns that the study names.
        kind: What is predicted; ``None`` where nothing is.

    Returns:
        The columns of numbers that the model sees and those to predict.

    Raises:
        ConfigError: If a column that the study names does not exist, or there is none to predict.
        DataError: If there is no column that the model could see.
    """
    _check_named(frame, file, config)
    numbers, left_out = config.channels, list[str]()
    if not numbers and kind is not None:
        taken = {name for _, name in _list_named(config)}
        if kind == "forecasting":
            taken -= set(config.targets)
        # A column without a name is what pandas writes as its row counter.
        free = [n for n in frame.columns if n not in taken and not re.match(r"Unnamed: \d+$", n)]
        numbers = tuple(name for name in free if _holds_numbers(frame[name]))
        left_out = [name for name in free if name not in numbers]
    shown = numbers or config.categories or config.calendar
    if kind is not None and not shown:
        _check_separator(frame, file, config)
        raise DataError(
            f"data.channels must name columns of numbers: {file.name!r} has none that is free. "
            f"Received: columns {list_some([*frame.columns])}."
        )
    values: tuple[str, ...] = ()
    if kind in ("regression", "forecasting"):
        values = config.targets or numbers
    if kind == "forecasting" and not values:
        raise ConfigError(
            "data.targets must name columns of numbers to predict. Received: targets=() and no "
            "channel of numbers."
        )
    return Columns(file=file.name, numbers=numbers, values=values, left_out=tuple(left_out))


def _holds_numbers(series: "pd.Series[float]") -> bool:
    """Say whether a column holds numbers, or mostly: then its texts are mistakes to tell of."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        return True
    if series.dtype.kind in "mM":
        return False
    known = series.dropna()
    commas = known.astype(str).str.fullmatch(DECIMAL_COMMA)
    return bool((to_numbers(known).notna() | commas).sum() * 2 > len(known))


def check_present(frame: pd.DataFrame, file: File, columns: Columns, config: TableData) -> None:
    """Refuse a file that lacks a column of the first one.

    Args:
        frame: The rows of the file.
        file: The file.
        columns: The columns that were chosen by the first file.
        config: The columns that the study names.

    Raises:
        DataError: If a column is missing.
    """
    needed = [name for _, name in _list_named(config)] + [*columns.numbers, *columns.values]
    lacking = [name for name in dict.fromkeys(needed) if name not in frame.columns]
    if lacking:
        _check_separator(frame, file, config)
        raise DataError(
            f"data.path must hold tables with the same columns. Received: {file.name!r} without "
            f"{list_some(lacking)}, which {columns.file!r} has. Leave it out by data.pattern, "
            f"or name data.channels that all have."
        )


def _check_named(frame: pd.DataFrame, file: File, config: TableData) -> None:
    for field, name in _list_named(config):
        if name not in frame.columns:
            _check_separator(frame, file, config)
            raise ConfigError(
                f"data.{field} must name columns of the table. Received: {name!r}, which "
                f"{file.name!r} has not. {nearest(name, frame.columns)}"
            )


def name_words(config: TableData, kind: Kind | None) -> set[str]:
    """Name the columns that hold words.

    Args:
        config: The columns that the study names.
        kind: What is predicted; ``None`` where nothing is.

    Returns:
        Those of units, groups, sides and categories, and of a label or flag.
    """
    named = {config.unit, config.group, config.sides, *config.categories}
    if kind in ("classification", "anomaly"):
        named |= set(config.targets)
    return {name for name in named if name is not None}


def _list_named(config: TableData) -> list[tuple[str, str]]:
    """List the columns that the study names, each with the setting that names it."""
    single = [(name, getattr(config, name)) for name in ("unit", "group", "sides")]
    several = [
        (field, name)
        for field in ("time", "channels", "categories", "targets")
        for name in getattr(config, field)
    ]
    return [(field, name) for field, name in single if name is not None] + several


def _check_separator(frame: pd.DataFrame, file: File, config: TableData) -> None:
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


def list_some(names: Sequence[str]) -> str:
    """Write the first names, as "'a', 'b' and 3 more"."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + more
