"""What learns the normal: an autoencoder draws a window again, a predictor foretells its last row."""

import math

import keras

from spaces import shapes
from spaces.blocks import ConvBlocks

DETECTORS = ("autoencoder", "predictor")
USED = 0.8
"""Share of the numbers that compression allows which a code has at least."""


def draw_again(
    tensor: keras.KerasTensor, made_of: ConvBlocks, window: shapes.Lengths, compression: float
) -> keras.KerasTensor:
    """Draw windows again from what convolution and pooling left of them, through a narrow LSTM.

    What training never showed does not fit through (as in the Conv-AE of SKAB, Katser and Kozitsin
    2020, here with an LSTM as its middle).

    Args:
        tensor: Features of shape (batch, fewer steps, filters).
        made_of: What the convolution blocks were made of, to be undone in reverse.
        window: Shape (steps, channels) of a window.
        compression: Numbers of the window for each number in the middle, or more, however many
            steps pooling has left; fewer only in a window that has no more.

    Returns:
        Windows of shape (batch, steps, channels).
    """
    steps, channels = window
    held = steps * channels
    if held < compression:
        why = f"{steps} steps of {channels} channels have {held} numbers"
        shapes.warn_replaced("compression", f"{compression:g}", f"{held}", why)
    size, units = fit_code(tensor.shape[1], max(1, math.floor(held / compression)))
    if size > 1:
        tensor = keras.layers.AveragePooling1D(size, padding="same", name="code_pooling")(tensor)
    tensor = keras.layers.LSTM(units, return_sequences=True, name="code")(tensor)
    if size > 1:
        tensor = keras.layers.UpSampling1D(size, name="code_at_each_step")(tensor)
    pool_sizes = shapes.admit_pools((steps,), made_of.pool_size, len(made_of.filters))
    blocks = enumerate(zip(made_of.filters, pool_sizes, strict=True))
    for block, (width, (size,)) in reversed(list(blocks)):
        draw = keras.layers.Conv1DTranspose(
            width,
            max(made_of.kernel_size, size),  # a narrower kernel leaves holes between strides
            strides=size,
            padding="same",
            activation=made_of.activation,
            name=f"drawing_{block}",
        )
        tensor = draw(tensor)
    tensor = keras.layers.Cropping1D((0, tensor.shape[1] - steps), name="drawing")(tensor)
    return read_rows(tensor, channels)


def fit_code(steps: int, numbers: int) -> tuple[int, int]:
    """Say how a code of so many numbers, and no more, is spread over the steps of a sequence.

    Args:
        steps: Steps that convolution and pooling left.
        numbers: Numbers in the code at most, 1 or more.

    Returns:
        How many steps to take together, as few as leave no more than a fifth of the numbers unused,
        and how many numbers to keep of each.
    """
    for size in range(1, steps + 1):
        places = math.ceil(steps / size)
        units = numbers // places
        if places * units >= USED * numbers:
            return size, units
    return steps, numbers


def hide_last_row(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Move windows on by a step: a row of zeros comes in, the last row is not seen.

    Args:
        inputs: Windows of shape (batch, steps, channels).

    Returns:
        Windows of the same shape.
    """
    tensor = keras.layers.ZeroPadding1D((1, 0), name="one_row_later")(inputs)
    return keras.layers.Cropping1D((0, 1), name="all_but_the_last_row")(tensor)


def read_rows(tensor: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Read rows of channels from the features of each step.

    Args:
        tensor: Features of shape (batch, steps, features).
        channels: How many channels a row has.

    Returns:
        Rows of shape (batch, steps, channels).
    """
    return keras.layers.Dense(channels, dtype="float32", name="rows")(tensor)
