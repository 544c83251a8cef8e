import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config import TableData, TaskConfig
from search.data.recordings import Recordings
from search.data.sequences import SIDES
from search.data.table import load_table
from search.errors import ConfigError, DataError

SHARED = Path(__file__).parents[3].parent / "shared/data"
HOURS = "t,a,b\n2020-01-01 00:00:00,1,5\n2020-01-01 01:00:00,2,6\n2020-01-01 02:00:00,3,7\n"
GAP = "t,a\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 04:00,5\n2020-01-01 05:00,6\n"


def silent(what: str, done: int, total: int) -> None:
    pass


def load(path: Path, kind: str = "forecasting", **settings: Any) -> Recordings:
    task = TaskConfig.model_validate({"kind": kind})
    return load_table(TableData(path=path, **settings), task, silent)


def read(folder: Path, text: str, kind: str = "forecasting", **settings: Any) -> Recordings:
    """Load one CSV file with the given text."""
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return load(path, kind, **settings)


def write_folder(folder: Path, **files: str) -> Path:
    """Write CSV files; two underscores in a name stand for a folder's slash."""
    for name, text in files.items():
        path = folder / "data" / f"{name.replace('__', '/')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "data"


def refusal(error: type[Exception], folder: Path, text: str, *words: Any, **settings: Any) -> str:
    """Return the message with which a table is refused, which names all the words."""
    with pytest.raises(error) as caught:
        read(folder, text, **settings)
    message = str(caught.value)
    assert [word for word in words if str(word) not in message] == [], message
    return message


# Rows and channels.


def test_reads_numbers_as_float32_rows_and_times_as_stamps(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, time="t")
    assert data.channels == ("a", "b")
    assert data.rows.dtype == np.float32
    assert data.rows.flags.c_contiguous
    assert data.rows.tolist() == [[1, 5], [2, 6], [3, 7]]
    assert data.stamps is not None
    assert data.stamps.dtype == np.dtype("datetime64[ns]")
    assert str(data.stamps[1]).startswith("2020-01-01T01:00:00")
    assert data.starts.tolist() == [0, 3]
    assert data.names == ("t.csv",)
    assert data.groups is data.sides is data.usable is None
    assert data.description == "1 recording with 3 rows, 2 channels, from t.csv."


def test_takes_settings_over(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, time="t", stride=4, short="drop", scaling="recording")
    assert (data.stride, data.drops_short, data.scaled_apart) == (4, True, True)
    data = read(tmp_path, HOURS, time="t")
    assert (data.stride, data.drops_short, data.scaled_apart) == (1, False, False)
    assert not data.clips


def test_default_channels_are_number_columns_without_another_part(tmp_path: Path) -> None:
    text = (
        ",t,unit,who,side,on,n,word,y\n"
        "0,2020-01-01,1,7,train,True,1,x,1\n"
        "1,2020-01-02,1,7,train,False,2,y,2\n"
    )
    roles = {"time": "t", "unit": "unit", "group": "who", "sides": "side", "targets": "y"}
    data = read(tmp_path, text, "regression", **roles)
    assert data.channels == ("on", "n")
    assert data.rows.tolist() == [[1, 1], [0, 2]]
    assert "no channel of 'word'" in data.description


def test_named_channels_keep_the_order_they_are_named_in(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, time="t", channels=("b", "a"), targets="a")
    assert data.rows[0].tolist() == [5, 1]
    assert data.target_channels == (1,)


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    frame = pd.read_csv(io.StringIO(HOURS), parse_dates=["t"])
    frame["word"] = pd.Series(["x", None, "y"], dtype="category")
    frame["flag"] = pd.array([True, None, False], dtype="boolean")
    frame.set_index("t").to_parquet(tmp_path / "t.parquet")
    roles = {"time": "t", "categories": "word", "channels": ("a", "b", "flag")}
    data = load(tmp_path / "t.parquet", missing="drop", **roles)
    assert data.channels == ("a", "b", "flag", "word=x", "word=y")
    assert data.rows.tolist() == [[1, 5, 1, 1, 0], [2, 6, 0, 0, 0], [3, 7, 0, 0, 1]]
    assert data.usable is not None
    assert data.usable.tolist() == [True, False, True]
    plain = read(tmp_path, HOURS, time="t")
    assert plain.stamps is not None
    assert data.stamps is not None
    assert (data.stamps == plain.stamps).all()


