"""A candidate of a built-in space as people write it by hand."""

from typing import Any

import keras

FRAMEWISE = ("downscale", "conv_", "grid", "frame_summary", "code", "canvas", "draw")
"""What the names of layers begin with that see one frame at a time."""
MERGES = ("Reshape",)
"""Operations that merge the frames into a batch, or split them again."""


def wrap_layers(model: Any) -> Any:
    """Build the same layers as people write them: those of frames wrapped in TimeDistributed, one by one.

    Args:
        model: Of a built-in space, without a part that stands beside its layers.

    Returns:
        A compiled model with copies of the weights and of the optimizer.
    """
    tensor = given = keras.Input(model.inputs[0].shape[1:])
    state: list[Any] = []
    has_frames = len(given.shape) == 5  # noqa: PLR2004  # batch, frames, height, width, channels
    for layer in model.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if not isinstance(layer, keras.layers.Layer):
            if type(layer).__name__ not in MERGES:
                raise ValueError(f"Only layers can be wrapped. Received: {layer.name}.")
            continue
        copy = type(layer).from_config(layer.get_config())
        if has_frames and copy.name.startswith(FRAMEWISE):
            tensor = keras.layers.TimeDistributed(copy)(tensor)
        elif isinstance(copy, keras.layers.LSTM) and state:
            tensor = copy(tensor, initial_state=state)
        elif isinstance(copy, keras.layers.LSTM) and copy.return_state:
            tensor, *state = copy(tensor)
        else:
            tensor = copy(tensor)
    wrapped = keras.Model(given, tensor)
    wrapped.set_weights(model.get_weights())
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    wrapped.compile(optimizer, model.loss, metrics=["accuracy"] if len(tensor.shape) == 2 else [])  # noqa: PLR2004
    return wrapped
