"""How predicted frames come about: drawn anew, copied from the last frame, or moved from it."""

from functools import partial

import keras
from keras import ops

from spaces import shapes

# probabilities and pixels are kept in float32 under every precision policy
Dense = partial(keras.layers.Dense, dtype="float32")
Conv2D = partial(keras.layers.Conv2D, kernel_size=3, padding="same", dtype="float32")
Reshape = partial(keras.layers.Reshape, dtype="float32")


def draw_features(
    vectors: keras.KerasTensor, size: shapes.Lengths, filters: shapes.Lengths, kernel_size: int
) -> keras.KerasTensor:
    """Turn vectors into features of every pixel by transposed convolutions, each doubling the size.

    Args:
        vectors: Vectors of shape (images, features).
        size: Height and width of the images; what is drawn beyond them is cut off.
        filters: Filters of each transposed convolution, the first at the lowest resolution.
        kernel_size: Pixels along each axis that one filter draws.

    Returns:
        Features of shape (images, height, width, filters).
    """
    canvas = shapes.canvas_shape(size, filters)
    tensor = keras.layers.Dense(canvas[0] * canvas[1] * canvas[2], name="canvas")(vectors)
    tensor = keras.layers.Activation("relu", name="canvas_activation")(tensor)
    tensor = keras.layers.Reshape(canvas, name="canvas_map")(tensor)
    for block, width in enumerate(filters):
        name = f"drawing_{block}"
        tensor = keras.layers.Conv2DTranspose(
            width, kernel_size, strides=2, padding="same", activation="relu", name=name
        )(tensor)
    drawn = tensor.shape[1:3]
    excess = tuple((0, length - wanted) for length, wanted in zip(drawn, size, strict=True))
    return keras.layers.Cropping2D(excess, name="drawing")(tensor)


def draw_pixels(
    features: keras.KerasTensor, size: shapes.Lengths, values: int, activation: str, name: str
) -> keras.KerasTensor:
    """Give every pixel its values: colours, or the weight of each source.

    Args:
        features: Features of every pixel, of shape (images, height, width, filters), or of
            whole images, of shape (images, features).
        size: Height and width of the images.
        values: How many values each pixel has.
        activation: "sigmoid" for colours, "softmax" for weights.
        name: The last layer's name.

    Returns:
        Pixels of shape (images, height, width, values).
    """
    if len(features.shape) > len(("images", "features")):
        return Conv2D(values, activation=activation, name=name)(features)
    tensor = Dense(size[0] * size[1] * values, name=f"{name}_flat")(features)
    tensor = Reshape((*size, values), name=f"{name}_map")(tensor)
    return keras.layers.Activation(activation, dtype="float32", name=name)(tensor)


def move_frame(
    frame: keras.KerasTensor, vectors: keras.KerasTensor, reach: int, name: str
) -> keras.KerasTensor:
    """Move a frame step by step, each time by a distance that is read from the step's vector.

    The distance along each axis is a probability for every whole number of pixels within reach,
    and the moved frame is the mean over them: a dynamic filter (De Brabandere et al. 2016,
    arXiv:1605.09673; Finn et al. 2016, arXiv:1605.07157), here separable, so that moves are
    matrices and several moves their product.

    Args:
        frame: Frames of shape (batch, height, width, channels).
        vectors: Vectors of shape (batch, horizon, features).
        reach: Pixels along each axis that one step can move.
        name: Starts the layers' names.

    Returns:
        Moved frames of shape (batch, horizon, height, width, channels); what comes in from
        outside is 0.
    """
    moves = []
    for axis, length in zip(("down", "right"), frame.shape[1:3], strict=True):
        distances = Dense(2 * reach + 1, activation="softmax", name=f"{name}_{axis}")(vectors)
        beyond = ops.pad(distances, ((0, 0), (0, 0), (0, 1)))
        matrices = ops.take(beyond, _distance_table(length, reach), axis=-1)
        so_far = [matrices[:, 0]]
        for step in range(1, vectors.shape[1]):
            so_far.append(ops.matmul(matrices[:, step], so_far[-1]))
        moves.append(ops.stack(so_far, axis=1))
    down, right = moves
    return ops.einsum("btyh,bhwc,btxw->btyxc", down, frame, right)


def _distance_table(length: int, reach: int) -> list[list[int]]:
    """Say which distance leads from each pixel to each, from 0; beyond reach, the one after."""
    return [
        [
            end - start + reach if abs(end - start) <= reach else 2 * reach + 1
            for start in range(length)
        ]
        for end in range(length)
    ]


def mix(sources: list[keras.KerasTensor], weights: keras.KerasTensor) -> keras.KerasTensor:
    """Mix frames pixel by pixel.

    Args:
        sources: Frames of shape (batch, horizon or 1, height, width, channels), at least two.
        weights: The share of each source, of shape (batch, horizon, height, width, sources).

    Returns:
        Frames of shape (batch, horizon, height, width, channels).
    """
    shares = ops.split(weights, len(sources), axis=-1)
    mixed = shares[0] * sources[0]
    for share, source in zip(shares[1:], sources[1:], strict=True):
        mixed = mixed + share * source
    return mixed
