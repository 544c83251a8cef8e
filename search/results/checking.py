"""In a fresh process: each format of an export is loaded and has to predict what was predicted."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import keras
import numpy as np

from search.data.sequences import Array
from search.errors import StudyError
from search.results.formats import FLAVOR, KERAS, REGISTERED, SAVED_MODEL, Checked
from search.worker.spaces import load_space

Predictor: TypeAlias = Callable[[Array], Array]

# Loaded now, while the model is still being built.
MODELS = importlib.import_module(FLAVOR)


def check_formats(*, samples: str, space: str, places: Mapping[str, str]) -> dict[str, Any]:
    """Load every format and compare its predictions with those of the model that was saved.

    Args:
        samples: The .npz file of scaled windows and predictions.
        space: The study's search space, whose module may hold layers that the model needs.
        places: The path of each format.

    Returns:
        The fields of ``Checked``.

    Raises:
        StudyError: If a format cannot be loaded, or computes nothing of the right shape.
    """
    with np.load(samples, allow_pickle=False) as file:
        windows, predictions = file["windows"], file["predictions"]
    differences, module = {}, ""
    for name, place in places.items():
        try:
            if name == KERAS:
                model, module = _load_keras(place, space)
                predict: Predictor = model.predict_on_batch
            else:
                predict = LOADERS[name](place)
            differences[name] = _compare(predict, windows, predictions)
        except Exception as exc:  # loading runs a person's own layers, which may raise anything
            raise StudyError(
                f"space must build a model that can be loaded again: {type(exc).__name__}: "
                f"{str(exc).strip()} Received: space={space!r}, {name} of its model. Decorate "
                f"layers and losses of your own with @keras.saving.register_keras_serializable(), "
                f"and use no keras.layers.Lambda."
            ) from exc
    return asdict(Checked(differences=differences, module=module))


def _load_keras(place: str, space: str) -> tuple[Any, str]:
    """Load a .keras file, and name the module that had to be imported for it, if any."""
    try:
        return keras.saving.load_model(place, compile=False, safe_mode=True), ""
    except (TypeError, ValueError):
        if ":" not in space:
            raise
    # What a person registered with Keras is known once the module is imported.
    load_space(space)
    module = space.partition(":")[0]
    return keras.saving.load_model(place, compile=False, safe_mode=True), module


def _load_saved_model(place: str) -> Predictor:
    import tensorflow as tf  # noqa: PLC0415  # the other backends run without it

    served = tf.saved_model.load(place)
    return lambda windows: np.asarray(served.serve(windows))


def _load_registered(place: str) -> Predictor:
    predict: Predictor = MODELS.load_model(place).predict_on_batch
    return predict


LOADERS: Mapping[str, Callable[[str], Predictor]] = {
    SAVED_MODEL: _load_saved_model,
    REGISTERED: _load_registered,
}


def _compare(predict: Predictor, windows: Array, predictions: Array) -> float:
    """Predict in batches of several sizes, and find the greatest difference."""
    worst = 0.0
    for size in (1, 7, len(windows)):
        parts = [predict(windows[low : low + size]) for low in range(0, len(windows), size)]
        found = np.concatenate(parts)
        if found.shape != predictions.shape:
            raise ValueError(f"predictions have shape {found.shape}, not {predictions.shape}.")
        worst = float(np.maximum(worst, np.abs(found - predictions).max()))  # NaN stays NaN
    return worst
