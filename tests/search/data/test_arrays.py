import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.config import ArraysData, SequenceLengthConfig, TaskConfig
from search.data.arrays import load_arrays
from search.data.recordings import Recordings
from search.data.sequences import Array
from search.data.targets import place_targets
from search.errors import ConfigError, DataError, SearchError

X = np.arange(6 * 4 * 2, dtype=np.float64).reshape(6, 4, 2)
Y = np.array([0, 1, 0, 1, 0, 1])
WITH_NAN = X.copy()
WITH_NAN[2, 1, 0], WITH_NAN[4, :, 1] = np.nan, np.inf


def write(folder: Path, **arrays: Any) -> Path:
    path = folder / "clips.npz"
    np.savez_compressed(path, **({"x": X, "y": Y} | arrays))
    return path


def load(path: Path, kind: str = "classification", **settings: Any) -> Recordings:
    horizon, fold = settings.pop("horizon", 1), settings.pop("test_fold", None)
    task = TaskConfig.model_validate({"kind": kind, "horizon": horizon})
    return load_arrays(ArraysData(path=path, **settings), task, fold)


def make_frames(count: int = 3, dtype: str = "uint8", first: int = 0) -> Array:
    """Six clips of frames of 2 x 2 pixels, all values different."""
    return (first + np.arange(6 * count * 4)).reshape(6, count, 2, 2, 1).astype(dtype)


def write_sheet(folder: Path, *lines: str) -> Path:
    path = folder / "clips.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        pytest.param(Y + 1, ("1", "2"), id="from one"),
        pytest.param(Y * 7 - 3, ("-3", "4"), id="with gaps"),
        pytest.param(Y == 1, ("0", "1"), id="flags"),
        pytest.param(np.array(["walk", "run"] * 3), ("run", "walk"), id="words"),
    ],
)
def test_labels_name_themselves(tmp_path: Path, labels: Array, classes: tuple[str, ...]) -> None:
    path = write(tmp_path, y=labels, tx=X[:2], ty=labels[:2])
    recordings = load(path, x_test="tx", y_test="ty")
    assert recordings.classes == classes
    named = [classes[number] for number in recordings.truths[::4]]
    numbers = labels if labels.dtype.kind == "U" else labels.astype(int)
    assert named == [str(label) for label in [*numbers, *numbers[:2]]]


def test_words_stand_in_the_order_of_the_named_classes(tmp_path: Path) -> None:
    words = np.array(["good", "bad"] * 3)
    recordings = load(write(tmp_path, y=words, k=np.array(["good", "bad"])), classes="k")
    assert recordings.classes == ("good", "bad")
    assert recordings.truths[::4].tolist() == [0, 1] * 3


def test_each_clip_becomes_a_recording_with_its_label_at_every_row(tmp_path: Path) -> None:
    recordings = load(write(tmp_path))
    assert recordings.rows.dtype == np.float32
    np.testing.assert_array_equal(recordings.rows, X.reshape(24, 2))
    assert recordings.starts.tolist() == [0, 4, 8, 12, 16, 20, 24]
    assert recordings.truths.tolist() == np.repeat(Y, 4).tolist()
    assert recordings.truths.dtype == np.int64
    assert recordings.clips
    assert recordings.sides is None
    assert recordings.groups is None
    assert recordings.names[:2] == ("clip 0", "clip 1")
    assert recordings.channels == ("channel_0", "channel_1")
    assert recordings.classes == ("0", "1")


def test_official_test_clips_come_last_and_belong_to_no_group(tmp_path: Path) -> None:
    subjects = np.array(["ann", "ann", "bob", "bob", "cid", "cid"])
    path = write(tmp_path, tx=X[:2], ty=Y[:2], who=subjects)
    recordings = load(path, x_test="tx", y_test="ty", groups="who")
    assert recordings.sides is not None
    assert recordings.sides.tolist() == [-1] * 24 + [2] * 8
    assert recordings.sides.dtype == np.int8
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 0, 1, 1, 2, 2, -1, -1]
    np.testing.assert_array_equal(recordings.rows[24:], X[:2].reshape(8, 2))
    assert recordings.truths[24:].tolist() == [0] * 4 + [1] * 4
    assert recordings.names[6:] == ("test clip 0", "test clip 1")


