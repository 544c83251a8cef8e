"""Columns of time stamps become the time of each row, and channels of the calendar."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from search.data.sequences import Array
from search.errors import ConfigError, DataError, nearest

Place: TypeAlias = Callable[[int], str]
"""Says where a row stands in its file, for a message."""
DATE_PARTS = ("year", "month", "day")
TIME_PARTS = ("hour", "minute", "second", "ms", "us", "ns")
"""What several columns may be named that make a stamp together, as ``pandas.to_datetime`` has it."""
DAY = 86_400_000_000_000
"""Nanoseconds in a day."""


def read_stamps(frame: pd.DataFrame, names: Sequence[str], place: Place) -> Array:
    """Read the time of each row.

    Numbers in a single column are seconds; stamps with a time zone become UTC.

    Args:
        frame: The rows of one file.
        names: One column of stamps, or columns named year, month, day, hour, ...
        place: Says where a row stands.

    Returns:
        Stamps of shape (rows,), datetime64[ns].

    Raises:
        ConfigError: If several columns are not named by what they hold.
        DataError: If a stamp is missing, no date, or could be two dates.
    """
    stamps = _join_parts(frame, names) if len(names) > 1 else _parse(frame[names[0]], place)
    lowest, highest = pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC")
    wrong = np.asarray(~((stamps >= lowest) & (stamps <= highest)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"data.time must name a date and time in every row. Received: "
            f"{_show_values(frame, names, row)} at {place(row)}, the first of "
            f"{np.count_nonzero(wrong):,}. Write stamps as 2013-01-31 18:00:00, or numbers of "
            f"seconds."
        )
    return stamps.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")


def check_order(stamps: Array, starts: Array, place: Place) -> None:
    """Refuse recordings whose rows do not go forward in time.

    Args:
        stamps: The time of each row, of shape (rows,).
        starts: The row that each recording begins at, and the number of rows, of shape
            (recordings + 1,).
        place: Says where a row stands.

    Raises:
        DataError: If a stamp stands twice in a recording, or follows a later one.
    """
    back = np.zeros(len(stamps), dtype=bool)
    back[1:] = stamps[1:] <= stamps[:-1]
    back[starts[:-1]] = False
    if not back.any():
        return
    row = int(np.argmax(back))
    same = stamps[row] == stamps[row - 1]
    rule = "not stand twice" if same else "ascend"
    raise DataError(
        f"data.time must {rule} within a recording. Received: {show_stamp(stamps[row])} after "
        f"{show_stamp(stamps[row - 1])} at {place(row)}, the first of {np.count_nonzero(back):,}. "
        f"Sort the rows, leave repeated ones out (where clocks show an hour twice, write stamps "
        f"with their offset), or name data.unit where the file holds several recordings."
    )


def read_step(step: str | None) -> int | None:
    """Read the time from one row to the next that a study asks for.

    Args:
        step: A time, as '1h', or ``None``.

    Returns:
        Nanoseconds, or ``None``.

    Raises:
        ConfigError: If ``step`` is no time, or not above zero.
    """
    if step is None:
        return None
    try:
        wanted = int(pd.Timedelta(step).as_unit("ns").value)
    except ValueError:
        wanted = 0
    if wanted <= 0:  # what is no time at all reads as a negative number, too
        raise ConfigError(
            f"data.step must be a time above zero. Received: step={step!r}. Write '1h' or '10s'."
        )
    return wanted


def name_calendar(parts: Sequence[str]) -> tuple[str, ...]:
    """Name the two channels of each part of the calendar."""
    return tuple(f"{part}_{wave}" for part in parts for wave in ("sin", "cos"))


def calendar_waves(stamps: Array, parts: Sequence[str]) -> Iterator[Array]:
    """Turn stamps into what a clock and a calendar show.

    Args:
        stamps: The time of each row, of shape (rows,).
        parts: 'hour' for the time of day, 'weekday' for the time of the week, from Monday,
            'yearday' for the time of the year.

    Yields:
        For each part a sine and a cosine, each of shape (rows,), in the order of
        ``name_calendar``.
    """
    days = stamps.astype("datetime64[D]")
    clock = (stamps - days).astype(np.int64) / DAY
    years = stamps.astype("datetime64[Y]")
    first = years.astype("datetime64[D]")
    lengths = ((years + 1).astype("datetime64[D]") - first).astype(np.int64)
    for part in parts:
        match part:
            case "hour":
                phase = clock
            case "weekday":
                # Day 0, 1 January 1970, was a Thursday: the fourth day of a week.
                phase = ((days.astype(np.int64) + 3) % 7 + clock) / 7
            case _:
                phase = ((days - first).astype(np.int64) + clock) / lengths
        yield np.sin(2 * np.pi * phase)
        yield np.cos(2 * np.pi * phase)


def show_count(number: int, name: str) -> str:
    """Write a number of things, as '1 gap' or '2,067 gaps'."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def show_time(nanoseconds: int) -> str:
    """Write a span of time, as '0 days 01:00:00'."""
    return str(pd.Timedelta(nanoseconds, unit="ns"))


