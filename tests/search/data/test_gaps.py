"""Gaps between stamps: refused, split at, filled in or ignored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import place
from tables import HOURS, load, read, refusal, write_folder

from search.errors import ConfigError, DataError

GAP = "t,a\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n2020-01-01 04:00,5\n2020-01-01 05:00,6\n"


@pytest.mark.parametrize("step", ["soon", "0s", "-1h", "", "NaT"])
def test_a_step_is_a_time_above_zero(tmp_path: Path, step: str) -> None:
    refusal(ConfigError, tmp_path, HOURS, f"step={step!r}", "'1h'", time="t", step=step)


def test_a_step_that_is_none_is_refused_before_a_file_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.step must be a time"):
        load(tmp_path / "none.csv", time="t", step="soon")


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


@pytest.mark.parametrize("rate", [30, 60, 128])
def test_stamps_that_are_rounded_to_milliseconds_are_even(tmp_path: Path, rate: int) -> None:
    seconds = np.round(np.arange(900) / rate, 3)
    kept = np.delete(seconds, slice(300, 309))
    text = {
        name: "t,a\n" + "".join(f"{one:.3f},1\n" for one in stamps)
        for name, stamps in (("whole", seconds), ("holes", kept))
    }
    even = read(tmp_path, text["whole"], time="t")
    assert even.step == pytest.approx(1e9 / rate, rel=1e-4)
    filled = read(tmp_path, text["holes"], time="t", gaps="fill", missing="drop")
    assert len(filled.rows) == 900


def test_a_missing_second_is_a_gap_where_stamps_are_whole_seconds(tmp_path: Path) -> None:
    stamps = [f"2020-01-01 00:00:{second:02},1\n" for second in (0, 1, 2, 4, 5)]
    refusal(DataError, tmp_path, "t,a\n" + "".join(stamps), "1 gap", time="t")


def test_where_stamps_jitter_the_step_is_their_median(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).normal(0.1, 0.003, 500))
    text = "t,a\n" + "".join(f"{time:.6f},{row}\n" for row, time in enumerate(times))
    step = read(tmp_path, text, time="t", gaps="ignore").step
    assert step == pytest.approx(1e8, rel=0.01)


def test_the_step_of_all_files_is_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, a="t,a\n0,1\n1,1\n2,1\n", b="t,a\n0,1\n2,1\n")
    with pytest.raises(DataError, match=r"1 gap, .*line 3 of 'b\.csv'"):
        load(folder, time="t")


def test_single_rows_have_no_step(tmp_path: Path) -> None:
    data = read(tmp_path, "t,u,a\n2020-01-01,x,1\n2020-01-02,y,2\n", time="t", unit="u")
    assert data.step is None


def test_split_begins_a_recording_of_the_same_group(tmp_path: Path) -> None:
    lines = GAP.replace("t,a", "u,t,a").replace("\n2", "\nx,2") + "y,2020-01-01 00:00,0\n"
    data = read(tmp_path, lines, time="t", unit="u", gaps="split")
    assert data.names == ("x", "x#2", "y")
    assert data.starts.tolist() == [0, 2, 4, 5]
    assert data.groups is not None
    assert data.groups.tolist() == [0, 0, 1]
    assert "1 gap split recordings" in data.description
    assert (data.origins.tolist(), data.whole_names) == ([0, 0, 1], ("x", "y"))


@pytest.mark.parametrize("short", ["refuse", "drop"])
def test_pieces_that_are_too_short_are_left_out(tmp_path: Path, short: str) -> None:
    data = read(tmp_path, GAP + "2020-01-01 06:00,7\n", time="t", gaps="split", short=short)
    targets = place(data, kind="forecasting", high=2)
    assert targets.ends.tolist() == [3]
    assert targets.notes == ("1 recordings were too short and left out.",)


def test_recordings_without_a_gap_are_refused_where_they_are_too_short(tmp_path: Path) -> None:
    data = read(tmp_path, HOURS, time="t", gaps="split")
    with pytest.raises(DataError, match=r"1 of 1 recordings are shorter: 't\.csv' with 3 rows"):
        place(data, kind="forecasting", high=3)


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
