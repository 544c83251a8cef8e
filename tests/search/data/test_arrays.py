import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.config import ArraysData
from search.data.arrays import load_arrays
from search.errors import ConfigError, DataError, SearchError

X = np.arange(6 * 4 * 2, dtype=np.float64).reshape(6, 4, 2)
Y = np.array([0, 1, 0, 1, 0, 1])
WITH_NAN = X.copy()
WITH_NAN[2, 1, 0], WITH_NAN[4, :, 1] = np.nan, np.inf


def write(folder: Path, **arrays: Any) -> Path:
    path = folder / "clips.npz"
    np.savez_compressed(path, **({"x": X, "y": Y} | arrays))
    return path


def test_each_clip_becomes_its_rows_and_a_target_at_its_last_row(tmp_path: Path) -> None:
    recordings = load_arrays(ArraysData(path=write(tmp_path)))
    assert recordings.rows.dtype == np.float32
    np.testing.assert_array_equal(recordings.rows, X.reshape(24, 2))
    assert recordings.ends.tolist() == [3, 7, 11, 15, 19, 23]
    assert recordings.labels.tolist() == Y.tolist()
    assert recordings.longest == 4
    assert not recordings.official_test.any()
    assert recordings.groups is None
    assert recordings.channels == ("channel_0", "channel_1")
    assert recordings.classes == ("0", "1")


def test_official_test_clips_come_last_and_belong_to_no_group(tmp_path: Path) -> None:
    subjects = np.array(["ann", "ann", "bob", "bob", "cid", "cid"])
    path = write(tmp_path, tx=X[:2], ty=Y[:2], who=subjects)
    recordings = load_arrays(ArraysData(path=path, x_test="tx", y_test="ty", groups="who"))
    assert recordings.official_test.tolist() == [False] * 6 + [True] * 2
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 0, 1, 1, 2, 2, -1, -1]
    np.testing.assert_array_equal(recordings.rows[24:], X[:2].reshape(8, 2))


def test_whole_number_frames_become_float_rows(tmp_path: Path) -> None:
    frames = np.arange(6 * 3 * 2 * 2, dtype=np.uint8).reshape(6, 3, 2, 2, 1)
    recordings = load_arrays(ArraysData(path=write(tmp_path, x=frames)))
    assert recordings.rows.shape == (18, 2, 2, 1)
    assert recordings.rows.dtype == np.float32
    assert recordings.rows.max() == frames.max()


def test_the_rows_of_an_image_become_steps(tmp_path: Path) -> None:
    images = np.zeros((6, 5, 7, 3))
    recordings = load_arrays(ArraysData(path=write(tmp_path, x=images)))
    assert recordings.rows.shape == (30, 7, 3)
    assert len(recordings.channels) == 3


def test_names_of_channels_and_classes_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, c=np.array(["flow", "load"]), k=np.array(["good", "bad", "rare"]))
    recordings = load_arrays(ArraysData(path=path, channels="c", classes="k"))
    assert recordings.channels == ("flow", "load")
    assert recordings.classes == ("good", "bad", "rare")


def test_pickled_arrays_that_nobody_asked_for_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, names=np.array([{"a": 1}], dtype=object))
    assert len(load_arrays(ArraysData(path=path)).ends) == 6


