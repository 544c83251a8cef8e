"""Tables become recordings: rows, truths and what is taken over; and real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import HOURS, load, read, refusal, write_folder

from search.errors import DataError

SHARED = Path(__file__).parents[3].parent / "shared/data"


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


@pytest.mark.parametrize(
    ("first", "step", "told"), [(2e8, 3, False), (0, 3, True), (2e8, 1000, True), (2e8, 0, True)]
)
def test_a_counter_whose_changes_float32_would_lose_is_refused(
    tmp_path: Path, first: float, step: int, told: bool
) -> None:
    text = "a,b\n,1\n" + "".join(f"{first + step * row:.0f},1\n" for row in range(50))
    if told:
        assert len(read(tmp_path, text, missing="drop").rows) == 51
    else:
        words = ("'a'", "up to 200000147", "steps of 16", "changes of 3", "Take a constant off")
        refusal(DataError, tmp_path, text, *words, missing="drop")


def test_takes_settings_over(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, time="t", stride=4, short="drop", scaling="recording")
    assert (data.stride, data.drops_short, data.scaled_apart) == (4, True, True)
    data = read(tmp_path, HOURS, time="t")
    assert (data.stride, data.drops_short, data.scaled_apart) == (1, False, False)
    assert not data.clips


def test_words_become_sorted_channels_over_all_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="n,w,g\n1,z,10\n2,,9\n", b="n,w,g\n3,x,\n4,z,9\n")
    data = load(folder, categories=("w", "g"), channels="n", missing="forward")
    assert data.channels == ("n", "w=x", "w=z", "g=9", "g=10")
    assert data.rows[:, 1:].tolist() == [[0, 1, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0]]
    with pytest.raises(DataError, match=r"w=x"):  # a missing word is a missing value
        load(folder, categories=("w", "g"), channels="n")


def test_none_and_na_can_be_words(tmp_path: Path) -> None:
    text = "a,y,w\n1,None,NA\n2,leak,SE\n3,,NA\n4,nan,null\n"
    data = read(tmp_path, text, "classification", targets="y", categories="w", channels="a")
    assert data.classes == ("None", "leak")
    assert data.truths.tolist() == [0, 1, -1, -1]
    assert data.channels == ("a", "w=NA", "w=SE", "w=null")
    assert data.rows[:, 1:].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_a_column_of_one_word_that_looks_like_nothing_is_a_column_of_words(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="a,y,g\n1,None,NA\n2,None,NA\n", b="a,y,g\n3,leak,EU\n")
    data = load(folder, "classification", targets="y", group="g", channels="a")
    assert data.classes == ("None", "leak")
    assert data.truths.tolist() == [0, 0, 1]
    assert data.groups is not None
    assert data.groups.tolist() == [0, 1]


def test_a_word_is_the_same_in_every_file_whatever_stands_beside_it(tmp_path: Path) -> None:
    first = "a,u,y\n1,01,1\n2,02,0\n"
    second = "a,u,y\n3,01,1.0\n4,02,0.0\n5,A01,1\n6,1,1\n"
    folder = write_folder(tmp_path, a=first, b=second)
    data = load(folder, "classification", targets="y", unit="u", channels="a")
    assert data.classes == ("0", "1")
    assert data.truths.tolist() == [1, 0, 1, 0, 1, 1]
    assert data.names == ("a.csv:01", "a.csv:02", "b.csv:01", "b.csv:02", "b.csv:A01", "b.csv:1")
    assert data.groups is not None
    assert data.groups.tolist() == [0, 1, 0, 1, 2, 3]


def test_decimal_commas_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a='1,5' at .*Write decimals with a point"):
        read(tmp_path, 'a,b,y\n"1,5",1,x\n"2,5",2,z\n', "classification", targets="y")


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


def test_a_regression_shows_no_target(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, "regression", time="t", targets="b")
    assert data.channels == ("a",)
    assert data.variables == ("b",)
    assert data.truths.tolist() == [[5], [6], [7]]
    assert data.target_channels == ()


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
