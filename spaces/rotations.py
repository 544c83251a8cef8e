"""Windows of sensors with three axes are turned in training, as if they had been worn otherwise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import keras
from keras import ops

AXES = 3
MOST_DEGREES = 57.0
"""A radian: Keras's noise takes no larger standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Rotations:
    """Which channels turn together, and how far.

    Attributes:
        places: The channels of each sensor's three axes, of shape (sensors, 3).
        degrees: The standard deviation of the angle about each axis.
        mean: What was taken off each channel, of shape (channels,).
        scale: What it was then divided by, likewise.
    """

    places: tuple[tuple[int, ...], ...]
    degrees: float
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def turn(self, windows: keras.KerasTensor) -> keras.KerasTensor:
        """Turn each window that a model is trained on by a random angle, all its sensors alike.

        How a sensor hangs on a person differs, and says nothing of what the person does; Um et
        al., "Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring Using
        Convolutional Neural Networks", 2017 (arXiv:1706.00527). Turned is what was measured, by
        Rodrigues' formula, and not the scaled values.

        Args:
            windows: Scaled windows of shape (batch, steps, channels).

        Returns:
            Windows of the same shape; unchanged outside of training.
        """
        # Keras's noise knows when a model is in training, and so is saved without code of ours.
        noise = keras.layers.GaussianNoise(
            math.radians(self.degrees), dtype="float32", name="rotation"
        )
        vector = noise(ops.zeros_like(windows[:, :1, :AXES]))
        angle = ops.sqrt(ops.sum(ops.square(vector), axis=-1, keepdims=True) + 1e-12)
        once, twice = ops.sin(angle) / angle, (1 - ops.cos(angle)) / ops.square(angle)
        order = [0] * windows.shape[-1]
        changes = [ops.zeros_like(windows[..., :1])]
        for sensor, places in enumerate(self.places):
            mean, scale = ([known[at] for at in places] for known in (self.mean, self.scale))
            chosen = ops.take(windows, list(places), axis=-1)
            rescaling = partial(keras.layers.Rescaling, dtype="float32")
            measured = rescaling(scale, mean, name=f"measured_{sensor}")(chosen)
            rescale = rescaling([1 / one for one in scale], name=f"scaled_{sensor}")
            across = _cross(vector, measured)
            for axis, place in enumerate(places):
                order[place] = 1 + AXES * sensor + axis
            changes.append(rescale(once * across + twice * _cross(vector, across)))
        return windows + ops.take(ops.concatenate(changes, axis=-1), order, axis=-1)


def _cross(one: keras.KerasTensor, other: keras.KerasTensor) -> keras.KerasTensor:
    """Take the cross product along the last axis, by what every exporter knows."""
    ahead, behind = [1, 2, 0], [2, 0, 1]
    return ops.take(one, ahead, axis=-1) * ops.take(other, behind, axis=-1) - ops.take(
        one, behind, axis=-1
    ) * ops.take(other, ahead, axis=-1)


def find_rotations(
    rotate: Sequence[Sequence[str]],
    degrees: float,
    channels: Sequence[str],
    scaling: tuple[Sequence[float], Sequence[float]],
) -> Rotations | None:
    """Find the channels that turn together.

    Args:
        rotate: The names of the three channels of each sensor; empty for none.
        degrees: See ``Rotations``.
        channels: The names of all channels.
        scaling: The mean and the scale of each channel.

    Returns:
        The rotations, or ``None`` where nothing turns.

    Raises:
        ValueError: If a sensor has other than three channels, one is not known or named twice, the
            channels' scales are not known, or the angle is not above 0 or too large.
    """
    names = [name for sensor in rotate for name in sensor]
    unknown = [name for name in names if name not in channels]
    if unknown:
        raise ValueError(
            f"rotate must name channels of the data: {', '.join(channels)}. "
            f"Received: {unknown[0]!r}."
        )
    if len(set(names)) < len(names) or any(len(sensor) != AXES for sensor in rotate):
        raise ValueError(
            f"rotate must hold the names of three channels for each sensor, every channel once. "
            f"Received: rotate={[list(sensor) for sensor in rotate]}."
        )
    if not 0 < degrees <= MOST_DEGREES:
        raise ValueError(
            f"rotate_degrees must be above 0, to {MOST_DEGREES:g}. Received: {degrees}."
        )
    if not rotate:
        return None
    if len(scaling[0]) != len(channels):
        raise ValueError(
            "rotate must come with data.scaling='all': what was measured is turned, and recordings "
            "that are scaled apart do not say what that was. Leave rotate out."
        )
    places = tuple(tuple(channels.index(name) for name in sensor) for sensor in rotate)
    mean, scale = (tuple(values) for values in scaling)
    return Rotations(places=places, degrees=degrees, mean=mean, scale=scale)
