from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recordings import make_clips
from tables import write_folder

from search.data.recordings import Recordings
from search.data.stamps import name_calendar
from search.data.unlabelled import Source, list_ends, load_unlabelled
from search.errors import ConfigError, DataError


def load(path: Path, data: dict[str, Any], channels: Iterable[str], **fields: Any) -> Recordings:
    known = {"kind": "classification", "channels": tuple(channels), "row_shape": None, **fields}
    known["row_shape"] = known["row_shape"] or (len(known["channels"]),)
    source = Source(data=data, **known)
    return load_unlabelled(source, path, path.parent / "kept", lambda what, done, total: None)


ARRAYS = {"source": "arrays", "x": "X", "y": "Y", "lengths": "n", "channels": "names"}


def test_clips_are_read_by_the_studys_names_and_their_padding_is_cut_off(tmp_path: Path) -> None:
    clips = np.arange(24.0).reshape(2, 4, 3)
    np.savez(tmp_path / "new.npz", X=clips, n=[2, 4], names=["c", "a", "b"])
    found = load(tmp_path / "new.npz", ARRAYS, "abc")
    assert found.channels == ("a", "b", "c")
    expected = np.concatenate([clips[0, :2], clips[1]])[:, [1, 2, 0]]
    np.testing.assert_array_equal(found.rows, expected)
    ends, owners = list_ends(found, reach=2)
    assert (ends.tolist(), owners.tolist()) == ([1, 5], [0, 1])
    ends, owners = list_ends(found, reach=3)
    assert (ends.tolist(), owners.tolist()) == ([5], [1])


@pytest.mark.parametrize("source", ["machine", "table", "video", "digits", "arrays"])
def test_raw_windows_are_read_whatever_the_study_read(tmp_path: Path, source: str) -> None:
    np.savez(tmp_path / "raw.npz", raw=np.ones((2, 4, 3)))
    data = ARRAYS if source == "arrays" else {"source": source}
    found = load(tmp_path / "raw.npz", data, "abc", kind="forecasting")
    ends, _ = list_ends(found, reach=3)
    assert ends.tolist() == [3, 7]


@pytest.mark.parametrize("gaps", ["ignore", "fill", "split"])
def test_rows_of_another_rate_are_refused(tmp_path: Path, gaps: str) -> None:
    table = {"t": pd.date_range("2026-01-01", periods=60, freq="10min"), "a": 1.0, "b": 2.0}
    path = tmp_path / "new.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    study = {"source": "table", "time": ["t"], "gaps": gaps, "missing": "forward"}
    hourly = {**study, "step": "3600000000000ns"}
    with pytest.raises(DataError, match=r"must be 0 days 01:00:00 apart.*mostly 0 days 00:10:00"):
        load(path, hourly, "ab", kind="forecasting")
    slower = {**study, "step": "600000000000ns"}
    assert len(load(path, slower, "ab", kind="forecasting").rows) == 60


def test_a_stream_is_answered_for_at_every_row_with_enough_before_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", X=np.ones((2, 4, 3)))
    data = {**ARRAYS, "y": "flags", "lengths": None}
    found = load(tmp_path / "new.npz", data, "abc", kind="anomaly")
    ends, owners = list_ends(found, reach=3)
    assert ends.tolist() == [2, 3, 6, 7]
    assert owners.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("named", ["X", "raw"])
def test_frames_to_predict_need_no_frames_that_follow(tmp_path: Path, named: str) -> None:
    np.savez(tmp_path / "new.npz", **{named: np.zeros((2, 3, 4, 5, 1), np.uint8)})
    data = {**ARRAYS, "lengths": None}
    shape = {"kind": "frames", "row_shape": (4, 5, 1)}
    found = load(tmp_path / "new.npz", data, ["grey"], **shape)
    assert list_ends(found, reach=2)[0].tolist() == [2, 5]


def test_settings_of_another_version_are_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path, new="a\n1\n")
    with pytest.raises(ConfigError, match=r"must be of this version.*gone\. Export again"):
        load(path, {"source": "table", "gone": 1}, "a")


def test_clips_that_were_padded_need_their_lengths(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", X=np.ones((2, 4, 3)))
    with pytest.raises(ConfigError, match=r"data\.lengths must name an array.*'n'"):
        load(tmp_path / "new.npz", ARRAYS, "abc")


TABLE = {"source": "table", "time": ["t"], "targets": ["label"], "unit": "u", "group": "who"}


def test_a_table_needs_no_label_and_no_group_and_words_keep_their_places(tmp_path: Path) -> None:
    lines = ("t,u,b,a,wind", "2020-01-01 00:00,x,1,2,N", "2020-01-01 01:00,x,3,4,S")
    path = write_folder(tmp_path, new="\n".join(lines))
    channels = ("a", "b", "wind=E", "wind=N", "wind=S")
    found = load(path, {**TABLE, "categories": ["wind"]}, channels)
    assert found.channels == channels
    np.testing.assert_array_equal(found.rows, [[2, 1, 0, 1, 0], [4, 3, 0, 0, 1]])
    assert found.stamps is not None
    with pytest.raises(DataError, match=r"with 'wind=S', which it has not seen"):
        load(path, {**TABLE, "categories": ["wind"]}, channels[:-1])


def test_a_model_of_words_and_calendar_alone_reads_no_other_column(tmp_path: Path) -> None:
    lines = ("t,other,wind", "2020-01-01 00:00,1,N", "2020-01-01 01:00,2,S")
    path = write_folder(tmp_path, new="\n".join(lines))
    channels = ("wind=N", "wind=S", *name_calendar(["hour"]))
    data = TABLE | {"unit": None, "categories": ["wind"], "calendar": ["hour"], "step": "1h"}
    found = load(path, data, channels)
    assert found.channels == channels
    np.testing.assert_array_equal(
        found.rows[:, :3], [[1, 0, 0], [0, 1, np.float32(np.sin(np.pi / 12))]]
    )


def test_a_row_with_a_missing_value_is_in_no_window(tmp_path: Path) -> None:
    path = write_folder(tmp_path, new="a,b\n1,1\n2,1\n,1\n4,1\n5,1\n6,1\n")
    found = load(path, {"source": "table", "missing": "drop"}, "ab", kind="regression")
    ends, _ = list_ends(found, reach=2)
    assert ends.tolist() == [1, 4, 5]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path, new="a,bb\n1,2\n")
    with pytest.raises(ConfigError, match=r"Received: 'b', which .*Did you mean 'bb'"):
        load(path, {"source": "table"}, "ab")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 4, 2))}, r"model's channels: a, b, c\. Received: 2 channels"),
        ({"X": np.ones((2, 4, 5, 3))}, r"must have the shape \(3,\).*Received: \(5, 3\)"),
        (
            {"X": np.ones((2, 4, 3)), "names": ["a", "b", "d"]},
            r"3 channels, without 'c', with 'd', which it has not seen",
        ),
    ],
)
def test_rows_that_the_model_does_not_read_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "new.npz", {**ARRAYS, "lengths": None}, "abc")


def test_an_array_that_is_not_there_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", x=np.ones((2, 4, 3)))
    with pytest.raises(ConfigError, match=r"Received: x='raw'"):
        load(tmp_path / "new.npz", {"source": "machine"}, "abc")


def test_data_without_a_whole_window_are_refused() -> None:
    clips = make_clips(np.ones((3, 4, 2)), labels=np.array([0, 1, 0]))
    with pytest.raises(DataError, match=r"have 9 rows .*none among 3, the longest of 4 rows"):
        list_ends(clips, reach=9)
