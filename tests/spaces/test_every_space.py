"""What every space must do, for every task that it serves."""

import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.engine import hyperparameters

from spaces import SPACES
from spaces.sensor import Sensor
from spaces.seq2seq import Seq2Seq
from spaces.video import Video

FORECAST = {"target_channels": (2, 0), "season": 4}
CASES = {
    "classification": (Sensor, (12, 3), (4,), {}),
    "regression": (Sensor, (12, 3), (2,), {}),
    "forecasting": (Sensor, (12, 3), (6, 2), FORECAST),
    "forecasting unseen": (Sensor, (12, 3), (6, 2), {}),
    "anomaly": (Sensor, (12, 3), (12, 3), {}),
    "anomaly foretold": (Sensor, (12, 3), (12, 3), {"detector": "predictor"}),
    "clip classification": (Video, (3, 17, 16, 1), (4,), {}),
    "clip regression": (Video, (3, 17, 16, 1), (2,), {}),
    "frames": (Seq2Seq, (3, 9, 8, 1), (2, 9, 8, 1), {}),
}
TASKS = {"forecasting unseen": "forecasting", "anomaly foretold": "anomaly"}
SIZES = st.integers(1, 40)
WIDTHS = st.integers(1, 3)
# together they reach every layer and operation that a space can build
VARIANTS = [
    ("classification", {"bidirectional": True, "readout": "max", "normalization": "layer"}),
    ("regression", {"loss": "huber"}),
    ("forecasting", {}),
    ("forecasting", {"predicts": "change_from_last", "center_windows": False}),
    ("forecasting", {"predicts": "value"}),
    ("forecasting unseen", {}),
    ("anomaly", {}),
    ("anomaly foretold", {}),
    ("clip classification", {"motion": "both", "frame_summary": "grid"}),
    ("clip classification", {"frame_summary": "max", "downscale": 1, "motion": "magnitudes"}),
    ("clip regression", {}),
    ("frames", {"moves": 2, "motion": "both"}),
    ("frames", {"skip": "gate", "decoder": "dense"}),
    ("frames", {"skip": "none"}),
]

# a build takes up to seconds on a busy machine
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
every_case = pytest.mark.parametrize("case", CASES)


def make(case, input_shape=None, output_shape=None):
    space, default_input, default_output, known = CASES[case]
    task = TASKS.get(case, case.removeprefix("clip "))
    return space(input_shape or default_input, output_shape or default_output, task, **known)


def put_out(case, output_shape):
    """Say what a model puts out: a predictor of a window's last row, that row."""
    return (1, *output_shape[1:]) if case == "anomaly foretold" else output_shape


def draw_shapes(case, draw):
    """Draw an input's and an output's shape that the case's task allows."""
    steps, channels = draw(SIZES), draw(WIDTHS)
    clip = (draw(st.integers(1, 5)), draw(SIZES), draw(SIZES), channels)
    match case:
        case "classification":
            return (steps, channels), (draw(st.integers(2, 9)),)
        case "regression":
            return (steps, channels), (draw(WIDTHS),)
        case "forecasting" | "forecasting unseen":
            return (steps, 3), (draw(st.integers(1, 9)), 2)
        case "anomaly" | "anomaly foretold":
            return (steps, channels), (steps, channels)
        case "clip classification":
            return clip, (draw(st.integers(2, 9)),)
        case "clip regression":
            return clip, (draw(WIDTHS),)
        case "frames":
            return clip, (draw(st.integers(1, 4)), *clip[1:])
    raise ValueError(case)


@pytest.mark.parametrize(
    ("name", "space"), [("sensor", Sensor), ("video", Video), ("seq2seq", Seq2Seq)]
)
def test_a_space_is_found_by_its_name(name, space):
    assert SPACES[name] is space


@pytest.fixture(scope="module")
def build_default(build):
    return functools.cache(lambda case: build(make(case)))


@every_case
def test_the_default_candidate_is_compiled_clips_nothing_and_puts_out_what_was_asked_for(
    case, build_default
):
    model, _, clipped = build_default(case)

    assert model.compiled
    assert model.input_shape == (None, *CASES[case][1])
    assert model.output_shape == (None, *put_out(case, CASES[case][2]))
    assert [sentence for sentence in clipped if "pool_size" not in sentence] == []


@every_case
def test_every_default_lies_in_its_own_domain(case, build_default):
    _, hp, _ = build_default(case)

    for asked in hp.space:
        if isinstance(asked, hyperparameters.Boolean | hyperparameters.Choice):
            assert asked.default in asked.values
        else:
            assert asked.min_value <= asked.default <= asked.max_value
            assert (asked.default - asked.min_value) % (asked.step or 1e-9) < 1e-8


@every_case
def test_no_hyperparameter_has_both_a_step_and_log_sampling(case, build_default):
    _, hp, _ = build_default(case)
    numbers = [asked for asked in hp.space if hasattr(asked, "sampling")]

    assert numbers
    assert not [asked.name for asked in numbers if asked.sampling == "log" and asked.step]


