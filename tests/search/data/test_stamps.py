"""Stamps of rows: how they are written, and the order that they must have."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import HOURS, load, read, refusal

from search.errors import ConfigError, DataError


def test_calendar_channels_are_where_the_clock_stands(tmp_path: Path) -> None:
    # A Monday's midnight at the year's start, and its noon: a seventh and half a day further.
    text = "t,a\n2018-01-01 00:00:00,1\n2018-01-01 12:00:00,2\n"
    data = read(tmp_path, text, time="t", calendar=("hour", "weekday", "yearday"))
    assert data.channels[1:3] == ("hour_sin", "hour_cos")
    assert data.channels[5:] == ("yearday_sin", "yearday_cos")
    phases = np.array([[0, 0, 0], [1 / 2, 0.5 / 7, 0.5 / 365]]) * 2 * np.pi
    assert data.rows[:, 1::2] == pytest.approx(np.sin(phases), abs=1e-6)
    assert data.rows[:, 2::2] == pytest.approx(np.cos(phases), abs=1e-6)


def test_columns_of_date_parts_make_a_stamp(tmp_path: Path) -> None:
    text = "year,Month,day,hour,a\n2020,1,31,23,1\n2020,2,1,0,2\n"
    data = read(tmp_path, text, time=("year", "Month", "day", "hour"))
    assert data.channels == ("a",)
    assert data.stamps is not None
    assert [str(stamp)[:13] for stamp in data.stamps] == ["2020-01-31T23", "2020-02-01T00"]


@pytest.mark.parametrize(
    ("time", "words"),
    [(("year", "month", "clock"), "'clock' is none"), (("year", "month"), "no 'day'")],
)
def test_columns_that_make_no_stamp_are_refused(
    tmp_path: Path, time: tuple[str, ...], words: str
) -> None:
    text = "year,month,clock,a\n2020,1,5,1\n"
    if "clock" in time:
        text = text.replace("a\n", "day,a\n", 1).replace(",1\n", ",1,1\n")
        time = (*time, "day")
    refusal(ConfigError, tmp_path, text, "data.time", words, time=time)


def test_a_date_that_is_none_is_refused(tmp_path: Path) -> None:
    text = "year,month,day,a\n2020,1,31,1\n2020,2,31,2\n"
    words = ("year=2020, month=2, day=31", "line 3")
    refusal(DataError, tmp_path, text, *words, time=("year", "month", "day"))


@pytest.mark.parametrize("value", ["soon", "", "2020-13-01", "9999-01-01"])
def test_an_unreadable_stamp_is_refused(tmp_path: Path, value: str) -> None:
    text = f"t,a\n2020-01-01,1\n{value},2\n"
    refusal(DataError, tmp_path, text, "data.time", f"t={value or 'nan'}", "line 3", time="t")


def test_a_column_of_words_is_no_time(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, "t,a\nyes,1\nno,2\n", "t=yes", "line 2", "first of 2", time="t")


@pytest.mark.parametrize(
    ("stamps", "second"),
    [
        (("2020-01-01", "2020-01-01 06:00:00.5"), "2020-01-01T06:00:00.500"),
        (("13/02/2020 00:00", "14/02/2020 00:00"), "2020-02-14T00:00"),
        (("02/13/2020", "02/14/2020"), "2020-02-14"),
        (("2020/1/31 0:00", "2020/1/31 1:00"), "2020-01-31T01:00"),
        (("1/2/2020", "13/2/2020"), "2020-02-13"),
        (("2020-01-01T00:00+02:00", "2020-01-01T00:00+01:00"), "2019-12-31T23:00"),
        (("0.1", "0.2"), "1970-01-01T00:00:00.200"),
        (("1577836800", "1577840400"), "2020-01-01T01:00"),
    ],
)
def test_stamps_are_read_in_many_forms(
    tmp_path: Path, stamps: tuple[str, str], second: str
) -> None:
    data = read(tmp_path, f"t,a\n{stamps[0]},1\n{stamps[1]},2\n", time="t")
    assert data.stamps is not None
    assert data.stamps[1] == np.datetime64(second)


@pytest.mark.parametrize(
    ("stamps", "second"),
    [
        (pd.to_timedelta(["0s", "90s"]), "1970-01-01T00:01:30"),
        (pd.period_range("2020-01-31", periods=2, freq="h"), "2020-01-31T01:00"),
    ],
)
def test_elapsed_times_and_periods_are_stamps(
    tmp_path: Path, stamps: "pd.Index[Any]", second: str
) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"t": stamps, "a": [1.0, 2.0]}).to_parquet(path)
    data = load(path, time="t")
    assert data.stamps is not None
    assert data.stamps[1] == np.datetime64(second)


def test_dates_that_can_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    text = "t,a\n01/02/2020,1\n02/02/2020,2\n"
    refusal(DataError, tmp_path, text, "which number is the month", "'01/02/2020'", time="t")


def test_unsorted_stamps_are_refused(tmp_path: Path) -> None:
    text = HOURS + "2020-01-01 00:30:00,4,4\n"
    words = ("ascend", "2020-01-01 00:30:00 after 2020-01-01 02:00:00", "line 5 of 't.csv'")
    refusal(DataError, tmp_path, text, *words, time="t", gaps="ignore")


def test_repeated_stamps_are_refused_within_a_unit_only(tmp_path: Path) -> None:
    text = "t,u,a\n2020-01-01,x,1\n2020-01-01,y,2\n2020-01-02,x,3\n2020-01-01,y,4\n"
    words = ("not stand twice", "2020-01-01 00:00:00", "line 5", "recording 'y'")
    refusal(DataError, tmp_path, text, *words, time="t", unit="u")
    data = read(tmp_path, text[: text.rindex("2020")], time="t", unit="u")
    assert data.starts.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    "wishes", [{"step": "1h"}, {"gaps": "split"}, {"gaps": "fill"}, {"calendar": ("hour",)}]
)
def test_what_needs_stamps_is_refused_without(tmp_path: Path, wishes: dict[str, Any]) -> None:
    refusal(ConfigError, tmp_path, HOURS, "data.time", *wishes, **wishes)