BAD_ARRAYS = {
    "no such clips": ({}, {"x": "xx"}, ConfigError, r"data\.x must name .*Did you mean 'x'\?"),
    "no such labels": ({}, {"y": "label"}, ConfigError, r"data\.y must name .*Known: x, y"),
    "test clips alone": ({"tx": X}, {"x_test": "tx"}, ConfigError, r"data\.y_test must be given"),
    "test labels alone": ({"ty": Y}, {"y_test": "ty"}, ConfigError, r"data\.x_test must be given"),
    "no such groups": ({}, {"groups": "who"}, ConfigError, r"data\.groups must name"),
    "pickled clips": ({"x": X.astype(object)}, {}, DataError, r"data\.x .*never with dtype=object"),
    "pickled labels": ({"y": Y.astype(object)}, {}, DataError, r"data\.y .*dtype=object"),
    "text as clips": ({"x": X.astype(str)}, {}, DataError, r"data\.x must hold numbers.*<U"),
    "complex clips": ({"x": X * 1j}, {}, DataError, r"data\.x must hold numbers.*complex128"),
    "flat clips": ({"x": X[..., 0]}, {}, DataError, r"data\.x must have the axes.*\(6, 4\)"),
    "too many axes": (
        {"x": X[:, :, None, None, None]},
        {},
        DataError,
        r"data\.x must have the axes.*\(6, 4, 1, 1, 1, 2\)",
    ),
    "no clips": ({"x": X[:0], "y": Y[:0]}, {}, DataError, r"data\.x must not be empty.*\(0, 4, 2"),
    "clips without steps": ({"x": X[:, :0]}, {}, DataError, r"data\.x must not be empty"),
    "nan and infinity": (
        {"x": WITH_NAN},
        {},
        DataError,
        r"5 values of NaN or infinity in 2 clips, the first is clip 2",
    ),
    "nan in the test clips": (
        {"tx": WITH_NAN, "ty": Y},
        {"x_test": "tx", "y_test": "ty"},
        DataError,
        r"data\.x_test must hold finite.*clip 2",
    ),
    "too large for float32": ({"x": X * 1e300}, {}, DataError, r"data\.x must hold finite float32"),
    "fewer labels": ({"y": Y[:5]}, {}, DataError, r"one label for each clip.*\(5,\).*\(6, 4, 2\)"),
    "one column a class": ({"y": np.eye(2)[Y]}, {}, DataError, r"y\.argmax\(axis=1\)"),
    "text labels": ({"y": np.array(["a", "b"] * 3)}, {}, DataError, r"'a'.*return_inverse=True"),
    "float labels": ({"y": Y + 0.5}, {}, DataError, r"integer type.*dtype=float64, .*0\.5"),
    "negative labels": ({"y": Y - 1}, {}, DataError, r"class numbers from 0.*-1 at clip 0"),
    "labels from 1": ({"y": Y + 1}, {}, DataError, r"every class number from 0.*from 1 to 2"),
    "one class": ({"y": Y * 0}, {}, DataError, r"two classes or more.*only class 0 in 6 labels"),
    "test clips of another shape": (
        {"tx": X[:, :3], "ty": Y},
        {"x_test": "tx", "y_test": "ty"},
        DataError,
        r"data\.x_test must have clips of the same shape.*\(6, 3, 2\).*\(6, 4, 2\)",
    ),
    "fewer test labels": (
        {"tx": X, "ty": Y[:2]},
        {"x_test": "tx", "y_test": "ty"},
        DataError,
        r"data\.y_test must hold one label for each clip of data\.x_test",
    ),
    "fewer class names": (
        {"k": np.array(["only"])},
        {"classes": "k"},
        DataError,
        r"data\.classes must name every class.*1 names.*takes 2",
    ),
    "fewer channel names": (
        {"c": np.array(["only"])},
        {"channels": "c"},
        DataError,
        r"data\.channels must name each channel.*1 names for 2 channels",
    ),
    "numbers as names": (
        {"c": np.arange(2)},
        {"channels": "c"},
        DataError,
        r"data\.channels must be a list of texts.*int64",
    ),
    "fewer groups": ({"who": Y[:3]}, {"groups": "who"}, DataError, r"data\.groups .*\(3,\) for 6"),
}


@pytest.mark.parametrize(
    ("arrays", "settings", "error", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path,
    arrays: dict[str, Any],
    settings: dict[str, str],
    error: type[SearchError],
    message: str,
) -> None:
    path = write(tmp_path, **arrays)
    with pytest.raises(error, match=message):
        load_arrays(ArraysData(path=path, **settings))


def missing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def text(path: Path) -> None:
    path.write_text("steps,channels\n1,2\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    path.write_bytes(content)


def other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "no array")
        archive.writestr("y", "no array")


BAD_FILES = [
    (missing, ConfigError, r"data\.path must name an \.npz file: there is no such file"),
    (folder, ConfigError, r"data\.path must name an \.npz file: a folder stands there"),
    (text, DataError, r"data\.path must be an \.npz file, which is a zip archive"),
    (empty, DataError, r"data\.path must be an \.npz file, which is a zip archive"),
    (single_array, DataError, r"zip archive.*numpy\.savez"),
    (truncated, DataError, r"was cut short"),
    (damaged, DataError, r"data\.x must be an array of plain values that can be read"),
    (other_zip, DataError, r"data\.x must hold numbers"),
]


@pytest.mark.parametrize(
    ("spoil", "error", "message"), BAD_FILES, ids=[spoil.__name__ for spoil, *_ in BAD_FILES]
)
def test_a_file_that_is_no_archive_of_arrays_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], error: type[SearchError], message: str
) -> None:
    path = write(tmp_path)
    spoil(path)
    with pytest.raises(error, match=message):
        load_arrays(ArraysData(path=path))
