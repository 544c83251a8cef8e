"""In a process of its own: a saved model is written as another runtime reads it."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from search.results.formats import LITERT, ONNX
from search.results.runtimes import load_keras


def convert_model(*, name: str, source: str, space: str, place: str) -> None:
    """Write a model in another format, with a free batch size.

    Args:
        name: The format, one of ``CONVERTERS``.
        source: The .keras file.
        space: As for ``load_keras``.
        place: The file to write.

    Raises:
        Exception: Whatever the converter raises where it cannot express the model.
    """
    model, _ = load_keras(source, space)
    shape = (None, *model.input_shape[1:])
    CONVERTERS[name](model, place, keras.InputSpec(shape=shape, dtype="float32", name="windows"))


def write_onnx(model: Any, place: str, windows: Any) -> None:
    """Write an ONNX file.

    Args:
        model: The model.
        place: The file.
        windows: The ``keras.InputSpec`` of a batch.

    Raises:
        Exception: Whatever tf2onnx raises where it cannot express the model.
    """
    from tf2onnx.handler import tf_op  # noqa: PLC0415  # of the export extra

    # Keras writes gelu by erfc, which tf2onnx 1.17 does not know: as 1 - erf it does.
    tf_op("Erfc")(Erfc)
    model.export(place, format="onnx", verbose=False, input_signature=[windows])


class Erfc:
    """How tf2onnx writes TensorFlow's complementary error function."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Replace the node in the graph, from ONNX's operator set 9 on.

        Args:
            ctx: tf2onnx's graph.
            node: The node to replace.
        """
        shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
        given, outputs = node.input[0], list(node.output)
        ctx.remove_node(node.name)
        one = ctx.make_const(f"{node.name}_one", np.ones((), dtype=np.float32))
        erf = ctx.make_node("Erf", [given], shapes=[shape], dtypes=[dtype])
        ctx.make_node(
            "Sub",
            [one.output[0], erf.output[0]],
            name=node.name,
            outputs=outputs,
            shapes=[shape],
            dtypes=[dtype],
        )


def write_litert(model: Any, place: str, windows: Any) -> None:
    """Write a LiteRT file of built-in operations alone, which every device's runtime has.

    Recurrent layers are unrolled: their loops would need TensorFlow's own operations, or a fixed
    batch size.

    Args:
        model: The model.
        place: The file, which ends in ``.tflite``.
        windows: The ``keras.InputSpec`` of a batch.

    Raises:
        Exception: Whatever Keras or the converter raises where it cannot express the model.
    """
    import tensorflow as tf  # noqa: PLC0415  # the converter is TensorFlow's

    unrolled = keras.models.clone_model(model, clone_function=_unroll, recursive=True)
    unrolled.set_weights(model.get_weights())
    unrolled.export(
        place,
        format="litert",
        verbose=False,
        input_signature=[windows],
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
    )


def _unroll(layer: Any) -> Any:
    copy = layer.__class__.from_config(layer.get_config())
    both = (getattr(copy, name, None) for name in ("forward_layer", "backward_layer"))
    for part in (copy, *both):  # a bidirectional layer holds two
        if isinstance(part, keras.layers.RNN):
            part.unroll = True
    return copy


CONVERTERS: Mapping[str, Callable[[Any, str, Any], None]] = {
    ONNX: write_onnx,
    LITERT: write_litert,
}
"""What writes each format."""