@every_case
def test_any_answers_build_for_any_shapes_in_one_domain(case, build, build_default, answers_to):
    _, first, _ = build_default(case)
    domains = [asked.get_config() for asked in first.space]

    @settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @given(st.data(), answers_to(first.space))
    def check(data, answers):
        input_shape, output_shape = draw_shapes(case, data.draw)
        model, hp, _ = build(make(case, input_shape, output_shape), answers)
        assert model.output_shape == (None, *put_out(case, output_shape))
        assert [asked.get_config() for asked in hp.space] == domains

    check()


@every_case
def test_the_smallest_input_is_trained_on(case, build):
    space, input_shape, output_shape, _ = CASES[case]
    channels = 3 if "forecasting" in case else 1
    smallest = (*[1] * (len(input_shape) - 1), channels)
    outputs = smallest if space is Seq2Seq or "anomaly" in case else output_shape
    model, _, _ = build(make(case, smallest, outputs))

    labels = np.zeros(2) if "classification" in case else np.zeros((2, *outputs))
    history = model.fit(np.ones((2, *smallest)), labels, verbose=0)

    assert np.isfinite(history.history["loss"]).all()


@every_case
def test_the_same_answers_give_the_same_architecture(case, build, build_default):
    assert build(make(case))[0].to_json() == build_default(case)[0].to_json()


@every_case
def test_every_lstm_keeps_what_the_fast_kernel_asks_for(case, build):
    answers = {"lstm_layers": 2, "bidirectional": "frames" not in case}
    layers = build(make(case), answers)[0].layers
    both = [layer for layer in layers if isinstance(layer, keras.layers.Bidirectional)]
    ways = [way for layer in both for way in (layer.forward_layer, layer.backward_layer)]
    found = [layer for layer in layers if isinstance(layer, keras.layers.LSTM)] + ways

    assert len(found) >= (1 if case == "anomaly" else 2)  # the autoencoder has one, its middle
    for layer in found:
        # the conditions that Keras documents at keras.layers.LSTM
        assert layer.activation is keras.activations.tanh
        assert layer.recurrent_activation is keras.activations.sigmoid
        assert layer.recurrent_dropout == 0
        assert not layer.unroll
        assert layer.use_bias
        assert layer.use_cudnn == "auto"


def test_a_saved_candidate_is_loaded_where_this_project_is_not(build, tmp_path):
    for number, (case, answers) in enumerate(VARIANTS):
        model, _, _ = build(make(case), answers)
        inputs = np.random.default_rng(number).random((2, *CASES[case][1]), "float32")
        model.save(tmp_path / f"{number}.keras")
        np.savez(tmp_path / f"{number}.npz", inputs=inputs, outputs=model(inputs))
    script = """
import sys, keras, numpy
for number in range(int(sys.argv[1])):
    model = keras.saving.load_model(f"{number}.keras", safe_mode=True)
    kept = numpy.load(f"{number}.npz")
    print(numpy.abs(model(kept["inputs"]) - kept["outputs"]).max() < 1e-5)
print("spaces" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(len(VARIANTS))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [*["True"] * len(VARIANTS), "False"]


@pytest.mark.parametrize(("case", "answers"), VARIANTS)
def test_an_exported_candidate_takes_any_number_of_inputs(case, answers, build, tmp_path):
    import tensorflow as tf  # noqa: PLC0415  # only its own format needs it

    model, _, _ = build(make(case), answers)
    model.export(tmp_path, verbose=False)
    loaded = tf.saved_model.load(tmp_path)  # without it, its variables are gone

    for batch in (1, 3):
        inputs = np.random.default_rng(0).random((batch, *CASES[case][1]), "float32")
        assert np.abs(loaded.serve(inputs) - model(inputs)).max() < 1e-5


def test_every_space_trains_on_jax_without_tensorflow():
    pytest.importorskip("jax", reason="the jax extra is not installed")
    script = """
import sys, keras_tuner, numpy
from spaces import SPACES
for name, inputs, outputs, task in [
    ("sensor", (8, 2), (3,), "classification"),
    ("sensor", (8, 2), (3, 2), "forecasting"),
    ("sensor", (8, 2), (8, 2), "anomaly"),
    ("video", (3, 9, 8, 1), (3,), "classification"),
    ("seq2seq", (3, 9, 8, 1), (2, 9, 8, 1), "frames"),
]:
    known = {"target_channels": (0, 1), "season": 4} if task == "forecasting" else {}
    model = SPACES[name](inputs, outputs, task, **known).build(keras_tuner.HyperParameters())
    labels = numpy.zeros(4) if task == "classification" else numpy.zeros((4, *outputs))
    model.fit(numpy.zeros((4, *inputs)), labels, verbose=0)
    assert model.output_shape == (None, *outputs)
print("tensorflow" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
