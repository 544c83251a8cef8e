"""New data are answered for by models whose answers are known."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from exports import expect_nothing, repeat_last_row, write_export

from search.errors import DataError, SearchError, StudyError
from search.results.prediction import predict_data

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ANOMALY = {
    "task": "anomaly",
    "errors": "absolute",
    "rule": "window",
    "quantile": 1.0,
    "margin": 2.0,
    "threshold_by": "recording",
    "threshold": 0.5,
    "horizon": 0,
    "variables": [],
    "row_shape": [1],
    "output_shape": [3, 1],
    "recordings": ["old.csv"],
    "channels": ["a"],
    "mean": [0.0],
    "scale": [1.0],
}


OWN_LAYER = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs
"""


def write_table(folder: Path, **columns: Any) -> Path:
    path = folder / "new.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_every_row_of_a_table_with_enough_before_it_is_answered_for(tmp_path: Path) -> None:
    export = write_export(
        tmp_path / "export",
        repeat_last_row(),
        data={"source": "table", "unit": "who", "time": ["t"]},
    )
    rows = np.random.default_rng(0).standard_normal((7, 2))
    stamps = pd.date_range("2020-01-01", periods=7, freq="h")
    data = write_table(tmp_path, t=stamps, b=rows[:, 1], a=rows[:, 0], who=[*"yyyyxxx"])
    found = predict_data(export, data, tmp_path / "out.csv")
    assert (found.answers, found.recordings, found.passed_over) == (3, 2, 0)
    table = pd.read_csv(tmp_path / "out.csv", parse_dates=["time"])
    assert table.columns.tolist() == ["recording", "row", "time", "a +1", "b +1"]
    assert table["recording"].tolist() == ["y", "y", "x"]
    assert table["row"].tolist() == [2, 3, 2]
    assert table["time"].tolist() == stamps[[2, 3, 6]].tolist()
    np.testing.assert_allclose(table[["a +1", "b +1"]], rows[[2, 3, 6]], rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_a_recording_without_a_whole_window_is_counted_and_parquet_is_written(
    tmp_path: Path,
) -> None:
    data = {"source": "table", "unit": "who"}
    export = write_export(tmp_path / "export", repeat_last_row(), data=data)
    table = write_table(tmp_path, a=[1.0] * 5, b=[2.0] * 5, who=[*"yyyxx"])
    found = predict_data(export, table, tmp_path / "out.parquet")
    assert (found.answers, found.recordings, found.passed_over) == (1, 1, 1)
    assert pd.read_parquet(tmp_path / "out.parquet")["b +1"].tolist() == pytest.approx([2.0])


def test_frames_are_written_as_arrays(tmp_path: Path) -> None:
    inputs = keras.Input((2, 1, 3, 1))
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    facts = {"task": "frames", "sequence_length": 2, "row_shape": [1, 3, 1], "mean": [0.0]}
    facts |= {"scale": [255.0], "channels": ["grey"], "data": {"source": "digits"}}
    export = write_export(tmp_path / "export", model, **facts)
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 1, 3, 1), np.uint8)
    np.savez(tmp_path / "raw.npz", raw=clips)
    predict_data(export, tmp_path / "raw.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        np.testing.assert_allclose(out["frames"], clips[:, -2:], atol=1e-4)
        assert out["recording"].tolist() == ["clip 0", "clip 1"]
        assert out["row"].tolist() == [3, 3]
    with pytest.raises(StudyError, match=r"must end in \.npz for a model of task.kind='frames'"):
        predict_data(export, tmp_path / "raw.npz", tmp_path / "out.csv")


NEW = [1.0, -1.0, 1.0, -1.0, 5.0, 1.0, 1.0, 1.0]
"""Normal around 0, but for row 4."""


def detect(tmp_path: Path, normal_rows: int | None = None, **facts: Any) -> pd.DataFrame:
    export = write_export(tmp_path / "export", expect_nothing(channels=1), **(ANOMALY | facts))
    table = write_table(tmp_path, a=NEW)
    predict_data(export, table, tmp_path / "out.csv", normal_rows=normal_rows)
    return pd.read_csv(tmp_path / "out.csv")


def test_without_normal_rows_the_studys_threshold_judges(tmp_path: Path) -> None:
    found = detect(tmp_path)
    # the mean of three absolute values
    assert found["error"].tolist() == pytest.approx([1, 1, 7 / 3, 7 / 3, 7 / 3, 1])
    assert found["threshold"].unique().tolist() == [0.5]
    assert found["anomalous"].all()


def test_the_threshold_of_a_new_recording_rests_on_its_own_normal_rows(tmp_path: Path) -> None:
    found = detect(tmp_path, normal_rows=4)
    assert found["threshold"].unique().tolist() == [2.0]
    assert found["anomalous"].tolist() == [False, False, True, True, True, False]


def test_a_row_is_anomalous_where_all_windows_are_that_show_it(tmp_path: Path) -> None:
    found = detect(tmp_path, normal_rows=4, rule="covering")
    # rows 5 and 6 are shown by the window that ends at row 7, too
    assert found["row"][found["anomalous"]].tolist() == [4]


def test_a_recording_that_the_study_knew_has_the_threshold_that_it_had(tmp_path: Path) -> None:
    export = write_export(
        tmp_path / "export",
        expect_nothing(channels=1),
        **ANOMALY,
        threshold_recording_0=9.0,
    )
    for name, limit in (("new.csv", 0.5), ("old.csv", 9.0)):
        table = write_table(tmp_path, a=NEW).rename(tmp_path / name)
        predict_data(export, table, tmp_path / "out.csv")
        assert pd.read_csv(tmp_path / "out.csv")["threshold"].unique().tolist() == [limit]


def test_all_pieces_of_a_recording_are_judged_as_the_study_judged_it(tmp_path: Path) -> None:
    data = {"source": "table", "time": ["t"], "gaps": "split"}
    facts = ANOMALY | {"threshold_recording_0": 9.0, "data": data}
    export = write_export(tmp_path / "export", expect_nothing(channels=1), **facts)
    path = write_table(tmp_path, t=[0, 1, 2, 3, 7, 8, 9, 10], a=NEW).rename(tmp_path / "old.csv")
    for normal_rows, limit in ((None, 9.0), (4, 2.0)):
        predict_data(export, path, tmp_path / "out.csv", normal_rows=normal_rows)
        found = pd.read_csv(tmp_path / "out.csv")
        assert found["recording"].tolist() == ["old.csv"] * 2 + ["old.csv#2"] * 2
        assert found["threshold"].unique().tolist() == [limit]


def test_a_clip_of_a_new_array_is_not_the_studys_of_the_same_number(tmp_path: Path) -> None:
    known = {"recordings": ["clip 0"], "threshold_recording_0": 9.0}
    data = {"source": "arrays", "x": "streams"}
    facts = ANOMALY | known | {"data": data}
    export = write_export(tmp_path / "export", expect_nothing(channels=1), **facts)
    np.savez(tmp_path / "new.npz", streams=np.array(NEW, np.float32)[None, :, None])
    predict_data(export, tmp_path / "new.npz", tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["threshold"].unique().tolist() == [0.5]


def test_rows_with_missing_values_scale_nothing(tmp_path: Path) -> None:
    data = {"source": "table", "missing": "drop"}
    facts = ANOMALY | {"scaled_apart": {"old.csv": [[7.0], [3.0]]}, "data": data}
    facts["threshold_by"] = "all"
    export = write_export(tmp_path / "export", expect_nothing(channels=1), **facts)
    table = write_table(tmp_path, a=[101.0, 99.0, None, 101.0, 99.0, 103.0], b=[1] * 6)
    predict_data(export, table, tmp_path / "out.csv", normal_rows=5)
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["row"].tolist() == [5]
    # mean 100 and spread 1
    assert found["error"].tolist() == pytest.approx([5 / 3])
    write_table(tmp_path, a=[None, None, 1.0, 2.0, 3.0], b=[1] * 5)
    with pytest.raises(DataError, match=r"none among the first 2 of 'new\.csv'"):
        predict_data(export, table, tmp_path / "out.csv", normal_rows=2)


def test_raw_windows_of_a_study_that_scaled_apart_are_scaled_already(tmp_path: Path) -> None:
    facts = ANOMALY | {"scaled_apart": {"old.csv": [[7.0], [3.0]]}}
    export = write_export(tmp_path / "export", expect_nothing(channels=1), **facts)
    np.savez(tmp_path / "raw.npz", raw=np.full((2, 3, 1), 4.0))
    predict_data(export, tmp_path / "raw.npz", tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["error"].tolist() == [4.0, 4.0]
    with pytest.raises(DataError, match="must be left out for raw windows"):
        predict_data(export, tmp_path / "raw.npz", tmp_path / "out.csv", normal_rows=3)


def test_raw_windows_have_no_normal_rows_that_could_judge_them(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", expect_nothing(channels=1), **ANOMALY)
    np.savez(tmp_path / "raw.npz", raw=np.full((2, 3, 1), 4.0))
    with pytest.raises(DataError, match="must be left out for raw windows"):
        predict_data(export, tmp_path / "raw.npz", tmp_path / "out.csv", normal_rows=3)


def test_a_variable_may_be_called_as_a_column_of_ours(tmp_path: Path) -> None:
    facts = {"task": "regression", "horizon": 0, "variables": ["row", "b"]}
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling1D()(inputs))
    export = write_export(tmp_path / "export", model, **facts)
    predict_data(export, write_table(tmp_path, a=[1.0] * 3, b=[2.0] * 3), tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found.columns.tolist() == ["recording", "row", "row (predicted)", "b"]


def test_layers_of_a_persons_own_come_from_the_module_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "layers_of_mine.py").write_text(OWN_LAYER)
    monkeypatch.chdir(tmp_path)
    code = "from layers_of_mine import Twice; from exports import *; import keras\n"
    code += (
        "inputs = keras.Input((3, 2)); outputs = keras.layers.Cropping1D((2, 0))(Twice()(inputs))\n"
    )
    code += (
        "write_export(Path('export'), keras.Model(inputs, outputs), space='layers_of_mine:build')"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path[1:]])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})
    table = write_table(tmp_path, a=[1.0] * 3, b=[10.0] * 3)
    with pytest.raises(StudyError, match="Import layers_of_mine first"):
        predict_data(tmp_path / "export", table, tmp_path / "out.csv")
    with pytest.raises(StudyError, match="--module must be a module that can be imported"):
        predict_data(tmp_path / "export", table, tmp_path / "out.csv", module="not_there")
    predict_data(tmp_path / "export", table, tmp_path / "out.csv", module="layers_of_mine")
    # at the mean, which stays there
    assert pd.read_csv(tmp_path / "out.csv")["b +1"].tolist() == [10.0]


