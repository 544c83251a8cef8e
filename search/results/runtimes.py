"""How each format of an export is loaded, and made to predict."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from search.data.sequences import Array
from search.results.answering import read_numbers
from search.results.formats import KERAS, LITERT, ONNX, REGISTERED, SAVED_MODEL

Predictor: TypeAlias = Callable[[Array], Array]
"""From windows of shape (batch, steps, channels) to predictions of shape (batch, ...)."""


def load_keras(place: str, space: str) -> tuple[Any, str]:
    """Load a .keras file.

    Args:
        place: The file.
        space: The study's search space, whose module may hold layers that the model needs.

    Returns:
        The model, and the module that had to be imported for it, or an empty string.

    Raises:
        TypeError: If Keras does not know a layer.
        ValueError: If the file is no model that is safe to load.
    """
    import keras  # noqa: PLC0415  # the other runtimes do without

    from search.worker.spaces import load_space  # noqa: PLC0415  # loads Keras

    try:
        return keras.saving.load_model(place, compile=False, safe_mode=True), ""
    except (TypeError, ValueError):
        if ":" not in space:
            raise
    # What a person registered with Keras is known once the module is imported.
    load_space(space)
    module = space.partition(":")[0]
    return keras.saving.load_model(place, compile=False, safe_mode=True), module


def load_saved_model(place: str) -> Predictor:
    """Load a SavedModel by TensorFlow alone.

    Args:
        place: The folder.

    Returns:
        What predicts.

    Raises:
        OSError: If there is no such model.
    """
    import tensorflow as tf  # noqa: PLC0415  # the other backends run without it

    served = tf.saved_model.load(place)
    return lambda windows: np.asarray(served.serve(windows))


def load_registered(place: str) -> Predictor:
    """Load the registered model as MLflow does.

    Args:
        place: The folder.

    Returns:
        What answers raw windows by numbers.

    Raises:
        MlflowException: If there is no such model.
    """
    import mlflow.pyfunc  # noqa: PLC0415  # the other runtimes do without

    model = mlflow.pyfunc.load_model(place)
    return lambda windows: read_numbers(model.predict(windows))


def load_onnx(place: str) -> Predictor:
    """Load an ONNX file by ONNX Runtime, on the processor.

    Args:
        place: The file.

    Returns:
        What predicts.

    Raises:
        Exception: ONNX Runtime's own, if the file holds what it cannot run.
    """
    import onnxruntime  # noqa: PLC0415  # of the export extra

    session = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda windows: np.asarray(session.run(None, {given.name: windows})[0])


def load_litert(place: str) -> Predictor:
    """Load a LiteRT file by its own interpreter.

    Args:
        place: The file.

    Returns:
        What predicts.

    Raises:
        RuntimeError: If the file holds operations that it cannot run.
    """
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  # of the export extra

    runner = Interpreter(place).get_signature_runner()
    (given,) = runner.get_input_details()
    (wanted,) = runner.get_output_details()
    return lambda windows: np.asarray(runner(**{given: windows})[wanted])


LOADERS: Mapping[str, Callable[[str], Predictor]] = {
    SAVED_MODEL: load_saved_model,
    REGISTERED: load_registered,
    ONNX: load_onnx,
    LITERT: load_litert,
}
"""What loads each format but Keras's own."""


def load_predictor(name: str, place: str, space: str) -> tuple[Predictor, str]:
    """Load any format.

    Args:
        name: The format, ``KERAS`` or one of ``LOADERS``.
        place: Its file or folder.
        space: As for ``load_keras``.

    Returns:
        What predicts, and the module that had to be imported for it, or an empty string.

    Raises:
        Exception: Whatever the runtime raises where it cannot load the model.
    """
    if name == KERAS:
        model, module = load_keras(place, space)
        return model.predict_on_batch, module
    return LOADERS[name](place), ""