def test_frames_of_bytes_stay_bytes(tmp_path: Path) -> None:
    recordings = load(write(tmp_path, x=make_frames()))
    assert recordings.rows.dtype == np.uint8
    np.testing.assert_array_equal(recordings.rows, make_frames().reshape(18, 2, 2, 1))


def test_frames_of_other_numbers_become_floats(tmp_path: Path) -> None:
    assert load(write(tmp_path, x=make_frames(dtype="int16"))).rows.dtype == np.float32


def test_bytes_that_are_no_frames_become_floats(tmp_path: Path) -> None:
    assert load(write(tmp_path, x=X.astype(np.uint8))).rows.dtype == np.float32


def test_the_rows_of_an_image_become_steps(tmp_path: Path) -> None:
    images = np.zeros((6, 5, 7, 3))
    recordings = load(write(tmp_path, x=images))
    assert recordings.rows.shape == (30, 7, 3)
    assert len(recordings.channels) == 3


def test_names_of_channels_and_classes_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, c=np.array(["flow", "load"]), k=np.array(["good", "bad", "rare"]))
    recordings = load(path, channels="c", classes="k")
    assert recordings.channels == ("flow", "load")
    assert recordings.classes == ("good", "bad", "rare")


def test_pickled_arrays_that_nobody_asked_for_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, names=np.array([{"a": 1}], dtype=object))
    assert len(load(path).names) == 6


def test_a_folder_of_arrays_reads_like_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    recordings = load(tmp_path)
    np.testing.assert_array_equal(recordings.rows, X.reshape(24, 2))
    assert recordings.truths[::4].tolist() == Y.tolist()


def test_rows_of_a_folder_do_not_change_with_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", make_frames())
    np.save(tmp_path / "y.npy", Y)
    rows = load(tmp_path).rows
    np.lib.format.open_memmap(tmp_path / "x.npy", mode="r+")[:] = 99
    np.testing.assert_array_equal(rows, make_frames().reshape(18, 2, 2, 1))


def test_padding_is_cut_off_whatever_it_holds(tmp_path: Path) -> None:
    padded = X.copy()
    padded[1, 2:], padded[4, 1:] = np.nan, np.inf
    path = write(tmp_path, x=padded, n=np.array([4, 2, 4, 4, 1, 4]))
    recordings = load(path, lengths="n")
    assert recordings.lengths.tolist() == [4, 2, 4, 4, 1, 4]
    np.testing.assert_array_equal(recordings.rows[4:6], X[1, :2])
    np.testing.assert_array_equal(recordings.rows[14:15], X[4, :1])
    assert recordings.truths.tolist() == np.repeat(Y, [4, 2, 4, 4, 1, 4]).tolist()


def test_lengths_go_on_with_the_test_clips(tmp_path: Path) -> None:
    path = write(tmp_path, tx=X[:2], ty=Y[:2], n=np.array([4, 4, 4, 4, 4, 3, 2, 4]))
    recordings = load(path, x_test="tx", y_test="ty", lengths="n")
    assert recordings.lengths.tolist() == [4, 4, 4, 4, 4, 3, 2, 4]
    np.testing.assert_array_equal(recordings.rows[23:25], X[0, :2])


def test_a_value_stands_at_all_rows_of_its_clip(tmp_path: Path) -> None:
    values = np.array([0.5, 1.5, np.nan, 3, 4, 5])
    recordings = load(write(tmp_path, life=values), "regression", y="life")
    assert recordings.variables == ("life",)
    assert recordings.truths.shape == (24, 1)
    assert recordings.truths.dtype == np.float32
    np.testing.assert_array_equal(recordings.truths[:, 0], np.repeat(values, 4))
    assert recordings.clips
    assert recordings.classes == ()


def test_several_values_are_numbered(tmp_path: Path) -> None:
    recordings = load(write(tmp_path, y=np.arange(12.0).reshape(6, 2)), "regression")
    assert recordings.variables == ("y_0", "y_1")
    assert recordings.truths[4].tolist() == [2, 3]


