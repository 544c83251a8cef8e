"""Shape arithmetic: what an input admits and how large every layer's output is, before building."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

Answers: TypeAlias = Mapping[str, Any]
LayerShape: TypeAlias = tuple[str, tuple[int, ...]]
Lengths: TypeAlias = tuple[int, ...]
LEAST_STEPS = 2  # over a single step an LSTM is a dense layer: it has nothing to remember
LEAST_RESOLUTION = 8  # pixels along an axis that lowering the resolution must leave
CODE_CELLS = 8  # along an axis, where a frame's code says where to draw
SUMMARY_CELLS = 3  # along an axis, where a frame's summary says in which part of it something is


class ShapeClipped(UserWarning):
    """A hyperparameter asked for more than the input admits and was cut down to what it does."""


def pool_length(length: int, pool_size: int) -> int:
    """Work out the length that pooling with ``padding="same"`` and equal strides leaves.

    Args:
        length: Steps, or pixels along one axis, before pooling.
        pool_size: Steps or pixels that become one.

    Returns:
        The length after pooling: an incomplete group at the end counts.
    """
    return -(-length // pool_size)


def admit_pool_sizes(length: int, pool_size: int, blocks: int, least: int) -> tuple[int, ...]:
    """Cut the pooling of a stack of blocks down to what one axis of the input admits.

    Args:
        length: Steps, or pixels along one axis, of the input.
        pool_size: Steps or pixels that each block is asked to pool into one.
        blocks: How many blocks pool one after the other.
        least: The length to keep; a shorter input keeps its own.

    Returns:
        The pool size of each block, of shape (blocks,), the largest possible first.
    """
    admitted = []
    for _ in range(blocks):
        size = pool_size
        while size > 1 and pool_length(length, size) < least:
            size -= 1
        length = pool_length(length, size)
        admitted.append(size)
    return tuple(admitted)


def admit_pools(
    lengths: Lengths, pool_size: int, blocks: int, least: int = LEAST_STEPS
) -> tuple[Lengths, ...]:
    """Cut the pooling of a stack of blocks down to what every axis of the input admits.

    Args:
        lengths: Steps, or pixels along each axis, of the input, of shape (axes,).
        pool_size: Steps or pixels that each block is asked to pool into one along every axis.
        blocks: How many blocks pool one after the other.
        least: The length that every axis keeps.

    Returns:
        The pool size of each block along each axis, of shape (blocks, axes).
    """
    by_axis = (admit_pool_sizes(length, pool_size, blocks, least) for length in lengths)
    return tuple(zip(*by_axis, strict=True))


def warn_if_clipped(name: str, asked: int, admitted: tuple[int, ...], length: int) -> None:
    """Say by a ``ShapeClipped`` warning what an input does not admit.

    Args:
        name: The hyperparameter's name.
        asked: Its value.
        admitted: What each block makes of it, of shape (blocks,).
        length: Steps, or pixels along one axis, of the input.
    """
    if any(size != asked for size in admitted):
        sizes = ", ".join(str(size) for size in admitted)
        warnings.warn(
            f"{name}={asked} became {sizes} in {len(admitted)} block(s): an input of length "
            f"{length} does not admit more.",
            ShapeClipped,
            stacklevel=3,
        )


def warn_replaced(name: str, asked: str, used: str, why: str) -> None:
    """Say by a ``ShapeClipped`` warning that a choice has no meaning for an input.

    Args:
        name: The hyperparameter's name.
        asked: Its value.
        used: The value whose model was built.
        why: The reason.
    """
    warnings.warn(f"{name}={asked!r} became {used!r}: {why}.", ShapeClipped, stacklevel=3)


def grow_filters(filters: int, growth: float, blocks: int) -> tuple[int, ...]:
    """Work out how many filters each block has.

    Args:
        filters: Filters of the first block.
        growth: What each block multiplies the number of its predecessor by.
        blocks: How many blocks follow each other.

    Returns:
        Whole numbers of filters, of shape (blocks,).
    """
    return tuple(round(filters * growth**block) for block in range(blocks))


def conv_stack_shapes(lengths: Lengths, answers: Answers) -> list[LayerShape]:
    """Work out what ``blocks.stack_conv_blocks`` builds.

    Args:
        lengths: Steps, or pixels along each axis, of the input, each at least 1.
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape (*lengths, filters) of each layer, in order.
    """
    blocks = answers["conv_blocks"]
    pool_sizes = admit_pools(lengths, answers["pool_size"], blocks)
    filters = grow_filters(answers["filters"], answers["filter_growth"], blocks)
    shapes: list[LayerShape] = []
    for block, pool_size in enumerate(pool_sizes):
        before = (*lengths, filters[block])
        lengths = tuple(map(pool_length, lengths, pool_size))
        after = (*lengths, filters[block])
        shapes.append((f"conv_{block}", before))
        if answers["normalization"] != "none":
            shapes.append((f"conv_{block}_normalization", before))
        shapes.append((f"conv_{block}_activation", before))
        if max(pool_size) > 1:
            shapes.append((f"conv_{block}_pooling", after))
        shapes.append((f"conv_{block}_dropout", after))
    return shapes


def grid_shapes(features: Lengths, cells: int) -> list[LayerShape]:
    """Work out what ``frames.pool_to_grid`` builds.

    Args:
        features: Shape (height, width, filters) of a frame's features.
        cells: How many cells an axis is divided into at most.

    Returns:
        Name and output shape of each layer, in order.
    """
    *lengths, filters = features
    grid = tuple(pool_length(length, pool_length(length, cells)) for length in lengths)
    flat = ("frame_summary", (math.prod(grid) * filters,))
    return [flat] if max(lengths) <= cells else [("grid", (*grid, filters)), flat]


def canvas_shape(size: Lengths, filters: Lengths) -> tuple[int, int, int]:
    """Work out what transposed convolutions start from.

    Args:
        size: Height and width of the frame to draw.
        filters: Filters of each transposed convolution, which doubles the size.

    Returns:
        Height, width and filters of the first feature map; drawn, it covers the frame.
    """
    height, width = (pool_length(length, 2 ** len(filters)) for length in size)
    return height, width, filters[0]


def drawing_shapes(size: Lengths, filters: Lengths) -> list[LayerShape]:
    """Work out what ``drawing.draw_features`` builds.

    Args:
        size: Height and width of the frame to draw.
        filters: Filters of each transposed convolution, which doubles the size.

    Returns:
        Name and output shape of each layer, in order.
    """
    height, width, _ = canvas = canvas_shape(size, filters)
    flat = (math.prod(canvas),)
    shapes: list[LayerShape] = [
        ("canvas", flat),
        ("canvas_activation", flat),
        ("canvas_map", canvas),
    ]
    for block, number in enumerate(filters):
        height, width = 2 * height, 2 * width
        shapes.append((f"drawing_{block}", (height, width, number)))
    return [*shapes, ("drawing", (*size, filters[-1]))]


def lstm_stack_shapes(steps: int, answers: Answers) -> list[LayerShape]:
    """Work out what ``blocks.stack_lstm_layers`` builds.

    Args:
        steps: Time steps that reach the first LSTM layer.
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape of each layer, in order: (steps, units), and (units,) once the
        sequence is read out; a bidirectional layer has twice the units.
    """
    layers = answers["lstm_layers"]
    units = answers["lstm_units"] * (2 if answers["bidirectional"] else 1)
    sequence, summary = (steps, units), (units,)
    shapes: list[LayerShape] = []
    for layer in range(layers - 1):
        shapes += [(f"lstm_{layer}", sequence), (f"lstm_{layer}_dropout", sequence)]
    if answers["readout"] == "last":
        return [*shapes, (f"lstm_{layers - 1}", summary)]
    return [*shapes, (f"lstm_{layers - 1}", sequence), ("readout", summary)]