def test_parquet_places_are_row_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1.0, np.inf]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"a=inf at row 2 of 't.parquet' \(counted from 1\)"):
        load(tmp_path / "t.parquet")


def test_an_index_that_pandas_made_is_no_channel(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4]})
    frame[frame.a > 2].to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").channels == ("a",)


def test_empty_lines_at_the_end_are_no_rows(tmp_path: Path) -> None:
    assert len(read(tmp_path, "a,b\n1,2\n3,4\n\n,\n").rows) == 2


def test_words_become_sorted_channels_over_all_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="n,w,g\n1,z,10\n2,,9\n", b="n,w,g\n3,x,\n4,z,9\n")
    data = load(folder, categories=("w", "g"), channels="n")
    assert data.channels == ("n", "w=x", "w=z", "g=9", "g=10")
    assert data.rows[:, 1:].tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0]]


def test_calendar_channels_are_where_the_clock_stands(tmp_path: Path) -> None:
    # A Monday's midnight at the year's start, and its noon: a seventh and half a day further.
    text = "t,a\n2018-01-01 00:00:00,1\n2018-01-01 12:00:00,2\n"
    data = read(tmp_path, text, time="t", calendar=("hour", "weekday", "yearday"))
    assert data.channels[1:3] == ("hour_sin", "hour_cos")
    assert data.channels[5:] == ("yearday_sin", "yearday_cos")
    phases = np.array([[0, 0, 0], [1 / 2, 0.5 / 7, 0.5 / 365]]) * 2 * np.pi
    assert data.rows[:, 1::2] == pytest.approx(np.sin(phases), abs=1e-6)
    assert data.rows[:, 2::2] == pytest.approx(np.cos(phases), abs=1e-6)


def test_empty_lines_inside_keep_the_count_of_lines(tmp_path: Path) -> None:
    text = "t,a\n2020-01-01,1\n\n2020-01-02,2\n"
    refusal(DataError, tmp_path, text, "data.time", "line 3", time="t")


def test_a_long_column_has_one_type(tmp_path: Path) -> None:
    # Past what pandas reads at once, where it would warn of mixed types.
    header, line = "a,b,c,d,e,f,g,h\n", "1,,,,,,,\n"
    text = header + line * 200_000 + line.replace("1", "x")
    refusal(DataError, tmp_path, text, "a='x'", "line 200002", channels="a")


# Files and units.


def test_files_of_a_folder_are_recordings_in_natural_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, v__10="a\n3\n", v__2="a\n1\n2\n", u__1="a\n0\n")
    (folder / "SOURCE.txt").write_text("no table")
    (folder / ".hidden.csv").write_text("b\n1\n")
    heard: list[tuple[str, int, int]] = []
    data = load_table(
        TableData(path=folder), TaskConfig(kind="forecasting"), lambda *news: heard.append(news)
    )
    assert data.names == ("u/1.csv", "v/2.csv", "v/10.csv")
    assert data.rows[:, 0].tolist() == [0, 1, 2, 3]
    assert data.starts.tolist() == [0, 1, 3, 4]
    assert data.groups is not None
    assert data.groups.tolist() == [0, 1, 2]
    assert heard == [("Reading tables", done, 3) for done in (1, 2, 3)]
    assert load(folder, pattern="v/*").names == ("v/2.csv", "v/10.csv")


