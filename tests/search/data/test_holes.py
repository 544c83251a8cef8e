"""Missing values: refused, carried forward or never shown."""

from pathlib import Path

import numpy as np
from tables import read, refusal

from search.errors import DataError

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