def test_a_new_recording_is_scaled_by_its_own_normal_rows(tmp_path: Path) -> None:
    facts = {"scaled_apart": {"old.csv": [[7.0], [3.0]]}, "data": {"source": "table"}}
    with pytest.raises(DataError, match=r"--normal_rows must be given .*Received: 'new\.csv'"):
        detect(tmp_path, **facts)
    table = tmp_path / "new.csv"
    predict_data(tmp_path / "export", table, tmp_path / "out.csv", normal_rows=4)
    # the first four rows have mean 0 and spread 1
    errors = pd.read_csv(tmp_path / "out.csv")["error"]
    assert errors.tolist() == pytest.approx([1, 1, 7 / 3, 7 / 3, 7 / 3, 1])
    # one that the study knew is scaled as it was there
    table.rename(tmp_path / "old.csv")
    predict_data(tmp_path / "export", tmp_path / "old.csv", tmp_path / "out.csv")
    errors = pd.read_csv(tmp_path / "out.csv")["error"]
    assert errors[0] == pytest.approx(np.mean([2, 8 / 3, 2]))


def test_a_new_recording_is_scaled_by_its_first_rows_to_be_classified_too(tmp_path: Path) -> None:
    inputs = keras.Input((3, 2))
    pooled = keras.layers.GlobalAveragePooling1D()(inputs)
    facts = {"task": "classification", "horizon": 0, "classes": ["low", "high"], "variables": []}
    apart = {"scaled_apart": {"old.csv": [[7.0], [3.0]]}, "output_shape": [2]}
    model = keras.Model(inputs, keras.layers.Softmax()(pooled))
    export = write_export(tmp_path / "export", model, **facts, **apart)
    table = write_table(tmp_path, a=[-1.0, 1.0, -1.0, 1.0, 3.0], b=[10.0, 30.0, 10.0, 30.0, 20.0])
    with pytest.raises(DataError, match="--normal_rows must be given"):
        predict_data(export, table, tmp_path / "out.csv")
    predict_data(export, table, tmp_path / "out.csv", normal_rows=4)
    # by the first four rows both channels have mean 0 and spread 1: the last window is (1, -1, 3) and (1, -1, 0)
    expected = 1 / (1 + np.exp(0.0 - 1.0))
    assert pd.read_csv(tmp_path / "out.csv")["probability of low"].iloc[-1] == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("out", "rows", "message"),
    [
        ("out.txt", None, r"--out must end in \.csv or \.parquet"),
        ("none/out.csv", None, r"--out must be a file that can be written: No such file"),
        ("out.csv", 5, "--normal_rows must be left out unless"),
        (".", None, "--out must end in"),
    ],
)
def test_what_cannot_be_written_or_judged_is_said_first(
    tmp_path: Path, out: str, rows: int | None, message: str
) -> None:
    export = write_export(tmp_path / "export", repeat_last_row())
    with pytest.raises(SearchError, match=message):
        predict_data(export, tmp_path / "not_read.csv", tmp_path / out, normal_rows=rows)


@pytest.mark.parametrize("out", ["new.csv", "export/out.csv"])
def test_what_is_read_is_not_written_over(tmp_path: Path, out: str) -> None:
    export = write_export(tmp_path / "export", repeat_last_row())
    data = write_table(tmp_path, a=[1.0] * 4, b=[1.0] * 4)
    with pytest.raises(StudyError, match="it is read, or lies in a folder that is"):
        predict_data(export, data, tmp_path / out)
    assert data.read_text().startswith("a,b\n1.0")


def test_a_folder_that_is_no_export_and_a_changed_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"An export must hold model\.keras"):
        predict_data(tmp_path, tmp_path / "new.csv", tmp_path / "out.csv")
    export = write_export(tmp_path / "export", repeat_last_row())
    with (export / "model.keras").open("ab") as file:
        file.write(b"more")
    with pytest.raises(StudyError, match="another checksum"):
        predict_data(export, tmp_path / "new.csv", tmp_path / "out.csv")


def test_a_file_stays_as_it_was_where_the_new_data_are_refused(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", repeat_last_row())
    (tmp_path / "out.csv").write_text("older")
    with pytest.raises(SearchError, match="Received: 'b'"):
        predict_data(export, write_table(tmp_path, a=[1.0] * 4), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "older"