def test_interleaved_units_are_gathered_in_file_order(tmp_path: Path) -> None:
    data = read(tmp_path, "u,a\n7,1\n3,10\n7,2\n3,20\n7,3\n", unit="u")
    assert data.names == ("7", "3")
    assert data.starts.tolist() == [0, 3, 5]
    assert data.rows[:, 0].tolist() == [1, 2, 3, 10, 20]
    assert data.groups is not None
    assert data.groups.tolist() == [0, 1]


def test_a_message_names_the_line_of_a_gathered_row(tmp_path: Path) -> None:
    text = "u,a\n7,1\n3,10\n7,2\n3,x\n7,3\n"
    refusal(DataError, tmp_path, text, "a='x'", "line 5", "recording '3'", unit="u", channels="a")


@settings(max_examples=30, deadline=None)
@given(units=st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_gathering_keeps_every_row_in_the_order_of_its_unit(
    tmp_path_factory: pytest.TempPathFactory, units: list[int]
) -> None:
    lines = "".join(f"{unit},{row}\n" for row, unit in enumerate(units))
    data = read(tmp_path_factory.mktemp("units"), f"u,a\n{lines}", unit="u")
    for name, low, high in zip(data.names, data.starts[:-1], data.starts[1:], strict=True):
        rows = [row for row, unit in enumerate(units) if str(unit) == name]
        assert data.rows[low:high, 0].tolist() == rows


def test_units_of_a_folder_carry_their_file_and_equal_names_share_a_group(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="u,a\n1,0\n2,0\n", b="u,a\n2,0\n3,0\n")
    data = load(folder, unit="u")
    assert data.names == ("a.csv:1", "a.csv:2", "b.csv:2", "b.csv:3")
    assert data.groups is not None
    assert data.groups.tolist() == [0, 1, 1, 2]


def test_the_group_column_decides_before_the_unit(tmp_path: Path) -> None:
    text = "u,g,a\n1,x,0\n2,y,0\n3,x,0\n"
    data = read(tmp_path, text, unit="u", group="g")
    assert data.groups is not None
    assert data.groups.tolist() == [0, 1, 0]


def test_a_group_that_changes_within_a_recording_is_refused(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, "g,a\nx,1\nx,2\ny,3\n", "g=y", "after x", "line 4", group="g")


@pytest.mark.parametrize("field", ["unit", "group"])
def test_a_row_without_unit_or_group_is_refused(tmp_path: Path, field: str) -> None:
    refusal(DataError, tmp_path, "g,a\nx,1\n,2\n", f"data.{field}", "line 3", **{field: "g"})


# Files that are no tables.


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path .*nothing stands there.*none\.csv"):
        load(tmp_path / "none.csv")
    (tmp_path / "t.txt").write_text("a\n1\n")
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet file.*t\.txt"):
        load(tmp_path / "t.txt")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none in .* for pattern='\*\.csv'"):
        load(tmp_path, pattern="*.csv")


@pytest.mark.parametrize("pattern", ["", "/etc/*.csv", "../*/*.csv"])
def test_a_pattern_outside_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    folder = write_folder(tmp_path, a="a\n1\n")
    with pytest.raises(ConfigError, match=r"data\.pattern"):
        load(folder, pattern=pattern)


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\n,\n"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    refusal(DataError, tmp_path, text, "t.csv")


def test_a_file_that_is_no_csv_is_refused(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, "a,b\n1,2\n3,4,5\n", "t.csv", "line 3", "data.separator")
    (tmp_path / "x.csv").write_bytes(b"a,b\n\xff\xfe,2\n")
    with pytest.raises(DataError, match=r"utf-8.*x\.csv"):
        load(tmp_path / "x.csv")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"must hold Parquet files.*x\.parquet"):
        load(tmp_path / "x.parquet")


def test_rows_with_a_field_too_many_never_shift_columns(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, "a,b\n0,2,3\n1,5,6\n", "more fields than its header", "t.csv")


@pytest.mark.parametrize("roles", [{"time": "t"}, {}])
def test_a_wrong_separator_is_told(tmp_path: Path, roles: dict[str, str]) -> None:
    text = HOURS.replace(",", ";")
    refusal(DataError, tmp_path, text, "only one column", "data.separator=';'", **roles)
    assert read(tmp_path, text, time="t", separator=";").channels == ("a", "b")


