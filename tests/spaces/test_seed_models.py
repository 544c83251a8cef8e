"""The three models that the project started from are points of its spaces.

The first of them as it was printed, on a single image, is refused: see test_requests.py.
"""

import keras
import pytest

from spaces.sensor import Sensor
from spaces.seq2seq import Seq2Seq
from spaces.video import Video

COUNTED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.LSTM,
    keras.layers.Dense,
)


def counted(model):
    """Return class and output shape of the layers that hold weights or change shapes."""
    layers = [layer for layer in model.layers if isinstance(layer, COUNTED)]
    return [(type(layer).__name__, _output_shape(layer)) for layer in layers]


def _output_shape(layer):
    output = layer.output[0] if isinstance(layer.output, list) else layer.output
    return tuple(output.shape[1:])


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_video_classifier_is_a_point_of_the_space(build):
    point = {
        "motion": "frames",
        "linear_part": False,
        "downscale": 1,
        "conv_blocks": 2,
        "filters": 32,
        "filter_growth": 2.0,
        "kernel_size": 3,
        "normalization": "none",
        "pool_size": 2,
        "conv_dropout": 0.0,
        "lstm_units": 64,
        "head_dropout": 0.0,
    }
    model, _, clipped = build(Video((10, 100, 100, 3), (5,)), point)

    assert counted(model) == [
        ("Conv2D", (100, 100, 32)),
        ("MaxPooling2D", (50, 50, 32)),
        ("Conv2D", (50, 50, 64)),
        ("MaxPooling2D", (25, 25, 64)),
        ("LSTM", (64,)),
        ("Dense", (5,)),
    ]
    assert clipped == []


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("task", "outputs"), [("classification", (4,)), ("regression", (1,)), ("forecasting", (1, 3))]
)
def test_the_sensor_model_is_a_point_of_the_space(task, outputs, build):
    point = {
        "conv_blocks": 1,
        "filters": 64,
        "kernel_size": 3,
        "normalization": "none",
        "pool_size": 2,
        "lstm_units": 50,
    }
    model, _, _ = build(Sensor((20, 3), outputs, task), point)

    values = 4 if task == "classification" else outputs[0] * outputs[-1]
    assert counted(model) == [
        ("Conv1D", (20, 64)),
        ("MaxPooling1D", (10, 64)),
        ("LSTM", (50,)),
        ("Dense", (values,)),
    ]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_encoder_decoder_is_a_point_of_the_space(build):
    clip = (10, 28, 28, 1)
    point = {
        "conv_blocks": 2,
        "filters": 32,
        "filter_growth": 2.0,
        "code_units": 128,
        "lstm_units": 64,
        "skip": "none",
    }
    model, _, _ = build(Seq2Seq(clip, clip), point)

    assert model.output_shape == (None, *clip)
    assert counted(model) == [
        ("Conv2D", (28, 28, 32)),
        ("MaxPooling2D", (14, 14, 32)),
        ("Conv2D", (14, 14, 64)),
        ("MaxPooling2D", (7, 7, 64)),
        ("Dense", (128,)),
        ("LSTM", (64,)),
        ("LSTM", (10, 64)),
        ("Dense", (7 * 7 * 64,)),
        ("Conv2DTranspose", (14, 14, 64)),
        ("Conv2DTranspose", (28, 28, 32)),
        ("Conv2D", (28, 28, 1)),
    ]
