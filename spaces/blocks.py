"""The parts that spaces are put together from: each takes a tensor and ``hp``, and returns a tensor."""

from functools import partial
from typing import Any

import keras
import keras_tuner

from spaces import shapes

POOLING = {"max": keras.layers.MaxPooling1D, "average": keras.layers.AveragePooling1D}
NORMALIZATION = {
    # Keras's momentum of 0.99 takes hundreds of batches to settle: small data have tens an epoch,
    # and the first epochs, that pruning looks at, would be scored with wrong statistics
    "batch": partial(keras.layers.BatchNormalization, momentum=0.9),
    "layer": keras.layers.LayerNormalization,
}
READOUT = {
    "mean": keras.layers.GlobalAveragePooling1D,
    "max": keras.layers.GlobalMaxPooling1D,
}


def stack_conv_blocks(
    tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters
) -> keras.KerasTensor:
    """Find local patterns, and shorten the sequence as far as it admits.

    A block is Conv1D, normalization, activation, pooling, dropout. Convolution and pooling
    pad, so that no depth is too deep and no step at the end of the sequence is lost.

    Args:
        tensor: Sequences of shape (batch, steps, channels).
        hp: Answers what the blocks are made of.

    Returns:
        Features of shape (batch, fewer steps, filters).
    """
    blocks = hp.Int("conv_blocks", 1, 4, default=3)
    filters = shapes.grow_filters(
        hp.Int("filters", 16, 128, sampling="log", default=64),
        hp.Float("filter_growth", 1.0, 1.5, default=1.0),
        blocks,
    )
    kernel_size = hp.Int("kernel_size", 3, 11, step=2, default=7)
    normalization = hp.Choice("normalization", ["batch", "layer", "none"], default="batch")
    activation = hp.Choice("activation", ["relu", "gelu", "elu"], default="relu")
    pooling = hp.Choice("pooling", ["max", "average"], default="max")
    asked = hp.Int("pool_size", 1, 4, default=2)
    dropout = hp.Float("conv_dropout", 0.0, 0.5, default=0.2)

    steps = tensor.shape[1]
    pool_sizes = shapes.admit_pool_sizes(steps, asked, blocks, shapes.LEAST_STEPS)
    shapes.warn_if_clipped("pool_size", asked, pool_sizes, steps)
    for block, (width, pool_size) in enumerate(zip(filters, pool_sizes, strict=True)):
        name = f"conv_{block}"
        tensor = keras.layers.Conv1D(width, kernel_size, padding="same", name=name)(tensor)
        if normalization != "none":
            tensor = NORMALIZATION[normalization](name=f"{name}_normalization")(tensor)
        tensor = keras.layers.Activation(activation, name=f"{name}_activation")(tensor)
        if pool_size > 1:
            pool = POOLING[pooling](pool_size, padding="same", name=f"{name}_pooling")
            tensor = pool(tensor)
        tensor = keras.layers.Dropout(dropout, name=f"{name}_dropout")(tensor)
    return tensor


def stack_lstm_layers(
    tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters
) -> keras.KerasTensor:
    """Read a sequence in order and summarise it in one vector.

    Dropout stands between the layers, never inside them: recurrent dropout, another activation
    than tanh or unrolling would leave the fast kernel (Keras documents the conditions at
    ``keras.layers.LSTM``).

    Args:
        tensor: Features of shape (batch, steps, features).
        hp: Answers how many layers, and of what kind.

    Returns:
        Vectors of shape (batch, units), twice the units where the layers are bidirectional.
    """
    layers = hp.Int("lstm_layers", 1, 2, default=1)
    units = hp.Int("lstm_units", 16, 256, sampling="log", default=96)
    bidirectional = hp.Boolean("bidirectional", default=False)
    dropout = hp.Float("lstm_dropout", 0.0, 0.5, default=0.2)
    readout = hp.Choice("readout", ["last", "mean", "max"], default="last")

    for layer in range(layers):
        name = f"lstm_{layer}"
        is_last = layer == layers - 1
        returns_sequences = not is_last or readout != "last"
        tensor = _lstm(units, returns_sequences, bidirectional, name)(tensor)
        if not is_last:
            tensor = keras.layers.Dropout(dropout, name=f"{name}_dropout")(tensor)
    if readout != "last":
        tensor = READOUT[readout](name="readout")(tensor)
    return tensor


def _lstm(units: int, returns_sequences: bool, bidirectional: bool, name: str) -> Any:
    if bidirectional:
        one_way = keras.layers.LSTM(units, return_sequences=returns_sequences, name=name)
        return keras.layers.Bidirectional(one_way, name=name)
    return keras.layers.LSTM(units, return_sequences=returns_sequences, name=name)


def classify(
    tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters, classes: int
) -> keras.KerasTensor:
    """Turn a vector into the probability of each class.

    Args:
        tensor: Vectors of shape (batch, features).
        hp: Answers how much of the vector is dropped in training.
        classes: How many classes there are.

    Returns:
        Probabilities of shape (batch, classes).
    """
    dropout = hp.Float("head_dropout", 0.0, 0.6, default=0.5)
    tensor = keras.layers.Dropout(dropout, name="head_dropout")(tensor)
    # float32 under every precision policy: a half-precision softmax loses small probabilities
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="classes")(
        tensor
    )