@pytest.mark.parametrize("separator", ["", ",,"])
def test_a_separator_is_one_character(tmp_path: Path, separator: str) -> None:
    refusal(ConfigError, tmp_path, HOURS, f"separator={separator!r}", separator=separator)


def test_blanks_separate_columns_where_asked_for(tmp_path: Path) -> None:
    assert read(tmp_path, "a  b\n1   2\n", separator=r"\s+").rows.tolist() == [[1, 2]]


def test_a_file_of_a_folder_without_a_needed_column_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="a,b\n1,2\n", b="a,c\n1,2\n")
    with pytest.raises(DataError, match=r"'b\.csv' without 'b', which 'a\.csv' has"):
        load(folder)
    assert load(folder, channels="a").channels == ("a",)


# Columns.


@pytest.mark.parametrize(
    "field", ["time", "unit", "group", "sides", "channels", "categories", "targets"]
)
def test_a_column_that_does_not_exist_is_refused(tmp_path: Path, field: str) -> None:
    text = "press,temp\n1,2\n"
    words = (f"data.{field}", "'pres'", "Did you mean 'press'?")
    refusal(ConfigError, tmp_path, text, *words, **{field: "pres"})


def test_text_in_a_channel_is_refused(tmp_path: Path) -> None:
    text = "a,b\n1,2\n2,NA\n3,oops\n4,bad\n"
    words = ("data.channels", "b='oops'", "line 4 of 't.csv' (the header is line 1)", "first of 2")
    refusal(DataError, tmp_path, text, *words, channels=("a", "b"))


def test_a_column_of_numbers_with_a_slip_is_no_column_of_words(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, "a,b\n1,2\n2,3\n3,oops\n", "b='oops'", "line 4")


def test_a_decimal_comma_is_told(tmp_path: Path) -> None:
    text = "a;b\n1,5;2\n"
    message = refusal(DataError, tmp_path, text, "a='1,5'", separator=";", channels=("a", "b"))
    assert "decimals with a point" in message


@pytest.mark.parametrize("value", ["inf", "-inf", "1e39"])
def test_infinite_values_are_refused(tmp_path: Path, value: str) -> None:
    refusal(DataError, tmp_path, f"a\n1\n{value}\n", "a=", "line 3", "finite")


def test_stamps_are_no_channel(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1.0], "t": pd.to_datetime(["2020-01-01"])}).to_parquet(
        tmp_path / "t.parquet"
    )
    assert load(tmp_path / "t.parquet").channels == ("a",)
    with pytest.raises(DataError, match="'t' of type datetime64"):
        load(tmp_path / "t.parquet", channels=("a", "t"))


def test_a_table_without_numbers_is_refused(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, "a,b\nx,y\n", "data.channels", "'a', 'b'")
    refusal(ConfigError, tmp_path, "a,b\nx,y\n", "data.targets", categories="a")


@pytest.mark.parametrize("field", ["channels", "targets", "time"])
def test_a_column_named_twice_is_refused(tmp_path: Path, field: str) -> None:
    refusal(ConfigError, tmp_path, HOURS, f"data.{field}", "'a' twice", **{field: ("a", "a")})


def test_a_column_of_countless_words_is_refused(tmp_path: Path) -> None:
    lines = "".join(f"1,w{number}\n" for number in range(1001))
    refusal(DataError, tmp_path, f"a,w\n{lines}", "'w' with 1,001", categories="w")


# Time.


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


# Gaps.


@pytest.mark.parametrize("step", ["soon", "0s", "-1h", "", "NaT"])
def test_a_step_is_a_time_above_zero(tmp_path: Path, step: str) -> None:
    refusal(ConfigError, tmp_path, HOURS, f"step={step!r}", "'1h'", time="t", step=step)


