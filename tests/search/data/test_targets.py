"""Targets: which rows are scored, for clips and for streams."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from recordings import make_clips, make_streams, place

from search.config import SequenceLengthConfig, TaskConfig
from search.data.targets import DEFAULT_LENGTH, place_targets
from search.errors import DataError


def test_a_clip_has_one_target_at_its_last_row() -> None:
    targets = place(make_clips(np.zeros((3, 10, 2))))
    assert targets.ends.tolist() == [9, 19, 29]
    assert targets.labels.tolist() == [0, 1, 0]
    assert (targets.longest, targets.horizon) == (10, 0)


def test_frames_to_predict_lie_in_the_same_clip() -> None:
    clips = make_clips(np.zeros((3, 10, 4, 4, 1)), classes=())
    targets = place(clips, kind="frames", horizon=4)
    assert targets.ends.tolist() == [5, 15, 25]
    assert targets.longest == 6


def test_a_stream_has_targets_from_the_longest_sequence_to_the_horizon() -> None:
    targets = place(make_streams(20, 15, stride=3), high=6, kind="forecasting", horizon=2)
    assert targets.ends.tolist() == [5, 8, 11, 14, 17, 25, 28, 31]
    assert targets.recordings.tolist() == [0] * 5 + [1] * 3


def test_a_stream_has_a_longest_sequence_where_none_is_named() -> None:
    assert place(make_streams(500), kind="regression").longest == DEFAULT_LENGTH
    assert place(make_streams(30), kind="forecasting", horizon=10).longest == 20


def test_where_short_recordings_are_left_out_most_decide_the_longest_sequence() -> None:
    targets = place(make_streams(20, *[60] * 8, 90, drops_short=True), kind="regression")
    assert targets.longest == 60
    assert targets.notes == ("1 recordings were too short and left out.",)


def test_it_is_said_who_keeps_the_sequence_short_and_a_baseline_away() -> None:
    clips = np.zeros((3, 8, 1))
    uneven = replace(make_clips(clips), starts=np.array([0, 8, 11, 24]))
    (note,) = place(uneven).notes
    assert note == "The longest sequence is 3, since 'clip 1' has no more steps."
    (note,) = place(make_streams(90), high=12, kind="forecasting", season=24).notes
    assert note.startswith("The last season is no baseline, since no window shows 24 rows")


def test_targets_without_a_whole_truth_are_left_out_and_counted() -> None:
    streams = make_streams(20)
    streams.truths[10] = np.nan
    targets = place(streams, high=1, kind="forecasting", horizon=3)
    assert sorted(set(range(17)) - set(targets.ends.tolist())) == [7, 8, 9]
    assert targets.notes == ("3 targets that lack a true value were left out.",)


def test_targets_whose_window_shows_what_is_missing_are_left_out() -> None:
    usable = np.arange(20) != 10
    targets = place(make_streams(20, usable=usable), high=3, kind="regression")
    assert sorted(set(range(2, 20)) - set(targets.ends.tolist())) == [10, 11, 12]
    assert targets.notes == ("3 targets whose window misses values were left out.",)


def test_recordings_that_are_too_short_are_named() -> None:
    with pytest.raises(
        DataError, match=r"takes 8 rows and 4 to predict.*1 of 2.*'engine 1' with 11"
    ):
        place(make_streams(20, 11), high=8, kind="forecasting", horizon=4)


def test_recordings_that_are_too_short_may_be_left_out() -> None:
    streams = make_streams(20, 11, 13, drops_short=True)
    targets = place(streams, high=8, kind="forecasting", horizon=4)
    assert set(targets.recordings.tolist()) == {0, 2}
    assert targets.notes == ("1 recordings were too short and left out.",)


@pytest.mark.parametrize("fields", [{}, {"drops_short": True}])
def test_a_horizon_longer_than_the_data_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"task\.horizon must leave rows.*horizon=40.*30 rows"):
        place(make_streams(30, **fields), kind="forecasting", horizon=40)


def test_data_without_any_truth_are_refused() -> None:
    streams = make_streams(30)
    streams.truths[:] = np.nan
    with pytest.raises(DataError, match=r"The data must hold a target.*27 targets that lack"):
        place_targets(streams, TaskConfig(kind="regression"), SequenceLengthConfig(high=4))
