"""A loaded format has to predict what the model predicted that was saved."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from search.data.sequences import Array
from search.results.runtimes import LOADERS, Predictor

BATCHES = (1, 7, 64)
"""Windows that are predicted at once."""
TIMED = 30
"""Predictions of one window of which the median time is told."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a loaded format predicts.

    Attributes:
        difference: The greatest difference between two predictions; where predictions exceed 1,
            over the greatest of them.
        milliseconds: The median time of a prediction for one window, on the processor.
    """

    difference: float
    milliseconds: float


def predict_in_batches(predict: Predictor, windows: Array, size: int) -> Array:
    """Predict some windows at once, then the next ones.

    Args:
        predict: The loaded model.
        windows: Of shape (windows, steps, channels).
        size: Windows in a batch; the last may be smaller.

    Returns:
        Predictions, one a window.
    """
    parts = [predict(windows[low : low + size]) for low in range(0, len(windows), size)]
    return np.concatenate(parts)


def compare(predict: Predictor, samples: Mapping[str, Array]) -> Comparison:
    """Compare a loaded format with the model that was saved, in batches of several sizes.

    Args:
        predict: The loaded format.
        samples: "windows", and "predictions" of shape (batch sizes, windows, ...): what the model
            predicted in batches of each size of ``BATCHES``.

    Returns:
        How far they differ; NaN stays NaN.

    Raises:
        ValueError: If predictions have another shape.
    """
    windows, worst = samples["windows"], 0.0
    for size, expected in zip(BATCHES, samples["predictions"], strict=True):
        found = predict_in_batches(predict, windows, size)
        if found.shape != expected.shape:
            raise ValueError(f"predictions have shape {found.shape}, not {expected.shape}.")
        scale = max(1.0, float(np.abs(expected).max()))
        worst = float(np.maximum(worst, np.abs(found - expected).max() / scale))
    seconds = []
    for _ in range(TIMED):
        began = time.perf_counter()
        predict(windows[:1])
        seconds.append(time.perf_counter() - began)
    return Comparison(difference=worst, milliseconds=1e3 * statistics.median(seconds))


def load_samples(path: str) -> dict[str, Array]:
    """Load what the formats are compared on.

    Args:
        path: The .npz file.

    Returns:
        As for ``compare``.

    Raises:
        OSError: If the file cannot be read.
    """
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def compare_format(*, name: str, place: str, samples: str) -> dict[str, float]:
    """Load a format that needs no Keras, and compare it.

    Args:
        name: The format, one of ``LOADERS``.
        place: Its file.
        samples: The .npz file of ``load_samples``.

    Returns:
        The fields of ``Comparison``.

    Raises:
        Exception: Whatever the runtime raises where it cannot load the model.
    """
    return asdict(compare(LOADERS[name](place), load_samples(samples)))
