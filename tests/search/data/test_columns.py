"""Columns of tables: the part that each has, and what its cells may hold."""

from pathlib import Path

import pandas as pd
import pytest
from tables import HOURS, load, read, refusal

from search.errors import ConfigError, DataError


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


@pytest.mark.parametrize("field", ["time", "unit", "group", "sides"])
def test_a_target_says_nothing_else(tmp_path: Path, field: str) -> None:
    words = ("data.targets", f"data.{field}", "'a' in both")
    refusal(ConfigError, tmp_path, HOURS, *words, targets="a", **{field: "a"})


@pytest.mark.parametrize("field", ["categories", "unit", "group", "sides"])
def test_cells_that_hold_lists_are_refused(tmp_path: Path, field: str) -> None:
    pd.DataFrame({"a": [1, 2], "b": [[1, 2], [3]]}).to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").channels == ("a",)
    with pytest.raises(DataError, match=rf"data\.{field} .*'b' with cells as \[1 2\]"):
        load(tmp_path / "t.parquet", **{field: "b"})


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


def test_a_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    text = "a,y\n1,2\n2,high\n"
    words = ("data.targets", "y='high'", "line 3", "or name data.targets without")
    refusal(DataError, tmp_path, text, *words, kind="regression", targets="y")


def test_a_flag_that_is_none_is_refused(tmp_path: Path) -> None:
    text = "a,y\n1,0\n2,2\n"
    refusal(DataError, tmp_path, text, "y=2", "line 3", kind="anomaly", targets="y")


def test_a_table_has_no_frames(tmp_path: Path) -> None:
    refusal(ConfigError, tmp_path, HOURS, "task.kind", "frames", kind="frames")
