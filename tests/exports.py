"""Exports of models whose answers are known, made without a study."""

import hashlib
import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import keras

from search.results.answering import FORMAT

HAS_EXTRA = importlib.util.find_spec("onnxruntime") is not None
"""Whether ONNX and LiteRT can be written here."""
FACTS: dict[str, Any] = {
    "format": FORMAT,
    "task": "forecasting",
    "space": "sensor",
    "sequence_length": 3,
    "rows_between_steps": 1,
    "row_shape": [2],
    "output_shape": [1, 2],
    "horizon": 1,
    "channels": ["a", "b"],
    "classes": [],
    "variables": ["a", "b"],
    "mean": [1.0, 10.0],
    "scale": [2.0, 5.0],
    "truth_mean": [1.0, 10.0],
    "truth_scale": [2.0, 5.0],
    "scaled_apart": {},
    "data": {"source": "table"},
}


def write_export(folder: Path, model: keras.Model, **facts: Any) -> Path:
    """Write a model, what it is used with, and the checksums of both."""
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "preprocessing.json").write_text(json.dumps({**FACTS, **facts}))
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("model.keras", "preprocessing.json")
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def convert_for_ever(*, place: str, **_: str) -> None:
    """Stand for a converter that an unrolled LSTM keeps busy."""
    Path(f"{place}.begun").touch()
    signal.pause()


def compare_for_ever(**_: str) -> None:
    """Stand for a runtime that does not get through what was converted."""
    signal.pause()


def repeat_last_row(steps: int = 3, channels: int = 2) -> keras.Model:
    """Expect that the next row is the last one again."""
    inputs = keras.Input((steps, channels))
    return keras.Model(inputs, keras.layers.Cropping1D((steps - 1, 0))(inputs))


def expect_nothing(steps: int = 3, channels: int = 2) -> keras.Model:
    """Expect every row of a window at its mean."""
    inputs = keras.Input((steps, channels))
    return keras.Model(inputs, keras.layers.Rescaling(0.0)(inputs))
