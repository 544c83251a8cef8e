"""The parts that spaces are put together from: each takes a tensor and ``hp``, and returns a tensor."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import keras_tuner

from spaces import shapes

CONVOLUTION = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}
POOLING = {
    (1, "max"): keras.layers.MaxPooling1D,
    (1, "average"): keras.layers.AveragePooling1D,
    (2, "max"): keras.layers.MaxPooling2D,
    (2, "average"): keras.layers.AveragePooling2D,
}
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


@dataclass(frozen=True, kw_only=True)
class ConvBlocks:
    """What a stack of convolution blocks is made of: the answers that a space asked for.

    Attributes:
        filters: Filters of each block, in order.
        kernel_size: Steps, or pixels along each axis, that one filter sees.
        normalization: A name of ``NORMALIZATION``, or "none".
        activation: A name that Keras knows.
        pooling: "max" or "average".
        pool_size: Steps, or pixels along each axis, that each block is asked to make one.
        dropout: Share of the features that is dropped in training.
    """

    filters: tuple[int, ...]
    kernel_size: int
    normalization: str
    activation: str
    pooling: str
    pool_size: int
    dropout: float


def stack_conv_blocks(tensor: keras.KerasTensor, made_of: ConvBlocks) -> keras.KerasTensor:
    """Find local patterns, and shorten sequences or shrink images as far as they admit.

    A block is convolution, normalization, activation, pooling, dropout. Convolution and pooling
    pad, so that no depth is too deep and nothing at the end of an axis is lost.

    Args:
        tensor: Sequences of shape (batch, steps, channels) or images of shape
            (batch, height, width, channels).
        made_of: What the blocks are made of.

    Returns:
        Features of shape (batch, fewer steps, filters) or (batch, height, width, filters), the
        images smaller.
    """
    lengths, asked, blocks = tensor.shape[1:-1], made_of.pool_size, len(made_of.filters)
    pool_sizes = shapes.admit_pools(lengths, asked, blocks)
    for length, admitted in zip(lengths, zip(*pool_sizes, strict=True), strict=True):
        shapes.warn_if_clipped("pool_size", asked, admitted, length)
    rank = len(lengths)
    for block, (width, pool_size) in enumerate(zip(made_of.filters, pool_sizes, strict=True)):
        name = f"conv_{block}"
        convolve = CONVOLUTION[rank](width, made_of.kernel_size, padding="same", name=name)
        tensor = convolve(tensor)
        if made_of.normalization != "none":
            normalize = NORMALIZATION[made_of.normalization]
            tensor = normalize(name=f"{name}_normalization")(tensor)
        tensor = keras.layers.Activation(made_of.activation, name=f"{name}_activation")(tensor)
        if max(pool_size) > 1:
            pool = POOLING[rank, made_of.pooling]
            tensor = pool(pool_size, padding="same", name=f"{name}_pooling")(tensor)
        tensor = keras.layers.Dropout(made_of.dropout, name=f"{name}_dropout")(tensor)
    return tensor


def stack_lstm_layers(
    tensor: keras.KerasTensor,
    hp: keras_tuner.HyperParameters,
    *,
    units: int = 96,
    dropout: float = 0.2,
) -> keras.KerasTensor:
    """Read a sequence in order and summarise it in one vector.

    Dropout stands between the layers, never inside them: recurrent dropout, another activation
    than tanh or unrolling would leave the fast kernel (Keras documents the conditions at
    ``keras.layers.LSTM``).

    Args:
        tensor: Features of shape (batch, steps, features).
        hp: Answers how many layers, and of what kind.
        units: The default of ``lstm_units``.
        dropout: The default of ``lstm_dropout``.

    Returns:
        Vectors of shape (batch, units), twice the units where the layers are bidirectional.
    """
    layers = hp.Int("lstm_layers", 1, 2, default=1)
    units = hp.Int("lstm_units", 16, 256, sampling="log", default=units)
    bidirectional = hp.Boolean("bidirectional", default=False)
    dropout = hp.Float("lstm_dropout", 0.0, 0.5, default=dropout)
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


def classify(tensor: keras.KerasTensor, classes: int, name: str = "classes") -> keras.KerasTensor:
    """Turn vectors of shape (batch, features) into probabilities of shape (batch, classes)."""
    # float32 under every precision policy: a half-precision softmax loses small probabilities
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name=name)(tensor)


def regress(tensor: keras.KerasTensor, output_shape: tuple[int, ...]) -> keras.KerasTensor:
    """Turn vectors into values of any size.

    Args:
        tensor: Vectors of shape (batch, features).
        output_shape: The shape of one prediction.

    Returns:
        Values of shape (batch, *output_shape), in float32 under every precision policy.
    """
    values = keras.layers.Dense(math.prod(output_shape), dtype="float32", name="values")(tensor)
    if len(output_shape) == 1:
        return values
    return keras.layers.Reshape(output_shape, dtype="float32", name="values_by_step")(values)