def test_gaps_are_refused_by_default(tmp_path: Path) -> None:
    text = GAP + "2020-01-01 07:00,8\n"
    words = ("2 gaps", "largest of 0 days 03:00:00", "line 4", "'split'", "'fill'", "'ignore'")
    message = refusal(DataError, tmp_path, text, *words, time="t")
    assert "from 2020-01-01 01:00:00 to 2020-01-01 04:00:00" in message


def test_the_step_can_be_given(tmp_path: Path) -> None:
    refusal(DataError, tmp_path, HOURS, "2 gaps", "0 days 00:30:00", time="t", step="30min")


def test_small_jitter_is_no_gap(tmp_path: Path) -> None:
    text = "t,a\n0.0,1\n1.0,2\n2.005,3\n3.0,4\n4.0,5\n"
    assert len(read(tmp_path, text, time="t").rows) == 5


def test_the_step_of_all_files_is_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="t,a\n0,1\n1,1\n2,1\n", b="t,a\n0,1\n2,1\n")
    with pytest.raises(DataError, match=r"1 gap, .*line 3 of 'b\.csv'"):
        load(folder, time="t")


def test_split_begins_a_recording_of_the_same_group(tmp_path: Path) -> None:
    lines = GAP.replace("t,a", "u,t,a").replace("\n2", "\nx,2") + "y,2020-01-01 00:00,0\n"
    data = read(tmp_path, lines, time="t", unit="u", gaps="split")
    assert data.names == ("x", "x#2", "y")
    assert data.starts.tolist() == [0, 2, 4, 5]
    assert data.groups is not None
    assert data.groups.tolist() == [0, 0, 1]
    assert "1 gap split recordings" in data.description


def test_ignore_takes_rows_as_they_come(tmp_path: Path) -> None:
    data = read(tmp_path, GAP, time="t", gaps="ignore")
    assert data.starts.tolist() == [0, 4]
    assert "1 gap ignored" in data.description


def test_fill_inserts_rows_that_have_no_truth(tmp_path: Path) -> None:
    text = GAP.replace("t,a", "t,a,w").replace("\n2", ",x\n2").replace("w,x", "w")
    text = text.replace("6\n", "6,x\n")
    roles: dict[str, Any] = {"time": "t", "categories": "w", "calendar": ("hour",), "gaps": "fill"}
    data = read(tmp_path, text, missing="forward", **roles)
    assert data.starts.tolist() == [0, 6]
    assert data.rows[:, 0].tolist() == [1, 2, 2, 2, 5, 6]
    assert data.rows[:, 1].tolist() == [1] * 6
    assert data.rows[3, 2] == pytest.approx(np.sin(2 * np.pi * 3 / 24))
    assert np.isnan(data.truths[:, 0]).tolist() == [False, False, True, True, False, False]
    assert data.stamps is not None
    assert (np.diff(data.stamps) == np.timedelta64(1, "h")).all()
    assert "2 missing rows filled in" in data.description
    assert "carried" not in data.description
    data = read(tmp_path, text, missing="drop", **roles)
    assert data.usable is not None
    assert data.usable.tolist() == [True, True, False, False, True, True]
    assert data.rows[2, :2].tolist() == [0, 0]


@settings(max_examples=30, deadline=None)
@given(kept=st.sets(st.integers(0, 40), min_size=22).map(sorted))
def test_filling_restores_even_spacing(
    tmp_path_factory: pytest.TempPathFactory, kept: list[int]
) -> None:
    lines = "".join(f"{second},{second}\n" for second in kept)
    data = read(
        tmp_path_factory.mktemp("fill"),
        f"t,a\n{lines}",
        time="t",
        step="1s",
        gaps="fill",
        missing="forward",
    )
    whole = np.arange(kept[0], kept[-1] + 1)
    assert len(data.rows) == len(whole)
    known = ~np.isnan(data.truths[:, 0])
    assert whole[known].tolist() == kept
    assert (data.rows[known, 0] == whole[known]).all()
    assert (data.rows[:, 0] <= whole).all()


