from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from search.config import SequenceLengthConfig, SplitConfig, StudyConfig, make_config
from search.data.preparation import prepare_data
from search.data.sequences import SIDES, Array, SequenceData
from search.data.targets import sequence_lengths
from search.errors import ConfigError, DataError


def write(folder: Path, clips: Array, **arrays: Array) -> Path:
    path = folder / "clips.npz"
    labels = np.arange(len(clips)) // 2 % 2
    np.savez(path, **({"x": clips, "y": labels} | arrays))
    return path


def configure(path: Path, **data: Any) -> StudyConfig:
    return make_config(
        {
            "name": "test",
            "data": {"source": "arrays", "path": path, **data},
            "split": {"method": "blocks", "blocks": 1},
        }
    )


def draw(count: int = 60) -> Array:
    return np.random.default_rng(0).normal(5, 3, (count, 8, 3)).astype(np.float32)


def test_prepared_data_are_mapped_scaled_and_equal_for_every_reader(tmp_path: Path) -> None:
    data, place = prepare_data(configure(write(tmp_path, draw())), tmp_path / "data")
    assert isinstance(data.rows, np.memmap)
    assert not data.rows.flags.writeable
    assert place == tmp_path / "data" / data.card.fingerprint[:16]
    again = SequenceData.load(place)
    assert again.card == data.card
    np.testing.assert_array_equal(again.rows, data.rows)
    whole = data.rows * np.float32(data.card.scale) + np.float32(data.card.mean)
    np.testing.assert_allclose(whole.reshape(60, 8, 3), draw(), rtol=1e-5)


def test_equal_values_at_another_rate_are_other_data(tmp_path: Path) -> None:
    steps = []
    for unit in ("h", "10min"):
        times = pd.date_range("2026-01-01", periods=900, freq=unit)
        table = pd.DataFrame({"t": times, "a": np.sin(np.arange(900))})
        table.to_csv(tmp_path / "t.csv", index=False)
        config = make_config(
            {
                "name": "test",
                "data": {"source": "table", "path": tmp_path / "t.csv", "time": "t"},
                "task": {"kind": "forecasting"},
                "split": {"method": "time"},
            }
        )
        data, _ = prepare_data(config, tmp_path / "data")
        steps.append(data.card.step)
    assert steps == [3600 * 10**9, 600 * 10**9]


@pytest.mark.parametrize("name", ["rows.npy", "train_ends.npy", "card.json"])
def test_prepared_data_that_are_damaged_are_told_of(tmp_path: Path, name: str) -> None:
    config = configure(write(tmp_path, draw()))
    _, place = prepare_data(config, tmp_path / "data")
    whole = (place / name).read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        (place / name).write_bytes(content)
        with pytest.raises(DataError, match="Remove that folder"):
            prepare_data(config, tmp_path / "data")


def test_only_training_rows_decide_the_scale(tmp_path: Path) -> None:
    clips = draw()
    calm, _ = prepare_data(configure(write(tmp_path, clips)), tmp_path / "data")
    held_out = np.concatenate([calm.ends["validation"], calm.ends["test"]]) // 8
    clips[held_out] += 1000
    wild, _ = prepare_data(configure(write(tmp_path, clips)), tmp_path / "data")
    assert wild.card.mean == calm.card.mean
    assert wild.card.scale == calm.card.scale
    train = wild.windows("train", 8).reshape(-1, 3)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-5)


def test_a_drawn_side_is_scaled_by_its_own_training_rows_and_kept_apart(tmp_path: Path) -> None:
    config = configure(write(tmp_path, draw()))
    config = config.model_copy(update={"split": SplitConfig(method="stratified")})
    own, _ = prepare_data(config, tmp_path / "data")
    drawn, place = prepare_data(config, tmp_path / "data", draw=(7, tmp_path / "draws"))
    assert place.parent == tmp_path / "draws"
    assert drawn.ends["test"].tolist() == own.ends["test"].tolist()
    assert drawn.ends["validation"].tolist() != own.ends["validation"].tolist()
    train = drawn.windows("train", 8).reshape(-1, 3)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)


