"""How raw windows are scaled and outputs read, without a real model."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exports import repeat_last_row, write_export

from search.results.answering import (
    FORMAT,
    Answering,
    AnsweringError,
    load_answering,
    read_numbers,
)

FACTS: dict[str, Any] = {
    "format": FORMAT,
    "task": "classification",
    "space": "sensor",
    "sequence_length": 3,
    "rows_between_steps": 2,
    "row_shape": [2],
    "horizon": 0,
    "channels": ["a", "b"],
    "classes": ["calm", "wild"],
    "variables": [],
    "mean": [1.0, 10.0],
    "scale": [2.0, 5.0],
    "truth_mean": [],
    "truth_scale": [],
    "scaled_apart": {},
}
ANOMALY = {
    "task": "anomaly",
    "errors": "absolute",
    "threshold": 0.5,
    "threshold_recording_1": 4.0,
    "mean": [0.0, 0.0],
    "scale": [1.0, 1.0],
    "scaled_apart": {"one": [[0.0, 0.0], [1.0, 1.0]], "two": [[2.0, 2.0], [0.5, 0.5]]},
    "recordings": ["one", "two", "without a target"],
}
Windows = np.ndarray[Any, Any]


def make_answering(predict: Callable[[Windows], Windows], **facts: object) -> Answering:
    return Answering(model=SimpleNamespace(predict_on_batch=predict), facts={**FACTS, **facts})


def as_shares(scaled: Windows) -> Windows:
    """Probabilities that grow with the last value of the first channel."""
    share = 1 / (1 + np.exp(-scaled[:, -1, 0]))
    return np.stack([1 - share, share], axis=1)


def test_every_second_row_is_read_scaled_and_answered_by_name() -> None:
    answering = make_answering(as_shares)
    assert answering.reach == 5
    windows = np.arange(28.0).reshape(2, 7, 2)
    np.testing.assert_array_equal(answering.cut(windows), windows[:, [2, 4, 6]])
    answer = answering.predict(windows)
    assert isinstance(answer, pd.DataFrame)
    expected = 1 / (1 + np.exp(-(windows[:, -1, 0] - 1) / 2))
    assert answer.columns.tolist() == ["class", "probability of calm", "probability of wild"]
    np.testing.assert_allclose(answer["probability of wild"], expected, rtol=1e-6)
    assert answer["class"].tolist() == ["wild", "wild"]


def test_one_probability_alone_is_that_of_the_second_class() -> None:
    answering = make_answering(lambda scaled: np.full((len(scaled), 1), 0.25))
    answer = answering.predict(np.zeros((1, 5, 2)))
    assert isinstance(answer, pd.DataFrame)
    assert answer.iloc[0].tolist() == ["calm", 0.75, 0.25]


def test_windows_are_predicted_some_at_once_in_their_order() -> None:
    sizes = []

    def predict(scaled: Windows) -> Windows:
        sizes.append(len(scaled))
        return as_shares(scaled)

    windows = np.random.default_rng(0).standard_normal((150, 5, 2))
    answer = read_numbers(make_answering(predict).predict(windows))
    assert sizes == [64, 64, 22]
    apart = [read_numbers(make_answering(as_shares).predict(one[None])) for one in windows]
    np.testing.assert_allclose(answer, np.concatenate(apart), rtol=1e-6)


def test_values_are_told_in_their_own_units_by_steps_ahead() -> None:
    facts = {"variables": ["v", "w"], "truth_mean": [5.0, 0.0], "truth_scale": [2.0, 1.0]}
    outputs = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    answering = make_answering(lambda _: outputs, task="forecasting", horizon=2, **facts)
    answer = answering.predict(np.zeros((1, 5, 2)))
    assert isinstance(answer, pd.DataFrame)
    assert answer.to_dict("records") == [{"v +1": 7.0, "w +1": 2.0, "v +2": 11.0, "w +2": 4.0}]
    answering = make_answering(lambda _: outputs[:, 0], task="regression", **facts)
    answer = answering.predict(np.zeros((1, 5, 2)))
    assert isinstance(answer, pd.DataFrame)
    assert answer.to_dict("records") == [{"v": 7.0, "w": 2.0}]


def test_a_recording_may_have_a_threshold_of_its_own_and_the_scale_of_all() -> None:
    facts = {**ANOMALY, "scaled_apart": {}, "recordings": ["a", "two"]}
    answering = make_answering(lambda scaled: np.zeros_like(scaled[:, -1:]), **facts)
    for recording, limit in (("", 0.5), ("a", 0.5), ("two", 4.0)):
        answer = answering.predict(np.ones((1, 5, 2)), {"recording": recording})
        assert isinstance(answer, pd.DataFrame)
        assert answer.iloc[0].tolist() == [1.0, limit, limit < 1.0]


def test_an_error_that_is_no_number_is_an_alarm() -> None:
    answering = make_answering(lambda scaled: scaled[:, -1:] * np.nan, **ANOMALY)
    answer = answering.predict(np.ones((1, 5, 2)))
    assert isinstance(answer, pd.DataFrame)
    assert answer["anomalous"].tolist() == [True]


def test_frames_come_back_in_the_datas_own_units() -> None:
    facts = {"row_shape": [1, 1, 1], "channels": ["grey"], "mean": [0.0], "scale": [255.0]}
    for shape in ((1, 2, 1, 1, 1), (1, 2)):  # a model may put out flat frames
        outputs = np.full(shape, 1.5)
        answering = make_answering(lambda _, outputs=outputs: outputs, task="frames", **facts)
        answer = answering.predict(np.zeros((1, 5, 1, 1, 1)))
        assert isinstance(answer, np.ndarray)
        assert answer.shape == (1, 2, 1, 1, 1)
        assert answer.max() == 255.0


@pytest.mark.parametrize(
    ("recording", "error", "limit"), [("", 1.0, 0.5), ("one", 1.0, 0.5), ("two", 2.0, 4.0)]
)
def test_a_recording_that_the_study_knew_has_its_own_scale_and_threshold(
    recording: str, error: float, limit: float
) -> None:
    answering = make_answering(lambda scaled: np.zeros_like(scaled[:, -1:]), **ANOMALY)
    answer = answering.predict(np.ones((1, 5, 2)), {"recording": recording})
    assert isinstance(answer, pd.DataFrame)
    assert answer.iloc[0].tolist() == [error, limit, error > limit]


@pytest.mark.parametrize(
    ("windows", "params", "message"),
    [
        (np.zeros((1, 4, 2)), {}, r"shape \(windows, 5 rows or more, 2\).*a, b.*\(1, 4, 2\)"),
        (np.zeros((1, 5, 3)), {}, r"Received: shape=\(1, 5, 3\)"),
        (np.zeros((5, 2)), {}, r"Received: shape=\(5, 2\)"),
        (np.full((1, 5, 2), np.nan), {}, "must hold finite numbers"),
        (np.zeros((1, 5, 2)), {"recording": "three"}, r"'one', 'two'\. Received: .*'three'"),
    ],
)
def test_windows_that_the_model_cannot_read_are_refused(
    windows: Windows, params: dict[str, str], message: str
) -> None:
    answering = make_answering(lambda scaled: scaled[:, -1:], **ANOMALY)
    with pytest.raises(AnsweringError, match=message):
        answering.predict(windows, params)


def test_a_file_that_was_changed_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(AnsweringError, match=r"No such file.*scripts/export_best\.py"):
        load_answering(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"no zip archive")
    (tmp_path / "preprocessing.json").write_text(json.dumps(FACTS))
    names = ("model.keras", "preprocessing.json")
    sums = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (tmp_path / "SHA256SUMS").write_text(lines)
    (tmp_path / "preprocessing.json").write_text(json.dumps({**FACTS, "threshold": 0}))
    with pytest.raises(AnsweringError, match=r"preprocessing\.json must be the file that was"):
        load_answering(tmp_path)
    (tmp_path / "preprocessing.json").write_text(json.dumps(FACTS))
    (tmp_path / "model.keras").write_bytes(b"another")
    with pytest.raises(AnsweringError, match=r"model\.keras must be the file that was exported"):
        load_answering(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_settings_that_are_no_table_are_of_another_format(tmp_path: Path, text: str) -> None:
    files = {"model.keras": "", "preprocessing.json": text}
    lines = []
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        lines.append(f"{hashlib.sha256(content.encode()).hexdigest()}  {name}\n")
    (tmp_path / "SHA256SUMS").write_text("".join(lines))
    with pytest.raises(AnsweringError, match=r"of the format 1.*Export again"):
        load_answering(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_export_of_another_format_is_refused(tmp_path: Path) -> None:
    write_export(tmp_path / "export", repeat_last_row(), format=0)
    with pytest.raises(AnsweringError, match=r"of the format 1.*format=0.*Export again"):
        load_answering(tmp_path / "export")