def show_stamp(stamp: np.datetime64) -> str:
    """Write a stamp, as '2013-01-31 18:00:00'."""
    return str(pd.Timestamp(stamp))


def _join_parts(frame: pd.DataFrame, names: Sequence[str]) -> "pd.Series[pd.Timestamp]":
    parts = {name.lower(): frame[name] for name in names}
    unknown = [name for name in names if name.lower() not in DATE_PARTS + TIME_PARTS]
    lacking = [part for part in DATE_PARTS if part not in parts]
    if unknown or lacking:
        why = f"there is no {lacking[0]!r}" if lacking else f"{unknown[0]!r} is none of these"
        raise ConfigError(
            f"data.time must name one column of stamps, or columns that are named year, month, "
            f"day and, where there is more, {', '.join(TIME_PARTS)}: {why}. Received: "
            f"time={list(names)}. {nearest((unknown or lacking)[0], DATE_PARTS + TIME_PARTS)}"
        )
    return pd.to_datetime(pd.DataFrame(parts), errors="coerce", utc=True)


def _parse(series: "pd.Series[Any]", place: Place) -> "pd.Series[pd.Timestamp]":
    if series.dtype.kind == "M":
        return pd.to_datetime(series, utc=True)
    if series.dtype.kind == "m":  # time since the beginning
        series = series.dt.total_seconds()
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.astype(str)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return pd.to_datetime(series, unit="s", errors="coerce", utc=True)
    stamps = _parse_texts(series, "ISO8601")
    known = series.dropna()
    if stamps.notna().sum() == len(known):
        return stamps
    monthly, daily = (_guess(series, known, day_first=first) for first in (False, True))
    whole = len(known)
    if monthly.notna().sum() == daily.notna().sum() == whole and not monthly.equals(daily):
        row = int(np.argmax(np.asarray(monthly != daily)))
        raise DataError(
            f"data.time must say which number is the month. Received: {series.iloc[row]!r} at "
            f"{place(row)}, where every stamp of the file can be read in two ways. Write stamps "
            f"as 2013-01-31 18:00:00."
        )
    return max(stamps, monthly, daily, key=lambda read: int(read.notna().sum()))


def _guess(
    series: "pd.Series[str]", known: "pd.Series[str]", *, day_first: bool
) -> "pd.Series[pd.Timestamp]":
    """Parse texts in the format that the first one has, never each in its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas says what it guesses
        form = guess_datetime_format(str(known.iloc[0]), dayfirst=day_first) or "ISO8601"
    # After a year nobody writes the day before the month.
    return _parse_texts(series, "ISO8601" if day_first and not form.startswith("%d") else form)


def _parse_texts(series: "pd.Series[str]", form: str) -> "pd.Series[pd.Timestamp]":
    return pd.to_datetime(series, format=form, errors="coerce", utc=True)


def _show_values(frame: pd.DataFrame, names: Sequence[str], row: int) -> str:
    return ", ".join(f"{name}={frame[name].iloc[row]!s}" for name in names)
