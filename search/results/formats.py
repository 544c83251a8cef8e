"""The files of an export, and what the process that builds them tells the one that checks them."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.results.answering import MODEL

KERAS = MODEL
SAVED_MODEL = "saved_model"
REGISTERED = "registered_model"
ONNX = "model.onnx"
LITERT = "model.tflite"
FORMATS = (KERAS, SAVED_MODEL, REGISTERED)
"""The formats that every export has; the last one is registered in MLflow, and reads raw windows."""
CONVERTED: Mapping[str, tuple[str, str]] = {
    ONNX: ("tf2onnx", "onnxruntime"),
    LITERT: ("tensorflow", "ai_edge_litert"),
}
"""The formats of other runtimes: what writes and what loads each."""
ASKED: Mapping[str, str] = {"onnx": ONNX, "litert": LITERT}
"""The converted formats by what ``export.formats`` calls them."""
HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
"""Whether a SavedModel can be written: JAX runs without TensorFlow too."""
LOADER = "lookback_answering"
"""What the file that answers is called in the registered model, where it is a module by itself."""
LOADED_DATA = "registering"
"""What the folder that it reads is called there."""
EXAMPLE = "example.npz"
CARD = "README.md"
SAMPLES = "samples.npz"
"""Beside the export while it is made: scaled windows and the same raw, and what the model predicted
and answered for them in batches of several sizes."""
TOLERANCES: Mapping[str, float] = {
    KERAS: 1e-6,
    SAVED_MODEL: 1e-5,
    REGISTERED: 1e-5,
    ONNX: 1e-4,
    LITERT: 1e-4,
}
"""How far a loaded model's prediction may be from the one made right after building, by format;
where predictions exceed 1, by as many times more."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a rebuilt model is, beside its files.

    Attributes:
        inputs: Shape of one window: (steps, channels), or with a frame's axes between.
        outputs: Shape of one prediction.
        stride: Rows from one step of a window to the next.
        reading: Numbers that a prediction is read with, for example a threshold.
        score: The objective on the side that the weights were scored on, scored again.
        samples: Different windows of each side that the formats are compared on.
        versions: Name and version of the libraries that built it.
        left_out: Why a format could not be written, by format.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int
    reading: Mapping[str, float]
    score: float
    samples: Mapping[str, int]
    versions: Mapping[str, str]
    left_out: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a fresh process found.

    Attributes:
        differences: The greatest difference between two predictions, by format.
        milliseconds: The median time of a prediction for one window, by format.
        module: The module that has to be imported before Keras can load the model, or empty.
    """

    differences: Mapping[str, float]
    milliseconds: Mapping[str, float]
    module: str


def list_sizes(folder: Path) -> dict[str, int]:
    """List the entries of an export.

    Args:
        folder: The export's folder.

    Returns:
        Bytes of each file, and of each folder's files together, by name.
    """
    return {
        path.name: sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        for path in sorted(folder.iterdir())
    }
