"""Parts of tables: recordings, groups and official sides of the rows in their files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import load, read, refusal, write_folder

from search.data.sequences import SIDES
from search.errors import DataError


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
