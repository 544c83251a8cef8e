"""In a fresh process: each format of an export is loaded and has to predict what was predicted."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from search.disk import is_full
from search.errors import StudyError
from search.results.comparison import compare, load_samples
from search.results.formats import REGISTERED, Checked
from search.results.runtimes import load_predictor

# Loaded now, while the model is still being built.
for library in ("keras", "mlflow.pyfunc"):
    importlib.import_module(library)


def check_formats(*, samples: str, space: str, places: Mapping[str, str]) -> dict[str, Any]:
    """Load every format and compare its predictions with those of the model that was saved.

    Args:
        samples: The .npz file of windows and predictions.
        space: The study's search space, whose module may hold layers that the model needs.
        places: The path of each format.

    Returns:
        The fields of ``Checked``.

    Raises:
        StudyError: If a format cannot be loaded, or computes nothing of the right shape.
    """
    known, found, modules = load_samples(samples), {}, []
    answers = {"windows": known["raw"], "predictions": known["answers"]}
    for name, place in places.items():
        try:
            predict, module = load_predictor(name, place, space)
            found[name] = compare(predict, answers if name == REGISTERED else known)
        except Exception as exc:  # loading runs a person's own layers, which may raise anything
            if is_full(exc):
                raise
            raise StudyError(
                f"space must build a model that can be loaded again: {type(exc).__name__}: "
                f"{str(exc).strip()} Received: space={space!r}, {name} of its model. Decorate "
                f"layers and losses of your own with @keras.saving.register_keras_serializable(), "
                f"and use no keras.layers.Lambda."
            ) from exc
        modules.append(module)
    return asdict(
        Checked(
            differences={name: one.difference for name, one in found.items()},
            milliseconds={name: one.milliseconds for name, one in found.items()},
            module=max(modules, default=""),
        )
    )
