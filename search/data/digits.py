"""Handwritten digits are sent over a canvas, as in Moving MNIST.

Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of Video Representations using
LSTMs", ICML 2015, arXiv:1502.04681. As there, each digit starts anywhere, keeps its direction and
speed, and bounces off the walls, and where digits overlap the brighter pixel shows. Unlike there,
speeds differ, and a digit between two pixels is interpolated (bilinearly): with rounding, a
digit that is 8 pixels small would jump, and nothing in the frames would tell when.
"""

import numpy as np
from sklearn import datasets

from search.config import DigitsData, TaskConfig
from search.data.recordings import Recordings
from search.data.sequences import Array
from search.data.sheets import open_arrays
from search.errors import ConfigError, DataError

SPEEDS = (1 / 32, 1 / 8)
"""Slowest and fastest movement in a frame, as a share of the canvas: 0.5 and 2 pixels of 16."""
POOLS = 50
"""Pools that the images are dealt to: a sequence draws its digits from one of them."""
INK = 16
"""The brightest value of scikit-learn's digits."""
DRAWN_PIXELS = 2**18
"""Pixels that are drawn at once: few enough for a processor's cache."""


def load_digits(config: DigitsData, task: TaskConfig) -> Recordings:
    """Make sequences of moving digits.

    Images are dealt to pools, and every sequence draws from one pool, which is its group: so no
    handwritten digit stands on two sides of a split by groups.

    Args:
        config: The images, how many sequences of how many frames, and the seed.
        task: What is predicted: the frames that follow.

    Returns:
        One recording and one target a sequence; the same seed gives the same bytes.

    Raises:
        ConfigError: If the task is not 'frames', or its horizon leaves no frame to predict from,
            or the images are larger than the canvas, or the file or array does not exist.
        DataError: If the file holds no such images, or fewer than one sequence shows.
    """
    if task.kind != "frames":
        raise ConfigError(
            f"task.kind must be 'frames' for data.source='digits', which offers no other. "
            f"Received: kind={task.kind!r}."
        )
    if task.horizon >= config.frames:
        raise ConfigError(
            f"task.horizon must leave frames to predict from. Received: horizon={task.horizon} for "
            f"data.frames={config.frames}. Write a smaller horizon, or "
            f"data.frames={task.horizon + config.frames}."
        )
    images = _read_images(config)
    rng = np.random.default_rng(config.simulation_seed)
    pools = min(POOLS, len(images) // config.digits)
    groups = rng.permutation(np.arange(config.sequences) % pools)
    drawn = _draw_images(rng, groups, pools, len(images), config.digits)
    places = _move(rng, config, images.shape[1:])
    rows = _draw_frames(images, drawn, places, config.canvas)
    source = "scikit-learn's" if config.path is None else f"of {config.path.name}"
    return Recordings(
        description=(
            f"{config.sequences} sequences of {config.frames} frames, {config.canvas} x "
            f"{config.canvas}, of {config.digits} moving: {len(images)} handwritten digits, "
            f"{source}, in {pools} pools that share none; the movements are simulated."
        ),
        rows=rows,
        starts=np.arange(config.sequences + 1) * config.frames,
        names=tuple(f"sequence {number}" for number in range(config.sequences)),
        truths=rows,
        channels=("grey",),
        clips=True,
        groups=groups,
    )


def _read_images(config: DigitsData) -> Array:
    """Read images of shape (images, height, width), uint8."""
    if config.path is None:
        images = np.asarray(datasets.load_digits().images, dtype=np.float64)
        images = np.rint(images * (255 / INK)).astype(np.uint8)
    else:
        with open_arrays(config.path) as arrays:
            images = np.asarray(arrays.read("images", config.images))
        if images.ndim != 3 or images.dtype != np.uint8 or images.size == 0:  # noqa: PLR2004
            raise DataError(
                f"data.images must have the axes (images, height, width) and hold bytes, uint8. "
                f"Received: dtype={images.dtype}, shape={images.shape}."
            )
    if config.shrink > 1:
        from skimage.measure import block_reduce  # noqa: PLC0415 - slow to load, used here only

        size = (1, config.shrink, config.shrink)
        shrunk = block_reduce(images, size, np.mean)  # type: ignore[no-untyped-call]
        images = np.rint(shrunk).astype(np.uint8)
    height, width = images.shape[1:]
    if max(height, width) > config.canvas:
        raise ConfigError(
            f"data.canvas must have room for a digit. Received: canvas={config.canvas} for images "
            f"of {height} x {width}. Write data.canvas={2 * max(height, width)}."
        )
    if len(images) < config.digits:
        raise DataError(
            f"data.images must hold the digits of a sequence. Received: {len(images)} images for "
            f"digits={config.digits}."
        )
    return images


def _draw_images(
    rng: np.random.Generator, groups: Array, pools: int, images: int, digits: int
) -> Array:
    """Draw the digits of each sequence from its pool, none of them twice.

    Args:
        rng: The source of randomness.
        groups: The pool of each sequence, of shape (sequences,).
        pools: How many pools there are.
        images: How many images there are.
        digits: Digits in a sequence.

    Returns:
        Image numbers of shape (sequences, digits).
    """
    dealt = np.array_split(rng.permutation(images), pools)
    drawn = np.empty((len(groups), digits), dtype=np.int64)
    for pool, members in enumerate(dealt):
        places = np.flatnonzero(groups == pool)
        order = rng.random((len(places), len(members))).argsort(axis=1)[:, :digits]
        drawn[places] = members[order]
    return drawn


def _move(rng: np.random.Generator, config: DigitsData, size: tuple[int, ...]) -> Array:
    """Move digits in straight lines that the walls reflect.

    Args:
        rng: The source of randomness.
        config: How many sequences, frames and digits, and the canvas in pixels.
        size: Height and width of a digit, in pixels.

    Returns:
        The upper left corner of each digit in each frame, in pixels, of shape
        (sequences, digits, frames, 2), float64.
    """
    room = config.canvas - np.array(size, dtype=np.float64)
    shape = (config.sequences, config.digits, 1)
    start = rng.random((*shape, 2)) * room
    angle = rng.uniform(0, 2 * np.pi, shape)
    speed = rng.uniform(*SPEEDS, shape) * config.canvas
    velocity = np.stack([np.sin(angle), np.cos(angle)], axis=-1) * speed[..., None]
    path = start + velocity * np.arange(config.frames)[:, None]
    turned = np.mod(path, np.maximum(2 * room, 1))  # a wall folds the line back
    return np.asarray(np.clip(np.minimum(turned, 2 * room - turned), 0, room))


def _draw_frames(images: Array, drawn: Array, places: Array, canvas: int) -> Array:
    """Draw the frames of every sequence.

    Args:
        images: Images of shape (images, height, width), uint8.
        drawn: Image numbers of shape (sequences, digits).
        places: Upper left corners of shape (sequences, digits, frames, 2), in pixels.
        canvas: Height and width of a frame.

    Returns:
        Rows of shape (sequences * frames, canvas, canvas, 1), uint8.
    """
    sequences, digits, frames, _ = places.shape
    rows = np.empty((sequences, frames, canvas, canvas), dtype=np.uint8)
    step = max(1, DRAWN_PIXELS // (frames * canvas**2))
    for low in range(0, sequences, step):
        some = slice(low, low + step)
        # One line more: an interpolated digit is one larger, though empty there at the far wall.
        part = np.zeros((len(drawn[some]), frames, canvas + 1, canvas + 1), dtype=np.uint8)
        for digit in range(digits):
            _draw_digit(part, images[drawn[some, digit]], places[some, digit])
        rows[some] = part[..., :-1, :-1]
    return rows.reshape(-1, canvas, canvas, 1)


def _draw_digit(frames: Array, images: Array, places: Array) -> None:
    """Draw one digit into each frame of some sequences, where it is brighter.

    Args:
        frames: Frames of shape (sequences, frames, canvas + 1, canvas + 1), uint8, changed in
            place.
        images: One image a sequence, of shape (sequences, height, width).
        places: Its upper left corners, of shape (sequences, frames, 2), in pixels.
    """
    corner = np.floor(places).astype(np.int64)
    down, right = np.moveaxis((places - corner).astype(np.float32), -1, 0)[..., None, None]
    padded = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1)))[:, None]
    drawn = padded[:, :, 1:] * (1 - down) + padded[:, :, :-1] * down
    drawn = drawn[..., 1:] * (1 - right) + drawn[..., :-1] * right
    patch = np.rint(drawn).astype(np.uint8)
    sequence, frame = np.ogrid[: len(frames), : frames.shape[1]]
    lines = corner[..., 0, None, None] + np.arange(patch.shape[2])[:, None]
    columns = corner[..., 1, None, None] + np.arange(patch.shape[3])
    index = (sequence[..., None, None], frame[..., None, None], lines, columns)
    frames[index] = np.maximum(frames[index], patch)