def test_fill_gives_labels_and_sides_only_where_they_are_known(tmp_path: Path) -> None:
    text = "t,a,y,s\n0,1,no,train\n1,2,yes,train\n3,3,no,train\n4,4,no,test\n6,4,no,validation\n"
    roles = {"time": "t", "targets": "y", "sides": "s", "gaps": "fill", "missing": "forward"}
    data = read(tmp_path, text, "classification", **roles)
    assert data.truths.tolist() == [0, 1, -1, 0, 0, -1, 0]
    assert data.sides is not None
    assert data.sides.tolist() == [0, 0, 0, 0, 2, -1, 1]


def test_what_cannot_be_filled_is_refused(tmp_path: Path) -> None:
    fill = {"time": "t", "gaps": "fill", "missing": "forward"}
    uneven = GAP.replace("04:00", "03:30").replace("05:00", "04:30")
    words = ("whole steps", "2020-01-01 03:30:00", "line 4")
    refusal(DataError, tmp_path, uneven, *words, **fill)
    close = "t,a\n0,1\n1,2\n1.005,3\n2,4\n3,5\n"
    refusal(DataError, tmp_path, close, "whole steps", "line 4", **{**fill, "step": "1s"})
    refusal(ConfigError, tmp_path, GAP, "data.missing", "1 gap.", **{**fill, "missing": "refuse"})
    far = GAP + "2030-01-01 00:00,9\n"
    refusal(DataError, tmp_path, far, "make up most", "beside 5", **fill)


# Missing values.

HOLES = "u,a,b\nx,,1\nx,2,2\nx,NA,3\nx,4,4\ny,,5\ny,6,6\n"


def test_missing_values_are_refused_by_default(tmp_path: Path) -> None:
    words = ("3 missing values in 'a'", "line 2", "'forward'", "'drop'")
    refusal(DataError, tmp_path, HOLES, *words, unit="u")


def test_forward_stays_within_a_recording(tmp_path: Path) -> None:
    data = read(tmp_path, HOLES, unit="u", missing="forward")
    assert data.rows[:, 0].tolist() == [2, 2, 2, 4, 6, 6]
    assert np.isnan(data.truths[:, 0]).tolist() == [True, False, True, False, True, False]
    assert data.usable is None
    assert "3 missing values carried forward" in data.description


def test_forward_refuses_a_recording_that_has_nothing_to_carry(tmp_path: Path) -> None:
    text = HOLES.replace("y,6,6", "y,,6")
    words = ("none of 'a' in 'y'", "data.missing")
    refusal(DataError, tmp_path, text, *words, unit="u", missing="forward")


def test_drop_marks_rows_and_leaves_them_finite(tmp_path: Path) -> None:
    data = read(tmp_path, HOLES, unit="u", missing="drop")
    assert data.usable is not None
    assert data.usable.tolist() == [False, True, False, True, False, True]
    assert np.isfinite(data.rows).all()
    assert "3 rows without all values never shown" in data.description


def test_a_missing_target_that_is_no_channel_is_allowed(tmp_path: Path) -> None:
    data = read(tmp_path, "a,y\n1,\n2,5\n", "regression", targets="y")
    assert data.rows.tolist() == [[1], [2]]
    assert data.truths.dtype == np.float32
    assert np.isnan(data.truths[0, 0])
    assert data.usable is None


# Truths.


@pytest.mark.parametrize(
    ("labels", "classes", "truths"),
    [
        (("walk", "sit", "walk"), ("sit", "walk"), [1, 0, 1]),
        (("10", "9", ""), ("9", "10"), [1, 0, -1]),
        (("1.0", "0.5", "1"), ("0.5", "1"), [1, 0, 1]),
        (("True", "False", ""), ("False", "True"), [1, 0, -1]),
    ],
)
def test_labels_are_numbered_by_their_sorted_names(
    tmp_path: Path, labels: tuple[str, ...], classes: tuple[str, ...], truths: list[int]
) -> None:
    text = "a,y\n" + "".join(f"1,{label}\n" for label in labels)
    data = read(tmp_path, text, "classification", targets="y")
    assert data.classes == classes
    assert data.truths.dtype == np.int64
    assert data.truths.tolist() == truths
    assert data.channels == ("a",)
    assert data.variables == data.target_channels == ()


