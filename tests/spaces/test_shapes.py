import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces import shapes

LENGTHS = st.integers(1, 10_000)
POOL_SIZES = st.integers(1, 16)
BLOCKS = st.integers(1, 8)
LEAST = st.integers(1, 8)


def lengths_along(length: int, pool_sizes: tuple[int, ...]) -> list[int]:
    lengths = [length]
    for size in pool_sizes:
        lengths.append(shapes.pool_length(lengths[-1], size))
    return lengths


@given(LENGTHS, POOL_SIZES, BLOCKS, LEAST)
def test_pooling_keeps_the_least_length_where_there_was_as_much(length, pool_size, blocks, least):
    admitted = shapes.admit_pool_sizes(length, pool_size, blocks, least)

    assert len(admitted) == blocks
    assert lengths_along(length, admitted)[-1] >= min(length, least)


@given(LENGTHS, POOL_SIZES, BLOCKS, LEAST)
def test_no_block_could_pool_more_than_it_is_admitted(length, pool_size, blocks, least):
    admitted = shapes.admit_pool_sizes(length, pool_size, blocks, least)

    for before, size in zip(lengths_along(length, admitted), admitted, strict=False):
        assert size == pool_size or shapes.pool_length(before, size + 1) < least


@given(LENGTHS, POOL_SIZES)
def test_pooling_covers_every_step(length, pool_size):
    groups = shapes.pool_length(length, pool_size)

    assert (groups - 1) * pool_size < length <= groups * pool_size


def test_pooling_that_fits_is_left_alone_and_nothing_is_said():
    admitted = shapes.admit_pool_sizes(128, 2, 3, 2)

    assert admitted == (2, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shapes.warn_if_clipped("pool_size", 2, admitted, 128)


def test_what_is_clipped_is_said_in_one_sentence_that_names_the_hyperparameter():
    admitted = shapes.admit_pool_sizes(10, 4, 3, 2)

    assert admitted == (4, 2, 1)
    with pytest.warns(shapes.ShapeClipped, match=r"pool_size=4 became 4, 2, 1 in 3 .*length 10 "):
        shapes.warn_if_clipped("pool_size", 4, admitted, 10)


def test_filters_grow_by_the_same_factor_from_block_to_block():
    assert shapes.grow_filters(64, 1.0, 3) == (64, 64, 64)
    assert shapes.grow_filters(16, 1.5, 4) == (16, 24, 36, 54)