def test_a_constant_channel_keeps_its_scale(tmp_path: Path) -> None:
    clips = draw()
    clips[..., 1] = 7.7
    data, _ = prepare_data(configure(write(tmp_path, clips)), tmp_path / "data")
    assert data.card.scale[1] == 1
    np.testing.assert_allclose(data.rows[:, 1], 0, atol=1e-5)


def test_frames_are_scaled_by_channel(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (60, 4, 5, 6, 2)).astype(np.uint8)
    data, _ = prepare_data(configure(write(tmp_path, frames)), tmp_path / "data")
    assert data.rows.shape == (240, 5, 6, 2)
    assert len(data.card.mean) == 2
    train = data.windows("train", 4)
    np.testing.assert_allclose(train.mean(axis=(0, 1, 2, 3)), 0, atol=1e-4)


def test_masks_of_zero_and_one_are_no_nearly_black_pictures(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (40, 6, 4, 4, 1), dtype=np.uint8)
    path = tmp_path / "masks.npz"
    np.savez(path, x=masks, scene=np.arange(40) // 4)
    settings = {"source": "arrays", "path": path, "groups": "scene"}
    task = {"kind": "frames", "horizon": 1}
    config = make_config({"name": "m", "space": "seq2seq", "data": settings, "task": task})
    data, _ = prepare_data(config, tmp_path / "data")
    assert data.card.scale == (1.0,)


def test_frames_to_predict_lie_in_the_range_that_answers_end_at(tmp_path: Path) -> None:
    brighter = np.arange(40)[:, None] % 4 + np.arange(6) ** 2.0  # ends at 28, after at most 19
    clips = np.broadcast_to(brighter[:, :, None, None, None], (40, 6, 4, 4, 1)).astype("float32")
    path = tmp_path / "warming.npz"
    np.savez(path, x=clips, scene=np.arange(40) // 4)
    settings = {"source": "arrays", "path": path, "groups": "scene"}
    task = {"kind": "frames", "horizon": 1}
    config = make_config({"name": "m", "space": "seq2seq", "data": settings, "task": task})
    data, _ = prepare_data(config, tmp_path / "data")
    assert (data.rows.min(), data.rows.max()) == (0, 1)


def prepare_table(folder: Path, table: dict[str, Array], **settings: Any) -> SequenceData:
    pd.DataFrame(table).to_csv(folder / "t.csv", index=False)
    data = {"source": "table", "path": folder / "t.csv"}
    split = {"method": "time"}
    config = make_config({"name": "t", "data": data, "split": split} | settings)
    return prepare_data(config, folder / "data")[0]


def test_anomalies_in_training_rows_decide_no_scale(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(2000)
    flags = np.zeros(2000, int)
    flags[[300, 700, 1900]] = 1
    values[[300, 700]] = 60
    task = {"kind": "anomaly"}
    length = {"high": 8}
    table = {"a": values, "faulty": flags}
    data = {"source": "table", "path": tmp_path / "t.csv", "targets": "faulty"}
    found = prepare_table(tmp_path, table, data=data, task=task, sequence_length=length)
    assert found.card.scale[0] == pytest.approx(1, abs=0.1)


def test_values_far_from_zero_are_no_leak(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = {
        "longitude": 13.405 + rng.normal(0, 0.0003, 2000),
        "seconds": 1.7e9 + rng.normal(0, 25_000, 2000),
        "a": rng.standard_normal(2000),
    }
    task = {"kind": "forecasting", "horizon": 2}
    found = prepare_table(tmp_path, table, task=task, sequence_length={"high": 8})
    assert len(found.ends["test"]) > 300


def test_no_recording_is_scaled_by_rows_of_its_tests_that_training_windows_show(
    tmp_path: Path,
) -> None:
    sides = np.repeat(["train", "validation", "test", "train"], [500, 200, 200, 500])
    values = np.random.default_rng(0).standard_normal(1400) + 50 * (sides == "test")
    flags = (np.arange(1400) == 800).astype(int)
    data = {"source": "table", "path": tmp_path / "t.csv", "targets": "faulty", "sides": "side"}
    found = prepare_table(
        tmp_path,
        {"a": values, "faulty": flags, "side": sides},
        data=data | {"scaling": "recording"},
        task={"kind": "anomaly"},
        sequence_length={"high": 20},
    )
    [(mean, scale)] = found.card.scaled_apart.values()
    assert (mean[0], scale[0]) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))


@pytest.mark.parametrize(
    ("task", "scaling"),
    [({"threshold_by": "recording"}, "all"), ({}, "recording")],
    ids=["task.threshold_by='recording'", "data.scaling='recording'"],
)
def test_what_each_recording_has_of_its_own_needs_a_split_by_time(
    tmp_path: Path, task: dict[str, str], scaling: str, request: pytest.FixtureRequest
) -> None:
    table = {"a": np.arange(400.0), "faulty": np.zeros(400, int)}
    data = {"source": "table", "path": tmp_path / "t.csv", "targets": "faulty"}
    data |= {"scaling": scaling}
    with pytest.raises(ConfigError, match=f"{request.node.callspec.id} must come with split.meth"):
        prepare_table(tmp_path, table, data=data, split={}, task={"kind": "anomaly", **task})


def test_a_test_fold_of_a_source_without_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"test_fold must be left out for data\.source='table'"):
        prepare_table(tmp_path, {"a": np.arange(400.0)}, split={"test_fold": 0})


def test_a_recording_without_training_rows_of_its_own_is_named(tmp_path: Path) -> None:
    table = {"u": np.arange(600) // 300, "t": np.arange(600) % 300 + np.arange(600) // 300 * 250}
    table |= {"a": np.arange(600.0), "faulty": (np.arange(600) % 300 > 270).astype(int)}
    data = {"source": "table", "path": tmp_path / "t.csv", "targets": "faulty", "unit": "u"}
    data |= {"time": "t", "channels": "a", "scaling": "recording"}
    borders = {"validation_from": "1970-01-01 00:03:20", "test_from": "1970-01-01 00:04:20"}
    with pytest.raises(DataError, match=r"none in '1'\. Leave it out of the data, let validation"):
        prepare_table(
            tmp_path,
            table,
            data=data,
            split={"method": "time", **borders},
            task={"kind": "anomaly"},
            sequence_length={"high": 8},
        )


def test_the_pieces_of_a_recording_are_scaled_as_one_by_its_first_rows(tmp_path: Path) -> None:
    seconds = np.delete(np.arange(2000), [700, 1500])
    values = np.where(seconds < 1000, np.random.default_rng(0).standard_normal(1998), 50)
    data = {"source": "table", "path": tmp_path / "t.csv", "time": "t", "targets": "faulty"}
    data |= {"gaps": "split", "scaling": "recording"}
    found = prepare_table(
        tmp_path,
        {"t": seconds, "a": values, "faulty": (seconds % 700 == 699).astype(int)},
        data=data,
        split={"method": "time", "validation_from": 900, "test_from": 1200},
        task={"kind": "anomaly", "threshold_by": "recording"},
        sequence_length={"high": 8},
    )
    assert found.card.recordings == ("t.csv",) * 3
    [(mean, scale)] = found.card.scaled_apart.values()
    assert (mean[0], scale[0]) == (pytest.approx(0, abs=0.2), pytest.approx(1, abs=0.2))
    assert np.unique(found.recordings["test"]).tolist() == [1, 2]
    assert np.unique(found.wholes("test")).tolist() == [0]


def test_equal_data_are_prepared_once(tmp_path: Path) -> None:
    config = configure(write(tmp_path, draw()))
    _, first = prepare_data(config, tmp_path / "data")
    made = (first / "rows.npy").stat().st_ino
    _, second = prepare_data(config.model_copy(update={"name": "other"}), tmp_path / "data")
    assert second == first
    assert (second / "rows.npy").stat().st_ino == made
    assert [path.name for path in (tmp_path / "data").iterdir()] == [first.name]


CHANGES = {
    "rows": {"x": draw() + np.float32(0.001)},
    "labels": {"y": (np.arange(60) // 2 + 1) % 2},
    "class names": {"k": np.array(["no", "yes"])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_data_have_another_fingerprint(tmp_path: Path, change: dict[str, Array]) -> None:
    names = {"k": np.array(["good", "bad"])}
    one, _ = prepare_data(configure(write(tmp_path, draw(), **names), classes="k"), tmp_path)
    path = write(tmp_path, **({"clips": draw()} | names | change))
    other, _ = prepare_data(configure(path, classes="k"), tmp_path)
    assert one.card.fingerprint != other.card.fingerprint


def test_another_split_has_another_fingerprint(tmp_path: Path) -> None:
    config = configure(write(tmp_path, draw()))
    split = config.split.model_copy(update={"validation": 0.3})
    one, _ = prepare_data(config, tmp_path)
    other, _ = prepare_data(config.model_copy(update={"split": split}), tmp_path)
    assert one.card.fingerprint != other.card.fingerprint


def test_refused_data_leave_nothing_behind(tmp_path: Path) -> None:
    clips = draw()
    clips = clips[np.arange(60) % 20]
    with pytest.raises(DataError, match="No raw row may stand on two sides"):
        prepare_data(configure(write(tmp_path, clips)), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_an_interrupted_writer_left_is_not_read(tmp_path: Path) -> None:
    config = configure(write(tmp_path, draw()))
    data, place = prepare_data(config, tmp_path / "data")
    left = tmp_path / "data" / ".writing-left" / place.name
    left.parent.mkdir()
    place.rename(left)
    (left / "card.json").unlink()
    again, _ = prepare_data(config, tmp_path / "data")
    assert again.card == data.card
    np.testing.assert_array_equal(again.rows, SequenceData.load(place).rows)


def test_the_embedded_machines_are_ready_for_a_study(tmp_path: Path) -> None:
    config = make_config({"name": "test", "data": {"source": "machine", "machines": 9}})
    data, _ = prepare_data(config, tmp_path)
    assert data.card.audit.endswith("no row stands on two sides.")
    assert all(len(np.unique(data.labels(side))) == len(data.card.classes) for side in SIDES)
    assert data.windows("train", data.card.longest).shape[1:] == (data.card.longest, 5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, (12, 100, 1), id="an eighth to all by default"),
        pytest.param({"high": 40}, (5, 40, 1), id="an eighth of the longest asked for"),
        pytest.param({"low": 10}, (10, 100, 1), id="from low to all"),
        pytest.param({"low": 10, "step": 20}, (10, 90, 20), id="high gives way to the step"),
        pytest.param({"step": 20}, (20, 100, 20), id="a low that nobody asked for gives way"),
        pytest.param({"low": 100}, (100, 100, 1), id="one length"),
        pytest.param({"high": 4}, (1, 4, 1), id="never below one row"),
    ],
)
def test_sequence_lengths_fit_the_data(
    settings: dict[str, int], expected: tuple[int, int, int]
) -> None:
    assert sequence_lengths(SequenceLengthConfig(**settings), longest=100) == expected


@pytest.mark.parametrize("settings", [{"high": 101}, {"low": 200}, {"low": 5, "high": 128}])
def test_sequence_lengths_beyond_the_data_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(DataError, match="sequence_length must be from 1 to 100"):
        sequence_lengths(SequenceLengthConfig(**settings), longest=100)
