"""Shape arithmetic: what an input admits and how large every layer's output is, before building."""

import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

Answers: TypeAlias = Mapping[str, Any]
LayerShape: TypeAlias = tuple[str, tuple[int, ...]]
LEAST_STEPS = 2  # over a single step an LSTM is a dense layer: it has nothing to remember


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


def conv_stack_shapes(steps: int, answers: Answers) -> list[LayerShape]:
    """Work out what ``blocks.stack_conv_blocks`` builds.

    Args:
        steps: Time steps of the input, at least 1.
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape (steps, filters) of each layer, in order.
    """
    blocks = answers["conv_blocks"]
    pool_sizes = admit_pool_sizes(steps, answers["pool_size"], blocks, LEAST_STEPS)
    filters = grow_filters(answers["filters"], answers["filter_growth"], blocks)
    shapes: list[LayerShape] = []
    for block in range(blocks):
        before = (steps, filters[block])
        steps = pool_length(steps, pool_sizes[block])
        shapes.append((f"conv_{block}", before))
        if answers["normalization"] != "none":
            shapes.append((f"conv_{block}_normalization", before))
        shapes.append((f"conv_{block}_activation", before))
        if pool_sizes[block] > 1:
            shapes.append((f"conv_{block}_pooling", (steps, filters[block])))
        shapes.append((f"conv_{block}_dropout", (steps, filters[block])))
    return shapes


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
