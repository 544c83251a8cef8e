"""Files of tables: which are read, and what is no table."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import HOURS, load, read, refusal, write_folder

from search.config import TableData, TaskConfig
from search.data.table import load_table
from search.errors import ConfigError, DataError


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


def test_empty_lines_inside_keep_the_count_of_lines(tmp_path: Path) -> None:
    text = "t,a\n2020-01-01,1\n\n2020-01-02,2\n"
    refusal(DataError, tmp_path, text, "data.time", "line 3", time="t")


def test_a_long_column_has_one_type(tmp_path: Path) -> None:
    # Past what pandas reads at once, where it would warn of mixed types.
    header, line = "a,b,c,d,e,f,g,h\n", "1,,,,,,,\n"
    text = header + line * 200_000 + line.replace("1", "x")
    refusal(DataError, tmp_path, text, "a='x'", "line 200002", channels="a")


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