def test_a_forecast_is_of_the_channels_named(tmp_path: Path) -> None:
    path = write(tmp_path, c=np.array(["flow", "load"]))
    recordings = load(path, "forecasting", channels="c", targets="load", stride=3)
    np.testing.assert_array_equal(recordings.truths, X.reshape(24, 2)[:, 1:])
    assert recordings.variables == ("load",)
    assert recordings.target_channels == (1,)
    assert (recordings.clips, recordings.stride) == (False, 3)


def test_a_forecast_is_of_all_channels_where_none_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, tx=X[:1])
    recordings = load(path, "forecasting", x_test="tx")
    assert recordings.target_channels == (0, 1)
    assert recordings.truths is not recordings.rows
    np.testing.assert_array_equal(recordings.truths, recordings.rows)


def test_flags_of_clips_stand_at_their_steps(tmp_path: Path) -> None:
    recordings = load(write(tmp_path), "anomaly")
    assert recordings.truths.tolist() == np.repeat(Y, 4).tolist()
    assert recordings.classes == ("normal", "anomalous")
    assert not recordings.clips


def test_flags_of_steps_lose_the_padding_too(tmp_path: Path) -> None:
    flags = (np.arange(24).reshape(6, 4) % 3 == 0).astype(np.int8)
    path = write(tmp_path, y=flags, n=np.array([4, 2, 4, 4, 4, 4]))
    recordings = load(path, "anomaly", lengths="n")
    assert recordings.truths.tolist() == [*flags[0], *flags[1, :2], *flags[2:].ravel()]


def test_frames_that_follow_in_a_clip_are_predicted(tmp_path: Path) -> None:
    recordings = load(write(tmp_path, x=make_frames()), "frames", horizon=2)
    assert recordings.truths is recordings.rows
    assert not recordings.clips
    assert recordings.classes == recordings.variables == ()


def test_frames_of_their_own_follow_the_clip_that_they_belong_to(tmp_path: Path) -> None:
    path = write(tmp_path, x=make_frames(3), y=make_frames(2, first=100))
    recordings = load(path, "frames", y="y", horizon=2)
    assert recordings.truths is recordings.rows
    assert recordings.rows.dtype == np.uint8
    assert recordings.clips
    clips = recordings.rows.reshape(6, 5, 2, 2, 1)
    np.testing.assert_array_equal(clips[:, :3], make_frames(3))
    np.testing.assert_array_equal(clips[:, 3:], make_frames(2, first=100))
    task = TaskConfig(kind="frames", horizon=2)
    targets = place_targets(recordings, task, SequenceLengthConfig())
    assert targets.ends.tolist() == [2, 7, 12, 17, 22, 27]
    assert targets.longest == 3


def test_frames_to_predict_follow_the_real_frames_and_official_test_clips_too(
    tmp_path: Path,
) -> None:
    x, y = make_frames(3), make_frames(1, first=100)
    path = write(tmp_path, x=x, y=y, tx=x[:2], ty=y[:2], n=np.array([3, 1, 3, 3, 3, 3, 2, 3]))
    recordings = load(path, "frames", y="y", x_test="tx", y_test="ty", lengths="n")
    assert recordings.lengths.tolist() == [4, 2, 4, 4, 4, 4, 3, 4]
    np.testing.assert_array_equal(recordings.rows[4:6], [x[1, 0], y[1, 0]])
    np.testing.assert_array_equal(recordings.rows[22:25], [x[0, 0], x[0, 1], y[0, 0]])
    assert recordings.sides is not None
    assert recordings.sides.tolist() == [-1] * 22 + [2] * 7


def test_a_sheet_names_labels_groups_and_folds(tmp_path: Path) -> None:
    lines = ("label,scene,fold", "0,NA,0", "1,NA,0", "0,None,1", "1,a,1", "0,b,2", "1,b,2")
    sheet = write_sheet(tmp_path, *lines)
    settings = {"sheet": sheet, "y": "label", "groups": "scene", "folds": "fold"}
    recordings = load(write(tmp_path), **settings, test_fold=1)
    assert recordings.truths[::4].tolist() == Y.tolist()
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 0, 1, 2, 3, 3]
    assert recordings.sides is not None
    assert recordings.sides[::4].tolist() == [-1, -1, 2, 2, -1, -1]
    assert len(recordings.sides) == 24