def test_labels_are_the_same_classes_in_all_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="a,y\n1,2\n1,3\n", b="a,y\n1,1\n1,\n1,3\n")
    data = load(folder, "classification", targets="y")
    assert data.classes == ("1", "2", "3")
    assert data.truths.tolist() == [1, 2, 0, -1, 2]


@pytest.mark.parametrize("label", ["x", ""])
def test_a_single_label_is_refused(tmp_path: Path, label: str) -> None:
    text = f"a,y\n1,{label}\n2,{label}\n"
    words = ("two labels", label or "none")
    refusal(DataError, tmp_path, text, *words, kind="classification", targets="y")


@pytest.mark.parametrize("flags", [("0", "1.0", ""), ("False", "True", ""), ("false", "TRUE", "")])
def test_flags_are_normal_and_anomalous(tmp_path: Path, flags: tuple[str, ...]) -> None:
    text = "a,y\n" + "".join(f"1,{flag}\n" for flag in flags)
    data = read(tmp_path, text, "anomaly", targets="y")
    assert data.classes == ("normal", "anomalous")
    assert data.truths.tolist() == [0, 1, -1]


def test_a_flag_that_is_none_is_refused(tmp_path: Path) -> None:
    text = "a,y\n1,0\n2,2\n"
    refusal(DataError, tmp_path, text, "y=2", "line 3", kind="anomaly", targets="y")


@pytest.mark.parametrize("kind", ["classification", "anomaly"])
@pytest.mark.parametrize("targets", [(), ("a", "b")])
def test_labels_take_one_column(tmp_path: Path, kind: str, targets: tuple[str, ...]) -> None:
    refusal(ConfigError, tmp_path, HOURS, "the one column", kind=kind, targets=targets)


def test_values_take_a_column(tmp_path: Path) -> None:
    refusal(ConfigError, tmp_path, HOURS, "data.targets", kind="regression")


@pytest.mark.parametrize("kind", ["classification", "anomaly", "regression"])
@pytest.mark.parametrize("field", ["channels", "categories"])
def test_a_target_that_the_model_sees_is_refused(tmp_path: Path, kind: str, field: str) -> None:
    roles = {"kind": kind, "targets": "b", field: ("a", "b")}
    message = refusal(ConfigError, tmp_path, HOURS, "'b'", "shown", **roles)
    assert ("forecasting" in message) == (kind == "regression")


def test_a_regression_shows_no_target(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, "regression", time="t", targets="b")
    assert data.channels == ("a",)
    assert data.variables == ("b",)
    assert data.truths.tolist() == [[5], [6], [7]]
    assert data.target_channels == ()


def test_a_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    text = "a,y\n1,2\n2,high\n"
    words = ("data.targets", "y='high'", "line 3")
    refusal(DataError, tmp_path, text, *words, kind="regression", targets="y")


def test_a_forecast_is_of_all_number_channels_by_default(tmp_path: Path) -> None:
    text = HOURS.replace("b\n", "b,w\n").replace("5\n", "5,x\n").replace("6\n", "6,y\n")
    text = text.replace("7\n", "7,y\n")
    data = read(tmp_path, text, time="t", categories="w", calendar=("hour",))
    assert data.variables == ("a", "b")
    assert data.target_channels == (0, 1)
    assert data.truths.tolist() == [[1, 5], [2, 6], [3, 7]]


def test_a_forecast_names_its_columns(tmp_path: Path) -> None:
    assert read(tmp_path, HOURS, time="t", targets="b").target_channels == (1,)
    data = read(tmp_path, HOURS, time="t", targets=("a", "b"), channels="a")
    assert data.channels == ("a",)
    assert data.variables == ("a", "b")
    assert data.target_channels == ()


