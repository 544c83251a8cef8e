"""What is done to every frame of a clip: all frames pass as one batch of images."""

import keras
import keras_tuner
from keras import ops

from spaces import blocks, shapes

SUMMARY = {"average": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}


def ask_conv_blocks(
    hp: keras_tuner.HyperParameters,
    *,
    blocks_default: int,
    filters: int,
    normalization: str,
    dropout: float,
) -> blocks.ConvBlocks:
    """Ask what the convolution blocks of a frame are made of.

    Args:
        hp: Answers.
        blocks_default: The default of ``conv_blocks``.
        filters: The default of ``filters``.
        normalization: The default of ``normalization``.
        dropout: The default of ``conv_dropout``.

    Returns:
        The answers.
    """
    number = hp.Int("conv_blocks", 1, 4, default=blocks_default)
    return blocks.ConvBlocks(
        filters=shapes.grow_filters(
            hp.Int("filters", 8, 64, sampling="log", default=filters),
            hp.Float("filter_growth", 1.0, 2.0, default=1.5),
            number,
        ),
        kernel_size=hp.Int("kernel_size", 3, 7, step=2, default=3),
        normalization=hp.Choice("normalization", ["batch", "layer", "none"], default=normalization),
        activation=hp.Choice("activation", ["relu", "gelu", "elu"], default="relu"),
        pooling=hp.Choice("pooling", ["max", "average"], default="max"),
        pool_size=hp.Int("pool_size", 1, 4, default=2),
        dropout=hp.Float("conv_dropout", 0.0, 0.5, default=dropout),
    )


def merge_frames(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Make one batch of images of all frames.

    Equal to ``keras.layers.TimeDistributed`` around each layer, which calls it frame by frame.

    Args:
        tensor: Clips of shape (batch, frames, height, width, channels).

    Returns:
        Images of shape (batch * frames, height, width, channels).
    """
    return ops.reshape(tensor, (-1, *tensor.shape[2:]))


def split_frames(tensor: keras.KerasTensor, frames: int) -> keras.KerasTensor:
    """Undo ``merge_frames``: features of shape (batch * frames, ...) to (batch, frames, ...)."""
    return ops.reshape(tensor, (-1, frames, *tensor.shape[1:]))


def mirror_clips(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Swap left and right in half of the clips that a model is trained on, all frames alike.

    Args:
        tensor: Clips of shape (batch, frames, height, width, channels).

    Returns:
        Clips of the same shape; unchanged outside of training.
    """
    # Keras's RandomFlip flips in plain calls too; Dropout knows when it is training.
    coin = keras.layers.Dropout(0.5, name="mirror")(ops.ones_like(tensor[:, :1, :1, :1, :1]))
    return ops.where(ops.equal(coin, 0.0), ops.flip(tensor, axis=3), tensor)


def show_motion(
    tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters, default: str
) -> keras.KerasTensor:
    """Show frames, what changed from each frame to the next, how much it changed, or two of these.

    Real clips of few cameras are told apart by their background, which says nothing in the next
    camera: differences of frames hide it. Their magnitudes keep small movements where averages of
    differences, as of a lower resolution, lose them.

    Args:
        tensor: Clips of shape (batch, frames, height, width, channels).
        hp: Answers what is shown.
        default: The default of ``motion``.

    Returns:
        Clips of the same shape, with twice the channels for "both", which is frames and
        differences. The first difference is 0.
    """
    shown = ["frames", "differences", "magnitudes", "both"]
    motion = hp.Choice("motion", shown, default=default)
    frames = tensor.shape[1]
    if motion == "frames":
        return tensor
    if frames == 1:
        shapes.warn_replaced("motion", motion, "frames", "one frame has nothing to differ from")
        return tensor
    layers = keras.layers
    later = layers.Cropping3D(((1, 0), (0, 0), (0, 0)), name="later_frames")(tensor)
    earlier = layers.Cropping3D(((0, 1), (0, 0), (0, 0)), name="earlier_frames")(tensor)
    changes = layers.Subtract(name="changes")([later, earlier])
    changes = layers.ZeroPadding3D(((1, 0), (0, 0), (0, 0)), name="differences")(changes)
    if motion == "differences":
        return changes
    if motion == "magnitudes":
        return ops.absolute(changes)
    return layers.Concatenate(name="frames_and_differences")([tensor, changes])


def downscale(
    tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters, default: int
) -> keras.KerasTensor:
    """Lower the resolution by averaging, so that resolution itself is searched.

    Args:
        tensor: Images of shape (batch, height, width, channels).
        hp: Answers how many pixels along each axis become one.
        default: The default of ``downscale``.

    Returns:
        Images of shape (batch, height, width, channels), smaller; no axis is made shorter than
        ``shapes.LEAST_RESOLUTION``.
    """
    asked = hp.Int("downscale", 1, 4, default=default)
    lengths = tensor.shape[1:-1]
    (pool_size,) = shapes.admit_pools(lengths, asked, 1, shapes.LEAST_RESOLUTION)
    for length, size in zip(lengths, pool_size, strict=True):
        shapes.warn_if_clipped("downscale", asked, (size,), length)
    if max(pool_size) == 1:
        return tensor
    return keras.layers.AveragePooling2D(pool_size, padding="same", name="downscale")(tensor)


def pool_to_grid(tensor: keras.KerasTensor, cells: int) -> keras.KerasTensor:
    """Summarise each image in one vector that still says where its features were.

    Args:
        tensor: Features of shape (batch, height, width, filters).
        cells: How many cells an axis is divided into at most; a plain flattening of large frames
            would give the layer behind it millions of weights.

    Returns:
        Vectors of shape (batch, rows * columns * filters).
    """
    size = tuple(shapes.pool_length(length, cells) for length in tensor.shape[1:-1])
    if max(size) > 1:
        tensor = keras.layers.AveragePooling2D(size, padding="same", name="grid")(tensor)
    return keras.layers.Flatten(name="frame_summary")(tensor)


def summarize_frames(
    tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters
) -> keras.KerasTensor:
    """Summarise each image in one vector.

    Args:
        tensor: Features of shape (batch, height, width, filters).
        hp: Answers how: the average or the maximum over the image, or the averages of a coarse
            grid, which say where.

    Returns:
        Vectors of shape (batch, features).
    """
    summary = hp.Choice("frame_summary", ["average", "max", "grid"], default="average")
    if summary == "grid":
        return pool_to_grid(tensor, shapes.SUMMARY_CELLS)
    return SUMMARY[summary](name="frame_summary")(tensor)
