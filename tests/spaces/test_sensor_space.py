import itertools
import os
import random
import subprocess
import sys
import warnings

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.engine import hyperparameters

from spaces import SPACES
from spaces.sensor import Sensor, layer_shapes
from spaces.shapes import LEAST_STEPS, ShapeClipped, admit_pool_sizes

STEPS = (1, 2, 3, 5, 8, 17, 50, 128, 500, 5000)
CHANNELS = (1, 3, 9, 20, 64)
INPUT_SHAPES = tuple(itertools.product(STEPS, CHANNELS))
CLASSES = 6


def build(input_shape, answers=None, classes=CLASSES):
    """Return the model, every answer, and the sentences about what was clipped."""
    hp = keras_tuner.HyperParameters()
    hp.values.update(answers or {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ShapeClipped)
        model = Sensor(input_shape, classes).build(hp)
    return model, hp, [str(warning.message) for warning in caught]


def shapes_of(model):
    return [(layer.name, tuple(layer.output.shape[1:])) for layer in model.layers]


@pytest.fixture(scope="module")
def space():
    return build((128, 9))[1].space


def draw_answers(space, source):
    return {asked.name: asked.random_sample(source.random()) for asked in space}


def strategy_for(asked):
    match asked:
        case hyperparameters.Boolean():
            return st.booleans()
        case hyperparameters.Choice():
            return st.sampled_from(asked.values)
        case hyperparameters.Int():
            steps = (asked.max_value - asked.min_value) // (asked.step or 1)
            low, step = asked.min_value, asked.step or 1
            return st.integers(0, steps).map(lambda index: low + index * step)
        case hyperparameters.Float():
            return st.floats(asked.min_value, asked.max_value)
    raise TypeError(asked)


@pytest.fixture(scope="module")
def any_answers(space):
    return st.fixed_dictionaries({asked.name: strategy_for(asked) for asked in space})


def test_the_space_is_found_by_its_name():
    assert SPACES["sensor"] is Sensor


def test_the_default_candidate_is_a_compiled_classifier():
    model, _, clipped = build((128, 9))

    assert model.input_shape == (None, 128, 9)
    assert model.output_shape == (None, CLASSES)
    assert model.loss == "sparse_categorical_crossentropy"
    assert clipped == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_default_candidate_learns_an_order_that_no_average_shows():
    source = np.random.default_rng(0)
    rising = np.linspace(-1, 1, 24, dtype="float32")[:, None] * np.ones(3, "float32")
    labels = source.integers(0, 2, 256)
    noise = 0.3 * source.standard_normal((256, 24, 3)).astype("float32")
    windows = np.where(labels[:, None, None] == 1, rising, -rising) + noise
    keras.utils.set_random_seed(0)
    model, _, _ = build((24, 3), classes=2)

    model.fit(windows[:192], labels[:192], epochs=8, batch_size=32, verbose=0)

    _, accuracy = model.evaluate(windows[192:], labels[192:], verbose=0)
    assert accuracy > 0.95


@pytest.mark.parametrize("input_shape", [(1, 1), (2, 3), (8, 1), (5000, 64)])
def test_the_default_candidate_builds_for_the_smallest_and_the_largest_inputs(input_shape):
    model, hp, _ = build(input_shape)

    assert shapes_of(model) == layer_shapes(input_shape, CLASSES, hp.values)


def test_what_the_input_does_not_admit_is_said():
    _, _, clipped = build((8, 1), {"conv_blocks": 3, "pool_size": 4})

    assert len(clipped) == 1
    assert "pool_size=4 became 4, 1, 1" in clipped[0]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_hyperparameter_is_asked_for_in_one_domain_whatever_the_input_and_the_answers(space):
    source = random.Random(1)
    domains = [asked.get_config() for asked in space]

    for input_shape in source.sample(INPUT_SHAPES, 12):
        _, hp, _ = build(input_shape, draw_answers(space, source))
        assert [asked.get_config() for asked in hp.space] == domains


def test_every_default_lies_in_its_own_domain(space):
    for asked in space:
        if isinstance(asked, hyperparameters.Boolean | hyperparameters.Choice):
            assert asked.default in asked.values
        else:
            assert asked.min_value <= asked.default <= asked.max_value
            assert (asked.default - asked.min_value) % (asked.step or 1e-9) < 1e-8


def test_no_hyperparameter_has_both_a_step_and_log_sampling(space):
    numbers = [asked for asked in space if hasattr(asked, "sampling")]

    assert numbers
    assert not [asked.name for asked in numbers if asked.sampling == "log" and asked.step]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_answers_times_fifty_inputs_leave_no_impossible_shape(space):
    source = random.Random(2)

    for _ in range(10_000):
        answers = draw_answers(space, source)
        for input_shape in INPUT_SHAPES:
            layers = layer_shapes(input_shape, CLASSES, answers)
            assert min(map(min, (shape for _, shape in layers))) >= 1
            steps = min(shape[0] for _, shape in layers if len(shape) == 2)
            assert steps >= min(2, input_shape[0])
            assert layers[-1][1] == (CLASSES,)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_hundred_random_candidates_build_with_the_shapes_that_were_worked_out(space):
    source = random.Random(3)

    for number in range(300):
        input_shape = INPUT_SHAPES[number % len(INPUT_SHAPES)]
        answers = draw_answers(space, source)
        keras.utils.clear_session(free_memory=False)
        model, _, _ = build(input_shape, answers)
        assert shapes_of(model) == layer_shapes(input_shape, CLASSES, answers)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_any_answers_build_for_any_input(any_answers):
    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(any_answers, st.integers(1, 300), st.integers(1, 8), st.integers(2, 9))
    def check(answers, steps, channels, classes):
        model, _, clipped = build((steps, channels), answers, classes)
        asked, blocks = answers["pool_size"], answers["conv_blocks"]
        admitted = admit_pool_sizes(steps, asked, blocks, LEAST_STEPS)
        assert shapes_of(model) == layer_shapes((steps, channels), classes, answers)
        assert bool(clipped) == (admitted != (asked,) * blocks)

    check()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("readout", ["last", "mean", "max"])
def test_every_lstm_keeps_what_the_fast_kernel_asks_for(bidirectional, readout):
    answers = {"lstm_layers": 2, "bidirectional": bidirectional, "readout": readout}
    model, _, _ = build((16, 3), answers)
    layers = [layer for layer in model.layers if layer.name in ("lstm_0", "lstm_1")]
    if bidirectional:
        layers = [way for both in layers for way in (both.forward_layer, both.backward_layer)]

    assert len(layers) == (4 if bidirectional else 2)
    for layer in layers:
        # the conditions that Keras documents at keras.layers.LSTM
        assert layer.activation is keras.activations.tanh
        assert layer.recurrent_activation is keras.activations.sigmoid
        assert layer.recurrent_dropout == 0
        assert not layer.unroll
        assert layer.use_bias
        assert layer.use_cudnn == "auto"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_same_answers_give_the_same_architecture(bidirectional):
    answers = {"bidirectional": bidirectional, "readout": "mean", "optimizer": "rmsprop"}
    first, second = build((40, 3), answers)[0], build((40, 3), answers)[0]

    assert first.to_json() == second.to_json()


@pytest.mark.parametrize(
    ("input_shape", "classes", "sentence"),
    [
        ((0, 9), 6, r"input_shape must be at least \(1, 1\).*Received: input_shape=\(0, 9\)"),
        ((128, 0), 6, r"input_shape must be at least \(1, 1\).*Received: input_shape=\(128, 0\)"),
        ((128, 9), 1, "classes must be at least 2. Received: classes=1"),
    ],
)
def test_sizes_that_make_no_classifier_are_refused(input_shape, classes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sensor(input_shape, classes)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_space_trains_on_jax_without_tensorflow():
    pytest.importorskip("jax", reason="the jax extra is not installed")
    script = """
import sys, keras_tuner, numpy
from spaces import SPACES
model = SPACES["sensor"]((8, 2), 3).build(keras_tuner.HyperParameters())
model.fit(numpy.zeros((4, 8, 2)), numpy.array([0, 1, 2, 0]), verbose=0)
print(model.output_shape, "tensorflow" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "(None, 3) False"