def test_a_sheet_tells_group_01_from_group_1(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, "scene,n", "01,4", "1,4", "2.0,4", "2,4", "01,4", "7,4")
    recordings = load(write(tmp_path), sheet=sheet, groups="scene", lengths="n")
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 1, 2, 2, 0, 3]


def npy(header: str) -> bytes:
    """A file of NumPy's format with a header of its own, and no values."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(npy("{'descr': '<f4', 'fortran_order': False, 'shape': ("), id="cut header"),
        pytest.param(
            npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**70},)}}"), id="huge"
        ),
        pytest.param(
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}"), id="negative"
        ),
        pytest.param(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}"), id="flag"),
        pytest.param(npy("[" * 100), id="deep"),
    ],
)
@pytest.mark.parametrize("archive", [False, True])
def test_a_damaged_array_is_one_sentence(tmp_path: Path, content: bytes, archive: bool) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "y.npy", Y)
    (folder / "x.npy").write_bytes(content)
    path = folder
    if archive:
        path = tmp_path / "clips.npz"
        with zipfile.ZipFile(path, "w") as written:
            for file in folder.iterdir():
                written.write(file, file.name)
    with pytest.raises(DataError, match=r"data\.x must be an array of plain values"):
        load(path)


def test_an_archive_in_the_place_of_an_array_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "y.npy", Y)
    write(tmp_path).rename(folder / "x.npy")
    with pytest.raises(DataError, match=r"data\.x must be .* archive of arrays"):
        load(folder)


def test_words_of_a_sheet_are_classes(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, "state", "worn", "new", "worn", "new", "worn", "new")
    recordings = load(write(tmp_path), sheet=sheet, y="state")
    assert recordings.classes == ("new", "worn")
    assert recordings.truths[::4].tolist() == [1, 0, 1, 0, 1, 0]


def test_a_class_is_named_once(tmp_path: Path) -> None:
    path = write(tmp_path, names=np.array(["walk", "run", "walk"]))
    with pytest.raises(DataError, match=r"data\.classes must name each class once"):
        load(path, classes="names")


def test_official_sides_are_kept(tmp_path: Path) -> None:
    words = np.array(["train", "train", "test", "validation", "train", "test"])
    recordings = load(write(tmp_path, part=words), sides="part")
    assert recordings.sides is not None
    assert recordings.sides[::4].tolist() == [0, 0, 2, 1, 0, 2]


def test_the_description_counts_what_was_read(tmp_path: Path) -> None:
    path = write(tmp_path, tx=X[:2], ty=Y[:2], n=np.array([4, 2, 4, 4, 4, 4, 4, 4]))
    recordings = load(path, x_test="tx", y_test="ty", lengths="n")
    assert recordings.description == (
        "6 clips and 2 official test clips of 2 to 4 steps x 2 with 2 classes, from clips.npz."
    )


FIGHTS = Path(__file__).parents[3].parent / "shared/data/fight_surv"


@pytest.mark.skipif(not FIGHTS.is_dir(), reason=f"there is no {FIGHTS}")
def test_a_real_sheet_fits_real_clips() -> None:
    settings: dict[str, Any] = {"x": "X", "groups": "scene_group", "folds": "fold5", "test_fold": 2}
    path, sheet = FIGHTS / "fight_surv_16x64x64.npz", FIGHTS / "clips.csv"
    recordings = load(path, sheet=sheet, **settings)
    assert recordings.rows.shape == (4800, 64, 64, 1)
    assert recordings.rows.dtype == np.uint8
    labels = load(path, sheet=sheet, y="label", **settings)
    np.testing.assert_array_equal(labels.truths, recordings.truths)
    assert recordings.groups is not None
    assert recordings.sides is not None
    tested = recordings.sides[::16] == 2
    assert tested.sum() == 61
    assert not set(recordings.groups[tested]) & set(recordings.groups[~tested])


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
    "fewer labels": (
        {"y": Y[:5]},
        {},
        DataError,
        r"one label or value for each clip.*\(5,\).*6 clips",
    ),
    "one column a class": ({"y": np.eye(2)[Y]}, {}, DataError, r"y\.argmax\(axis=1\)"),
    "float labels": ({"y": Y + 0.5}, {}, DataError, r"whole numbers\. Received: 0\.5 at clip 0"),
    "one class": ({"y": Y * 0}, {}, DataError, r"two classes or more.*only class '0' in 6 labels"),
    "an unnamed word": (
        {"y": np.array(["good", "bat"] * 3), "k": np.array(["good", "bad"])},
        {"classes": "k"},
        DataError,
        r"data\.classes must name every class.*'bat'\. Did you mean 'bad'",
    ),
    "words and numbers": (
        {"tx": X, "ty": np.array(["0", "1"] * 3)},
        {"x_test": "tx", "y_test": "ty"},
        DataError,
        r"data\.y_test must hold labels of data\.y's kind.*<U1 and int64",
    ),
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
        r"data\.y_test must hold one label or value for each clip of data\.x_test",
    ),
    "fewer class names": (
        {"k": np.array(["only"])},
        {"classes": "k"},
        DataError,
        r"data\.classes must name every class.*1 names, and a label 1\.",
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
    "a clip without a group": (
        {"who": np.array([0, 0, np.nan, 1, 1, 1])},
        {"groups": "who"},
        DataError,
        r"data\.groups must have a value for every clip.*nan for clip 2",
    ),
    "a column of groups": (
        {"who": Y[:, None]},
        {"groups": "who"},
        DataError,
        r"data\.groups must hold one value for each clip.*\(6, 1\) for 6 clips",
    ),
    "fewer sides": (
        {"s": np.array(["train"] * 4 + ["test"])},
        {"sides": "s"},
        DataError,
        r"data\.sides must hold one value for each clip of data\.x\. .*\(5,\) for 6 clips",
    ),
    "more folds": (
        {"f": np.arange(7)},
        {"folds": "f", "test_fold": 0},
        DataError,
        r"data\.folds must hold one value for each clip of data\.x\. .*\(7,\) for 6 clips",
    ),
    "fewer lengths": (
        {"n": Y[:5] + 1},
        {"lengths": "n"},
        DataError,
        r"data\.lengths must hold one length for each clip of data\.x\. .*\(5,\) for 6 clips",
    ),
    "nan before the padding": (
        {"x": WITH_NAN, "n": np.array([4, 4, 2, 4, 1, 4])},
        {"lengths": "n"},
        DataError,
        r"2 values of NaN or infinity in 2 clips, the first is clip 2",
    ),
}


@pytest.mark.parametrize(
    ("arrays", "settings", "error", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path,
    arrays: dict[str, Any],
    settings: dict[str, Any],
    error: type[SearchError],
    message: str,
) -> None:
    path = write(tmp_path, **arrays)
    with pytest.raises(error, match=message):
        load(path, **settings)


@pytest.mark.parametrize("kind", ["classification", "regression", "anomaly"])
def test_missing_labels_are_told(tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "clips.npz", x=X)
    with pytest.raises(ConfigError, match=r"data\.y must name an array.*y='y'\. Known: x"):
        load(tmp_path / "clips.npz", kind)


@pytest.mark.parametrize(
    "field", ["x_test", "y_test", "lengths", "groups", "sides", "folds", "channels", "classes"]
)
def test_pickled_arrays_are_refused_wherever_they_are_asked_for(tmp_path: Path, field: str) -> None:
    settings = {"x_test": "x", "y_test": "y"} if field.endswith("_test") else {}
    settings |= {"folds": "pickled", "test_fold": 0} if field == "folds" else {field: "pickled"}
    path = write(tmp_path, pickled=np.array(["a", 1] * 3, dtype=object))
    with pytest.raises(DataError, match=rf"data\.{field} .*'pickled'\. .*never with dtype=object"):
        load(path, **settings)


def test_clips_of_different_sizes_are_refused(tmp_path: Path) -> None:
    ragged = np.empty(6, dtype=object)
    ragged[:] = [np.zeros((steps, 2)) for steps in range(1, 7)]
    with pytest.raises(DataError, match=r"data\.x .*never with dtype=object"):
        load(write(tmp_path, x=ragged))


FLAGS = np.array([0, 1, 2, 0, 1, 0])
BAD_TASKS = {
    "values and no name": ({"y": np.array(["a"] * 6)}, "regression", {}, r"data\.y must hold numb"),
    "endless value": (
        {"y": np.where(Y, np.inf, 0)},
        "regression",
        {},
        r"infinity for 3 clips, .*clip 1",
    ),
    "cubes of values": ({"y": X}, "regression", {}, r"\(clips, values\).*\(6, 4, 2\)"),
    "other test values": (
        {"tx": X[:2], "ty": X[:2, :, 0]},
        "regression",
        {"x_test": "tx", "y_test": "ty"},
        r"data\.y_test must hold as many values.*4 and 1",
    ),
    "values to forecast": ({}, "forecasting", {"y": "y"}, r"data\.y must be left out.*y='y'"),
    "test values to forecast": (
        {"tx": X},
        "forecasting",
        {"x_test": "tx", "y_test": "y"},
        r"data\.y_test must be left out",
    ),
    "frames to forecast": ({"x": make_frames()}, "forecasting", {}, r"\(clips, steps, channels\)"),
    "no such target": (
        {},
        "forecasting",
        {"targets": "flow"},
        r"data\.targets must .*'flow'.*Known",
    ),
    "a target twice": ({}, "forecasting", {"targets": ["channel_0"] * 2}, r"each channel once"),
    "targets to classify": (
        {},
        "classification",
        {"targets": "a"},
        r"data\.targets must be left out",
    ),
    "other flags": ({"y": FLAGS}, "anomaly", {}, r"data\.y must flag.*value (np\.int64\()?2"),
    "flags of other steps": ({"y": np.zeros((6, 3), int)}, "anomaly", {}, r"each step.*\(6, 3\)"),
    "float flags": ({"y": Y * 1.0}, "anomaly", {}, r"dtype=float64"),
    "streams of frames": ({}, "frames", {}, r"data\.x must have the axes.*height.*\(6, 4, 2\)"),
    "frames of another size": (
        {"x": make_frames(), "y": np.zeros((6, 2, 3, 2, 1), np.uint8)},
        "frames",
        {"y": "y", "horizon": 2},
        r"data\.y must have frames of the same shape",
    ),
    "frames of fewer clips": (
        {"x": make_frames(), "y": make_frames()[:5]},
        "frames",
        {"y": "y", "horizon": 3},
        r"data\.y must hold the frames to predict for each clip.*5 clips for 6",
    ),
    "another horizon": (
        {"x": make_frames(), "y": make_frames(2)},
        "frames",
        {"y": "y", "horizon": 3},
        r"task\.horizon must be .*Received: horizon=3.*Write task\.horizon=2",
    ),
    "nan to predict": (
        {"x": make_frames(), "y": np.full((6, 1, 2, 2, 1), np.nan)},
        "frames",
        {"y": "y"},
        r"data\.y must hold finite",
    ),
    "missing test frames": (
        {"x": make_frames(), "y": make_frames(1)},
        "frames",
        {"y": "y", "x_test": "x"},
        r"data\.y_test must be given",
    ),
    "long lengths": (
        {"n": Y + 4},
        "classification",
        {"lengths": "n"},
        r"from 1 to 4.*5 for clip 1",
    ),
    "no lengths": ({"n": Y}, "classification", {"lengths": "n"}, r"from 1 to 4.*0 for clip 0"),
    "float lengths": ({"n": Y + 1.5}, "classification", {"lengths": "n"}, r"whole numbers"),
    "lengths without the test clips": (
        {"n": Y + 1},
        "classification",
        {"lengths": "n", "x_test": "x", "y_test": "y"},
        r"data\.x and then of data\.x_test.*\(6,\) for 12 clips",
    ),
    "other sides": (
        {"s": np.array(["train", "tset"] * 3)},
        "classification",
        {"sides": "s"},
        r"data\.sides must hold 'train'.*'tset' for clip 1, and 2 more.*Did you mean 'test'",
    ),
    "a group on two sides": (
        {"s": np.array(["train", "test"] * 3), "g": np.array(list("aabbcd"))},
        "classification",
        {"sides": "s", "groups": "g"},
        r"data\.sides must keep each group.*clips of group 'a', 'b' on two sides",
    ),
    "a group in two folds": (
        {"f": Y, "g": np.array(list("aabcde"))},
        "classification",
        {"folds": "f", "groups": "g", "test_fold": 0},
        r"data\.folds must keep each group.*group 'a' on",
    ),
    "folds and no test fold": (
        {"f": np.arange(6) // 2},
        "classification",
        {"folds": "f"},
        r"split\.test_fold must be one of the folds 0, 1, 2.*test_fold=None",
    ),
    "no such fold": (
        {"f": np.arange(6) // 2},
        "classification",
        {"folds": "f", "test_fold": 7},
        r"split\.test_fold must be one of the folds 0, 1, 2.*test_fold=7",
    ),
    "one fold": ({"f": Y * 0}, "classification", {"folds": "f", "test_fold": 0}, r"two folds"),
    "folds of fractions": (
        {"f": Y / 2},
        "classification",
        {"folds": "f"},
        r"data\.folds .*float64",
    ),
    "a test fold and no folds": (
        {},
        "classification",
        {"test_fold": 1},
        r"data\.folds must be given",
    ),
    "folds and sides": (
        {"f": Y},
        "classification",
        {"folds": "f", "sides": "f"},
        r"data\.sides must not be given beside data\.folds",
    ),
    "folds and test clips": (
        {"f": Y},
        "classification",
        {"folds": "f", "x_test": "x", "y_test": "y"},
        r"data\.folds must not be given beside data\.x_test",
    ),
    "a channel twice": (
        {"c": np.array(["a", "a"])},
        "classification",
        {"channels": "c"},
        r"data\.channels must name each channel.*1 names for 2",
    ),
}


@pytest.mark.parametrize(
    ("arrays", "kind", "settings", "message"), BAD_TASKS.values(), ids=BAD_TASKS
)
def test_arrays_that_do_not_fit_the_task_are_refused(
    tmp_path: Path, arrays: dict[str, Any], kind: str, settings: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, **arrays)
    with pytest.raises(SearchError, match=message):
        load(path, kind, **settings)


BAD_SHEETS = {
    "missing": (None, {}, ConfigError, r"data\.sheet must name a CSV file: No such file"),
    "empty": ([], {}, DataError, r"data\.sheet must be a CSV file.*No columns"),
    "more fields": (["a", "1,2", "3,4"], {}, DataError, r"a name for each field"),
    "a name in both": (["y", *"010101"], {"y": "y"}, ConfigError, r"data\.y must name one thing"),
    "no such column": (["state", *"010101"], {"y": "stat"}, ConfigError, r"Did you mean 'state'"),
    "empty cell": (
        ["a,b", "0,1", "1,1", ",1", "1,1", ",1", "1,1"],
        {"y": "a"},
        DataError,
        r"data\.y must have a value in every line.*2 empty cells in column 'a', .*line 4",
    ),
    "fewer lines": (["a", *"01010"], {"y": "a"}, DataError, r"one label or value.*\(5,\)"),
    "fewer groups": (["a", *"01010"], {"groups": "a"}, DataError, r"data\.groups .*\(5,\) for 6"),
}


@pytest.mark.parametrize(
    ("lines", "settings", "error", "message"), BAD_SHEETS.values(), ids=BAD_SHEETS
)
def test_a_sheet_that_does_not_fit_is_refused(
    tmp_path: Path,
    lines: list[str] | None,
    settings: dict[str, str],
    error: type[SearchError],
    message: str,
) -> None:
    sheet = tmp_path / "none.csv" if lines is None else write_sheet(tmp_path, *lines)
    path = write(tmp_path)
    with pytest.raises(error, match=message):
        load(path, sheet=sheet, **settings)


def test_a_sheet_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(DataError, match=r"data\.sheet must be a CSV file in UTF-8"):
        load(path, sheet=path)


def test_a_broken_array_in_a_folder_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"data\.x must be an array of plain values"):
        load(tmp_path)


def test_pickled_arrays_in_a_folder_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(object), allow_pickle=True)
    with pytest.raises(DataError, match=r"data\.x .*never with dtype=object"):
        load(tmp_path)


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
    (
        missing,
        ConfigError,
        r"data\.path must name an \.npz file or a folder.*there is no such file",
    ),
    (folder, ConfigError, r"data\.path must name an \.npz file or a folder.*this folder has none"),
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
        load(path)