def test_a_table_has_no_frames(tmp_path: Path) -> None:
    refusal(ConfigError, tmp_path, HOURS, "task.kind", "frames", kind="frames")


# Official sides.


def test_official_sides_are_numbered_by_their_place(tmp_path: Path) -> None:
    data = read(tmp_path, "s,a\ntrain,1\ntest,2\nvalidation,3\n", sides="s")
    assert data.sides is not None
    assert data.sides.dtype == np.int8
    assert [SIDES[side] for side in data.sides] == ["train", "test", "validation"]
    assert data.channels == ("a",)


@pytest.mark.parametrize("side", ["valid", ""])
def test_another_side_is_refused(tmp_path: Path, side: str) -> None:
    refusal(DataError, tmp_path, f"s,a\ntrain,1\n{side},2\n", f"s={side}", "line 3", sides="s")


@pytest.mark.parametrize("roles", [{"unit": "engine"}, {"unit": "u", "group": "engine"}])
def test_a_group_on_two_sides_is_refused(tmp_path: Path, roles: dict[str, str]) -> None:
    text = "s,engine,u,a\ntrain,5,1,1\ntest,7,2,2\ntrain,7,3,3\n"
    words = ("engine 7 stands on train and test",)
    refusal(DataError, tmp_path, text, *words, sides="s", **roles)


def test_a_group_on_two_sides_is_found_across_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="s,g,a\ntrain,7,1\n", b="s,g,a\ntest,7,1\n")
    with pytest.raises(DataError, match="g 7 stands on train and test"):
        load(folder, sides="s", group="g")
    assert load(folder, sides="s").names == ("a.csv", "b.csv")


# Real data.


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return path


def test_reads_etth1() -> None:
    path = shared("etth1/ETTh1.csv")
    data = load(path, time="date")
    assert data.rows.shape == (17_420, 7)
    assert data.target_channels == tuple(range(7))
    frame = pd.read_csv(path)
    assert data.rows[:, 6] == pytest.approx(frame["OT"].to_numpy(), rel=1e-6)


def test_reads_beijing() -> None:
    data = load(
        shared("beijing_pm25/pollution.csv"),
        time=("year", "month", "day", "hour"),
        channels=("pm2.5", "TEMP"),
        categories="cbwd",
        targets="pm2.5",
        missing="forward",
    )
    assert data.channels[2:] == ("cbwd=NE", "cbwd=NW", "cbwd=SE", "cbwd=cv")
    assert np.count_nonzero(np.isnan(data.truths)) == 2_067
    assert np.isfinite(data.rows).all()
    assert (data.rows[:, 2:].sum(axis=1) == 1).all()
    assert "2,067 missing values carried forward" in data.description


SKAB: dict[str, Any] = {
    "pattern": "[vo]*/*.csv",
    "separator": ";",
    "time": "datetime",
    "channels": ("Pressure", "Temperature"),
    "targets": "anomaly",
}


@pytest.mark.parametrize(
    ("gaps", "recordings", "rows"),
    [("ignore", 34, 37_401), ("split", 2_027, 37_401), ("fill", 34, 40_068)],
)
def test_reads_skab(gaps: str, recordings: int, rows: int) -> None:
    data = load(shared("skab"), "anomaly", gaps=gaps, missing="drop", **SKAB)
    assert (len(data.names), len(data.rows)) == (recordings, rows)
    assert data.groups is not None
    assert len(np.unique(data.groups)) == 34
    labels = np.bincount(data.truths + 1, minlength=3)
    assert labels.tolist() == [rows - 37_401, 24_334, 13_067]


def test_refuses_the_gaps_of_skab() -> None:
    with pytest.raises(DataError, match=r"1,993 gaps.*line 13 of 'other/1\.csv'"):
        load(shared("skab"), "anomaly", **SKAB)
