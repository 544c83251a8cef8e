"""A linear model of simple statistics stands beside a network that reads clips or windows."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from spaces import blocks
from spaces.shapes import Lengths

REMAINS = 1e-6
"""Of the variance 1 that batch statistics begin with: little beside what clips' statistics have."""

PACE = 4.0
"""How many times as fast as the network's last layer a linear part of windows learns: a study's few
epochs are too short for it else."""


def describe_clips(clips: keras.KerasTensor, steps: int | None = None) -> keras.KerasTensor:
    """Describe each clip by what a linear model can learn from few of them.

    Of every frame these are the mean, the spread and the motion, the mean absolute difference to
    the frame before; of each the mean, the spread, the least, the most and the last over time. They
    are what the naive baseline of a study reads too (``search.tasks.summaries``).

    Args:
        clips: Clips of shape (batch, frames, height, width, channels).
        steps: How many steps a training has at least; ``None`` if that is not known.

    Returns:
        Statistics of shape (batch, 15 * channels), or (batch, 10 * channels) of one frame, each
        scaled to mean 0 and spread 1 over the training clips.
    """
    pixels = (2, 3)
    series = [ops.mean(clips, axis=pixels), ops.std(clips, axis=pixels)]
    if clips.shape[1] > 1:
        series.append(ops.mean(ops.absolute(clips[:, 1:] - clips[:, :-1]), axis=pixels))
    return _describe(series, steps)


def describe_windows(windows: keras.KerasTensor, steps: int | None = None) -> keras.KerasTensor:
    """Describe each window by each channel's mean, spread, least, most and last value.

    They are what the naive baseline of a study reads too (``search.tasks.summaries``).

    Args:
        windows: Windows of shape (batch, steps, channels).
        steps: How many steps a training has at least; ``None`` if that is not known.

    Returns:
        Statistics of shape (batch, 5 * channels), each scaled to mean 0 and spread 1 over the
        training windows.
    """
    return _describe([windows], steps)


def _describe(series: Sequence[keras.KerasTensor], steps: int | None) -> keras.KerasTensor:
    """Join the scaled statistics of series of shape (batch, steps, channels)."""
    described = [
        part
        for one in series
        for part in (
            ops.mean(one, axis=1),
            ops.std(one, axis=1),
            ops.min(one, axis=1),
            ops.max(one, axis=1),
            one[:, -1],
        )
    ]
    # without weights of its own, with a momentum for tens of batches an epoch, as in blocks, and
    # with an epsilon that small statistics, as of motion, stand above
    normalize = keras.layers.BatchNormalization(
        center=False, scale=False, momentum=choose_momentum(steps), epsilon=1e-6, name="statistics"
    )
    return normalize(ops.concatenate(described, axis=-1))


def choose_momentum(steps: int | None) -> float:
    """Choose how fast batch statistics are forgotten, so that few steps forget what they began with.

    Keras begins with mean 0 and variance 1, and of that ``momentum ** steps`` is left: a third after
    10 steps at 0.9, a hundred times the variance of a clip's motion.

    Args:
        steps: How many steps a training has at least; ``None`` if that is not known.

    Returns:
        A momentum that leaves a millionth at most, and 0.9 at most.
    """
    return 0.9 if steps is None else min(0.9, REMAINS ** (1 / steps))


def classify_beside(
    tensor: keras.KerasTensor, statistics: keras.KerasTensor | None, classes: int
) -> keras.KerasTensor:
    """Average the probabilities of a network and of logistic regression, trained together.

    A mixture of the two (Jacobs et al., "Adaptive Mixtures of Local Experts", 1991) with equal
    weights: where the network is sure, it decides, and where it is not, the statistics do.

    Args:
        tensor: What the network makes of each clip, of shape (batch, features).
        statistics: Statistics of shape (batch, numbers), or ``None`` for the network alone.
        classes: How many classes there are.

    Returns:
        Probabilities of shape (batch, classes).
    """
    if statistics is None:
        return blocks.classify(tensor, classes)
    network = blocks.classify(tensor, classes, name="network_classes")
    linear = keras.layers.Dense(
        classes,
        activation="softmax",
        kernel_initializer="zeros",
        dtype="float32",
        name="linear_classes",
    )
    return keras.layers.Average(dtype="float32", name="classes")([network, linear(statistics)])


def classify_in_turns(
    tensor: keras.KerasTensor, statistics: keras.KerasTensor | None, classes: int
) -> keras.KerasTensor:
    """Multiply the probabilities of a network and of logistic regression, each trained by itself.

    A product of experts (Hinton, "Training Products of Experts by Minimizing Contrastive
    Divergence", 2002) with equal weights: the mean of their logarithms. In training a coin decides
    for each window which of the two it teaches, so that neither leaves to the other what it could
    learn.

    Args:
        tensor: What the network makes of each window, of shape (batch, features).
        statistics: Statistics of shape (batch, numbers), or ``None`` for the network alone.
        classes: How many classes there are.

    Returns:
        Probabilities of shape (batch, classes).
    """
    if statistics is None:
        return blocks.classify(tensor, classes)
    network = keras.layers.Dense(classes, dtype="float32", name="network_classes")(tensor)
    linear = keras.layers.Dense(
        classes, kernel_initializer="zeros", dtype="float32", name="linear_classes"
    )(_rescale(statistics, PACE, "pace"))
    # Dropout doubles what it keeps, and knows when it is training: 0 or 2 then, else 1
    coin = keras.layers.Dropout(0.5, dtype="float32", name="coin")(ops.ones_like(network[:, :1]))
    logits = keras.layers.Add(dtype="float32", name="logits")(
        [
            _rescale(coin, 0.5, "heads") * network,
            _rescale(coin, -0.5, "tails", offset=1.0) * linear,
        ]
    )
    return keras.layers.Softmax(dtype="float32", name="classes")(logits)


def _rescale(
    tensor: keras.KerasTensor, scale: float, name: str, offset: float = 0.0
) -> keras.KerasTensor:
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=name)(tensor)


def regress_beside(
    tensor: keras.KerasTensor, statistics: keras.KerasTensor | None, output_shape: Lengths
) -> keras.KerasTensor:
    """Add what a linear map says to what a network says, trained together.

    Args:
        tensor: What the network makes of each clip or window, of shape (batch, features).
        statistics: Statistics of shape (batch, numbers), or ``None`` for the network alone.
        output_shape: The shape of one prediction.

    Returns:
        Values of shape (batch, *output_shape).
    """
    values = blocks.regress(tensor, output_shape)
    if statistics is None:
        return values
    linear = keras.layers.Dense(
        math.prod(output_shape),
        use_bias=False,
        kernel_initializer="zeros",
        dtype="float32",
        name="linear",
    )(statistics)
    return keras.layers.Add(dtype="float32", name="with_linear_part")([values, linear])
