"""What makes no model is refused when the space is made, with what to write instead."""

import pytest

from spaces.sensor import Sensor
from spaces.seq2seq import Seq2Seq
from spaces.video import Video

CLIP = (10, 28, 28, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((0, 9), (6,)), r"input_shape must be at least \(1, 1\).*Received: input_shape=\(0, 9\)"),
        (((128, 0), (6,)), r"input_shape must be .* Received: input_shape=\(128, 0\)"),
        (((128,), (6,)), r"input_shape must be .* Received: input_shape=\(128,\)"),
        (((128, 9), (1,)), r"at least \(2,\) for classification. Received: output_shape=\(1,\)"),
        (((128, 9), (6, 1)), r"must be \(classes,\).* Received: output_shape=\(6, 1\)"),
        (((128, 9), (0,), "regression"), r"at least \(1,\) for regression"),
        (((128, 9), (24,), "forecasting"), r"must be \(horizon, variables\)"),
        (((128, 9), (64, 9), "anomaly"), r"must be the window's, \(128, 9\) for anomaly"),
        (((128, 9), (6,), "frames"), "task must be one of 'classification', .*'seq2seq'"),
    ],
)
def test_sizes_that_make_no_sensor_model_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sensor(*arguments)


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({"target_channels": (0,)}, "one input channel for each of 2 variables"),
        ({"target_channels": (0, 9)}, r"from 0 to 8: .*Received: target_channels=\(0, 9\)"),
        ({"season": 0}, "season must be at least 1, in steps. Received: season=0"),
    ],
)
def test_a_past_that_the_window_cannot_show_is_refused(known, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sensor((128, 9), (24, 2), "forecasting", **known)


@pytest.mark.parametrize(("space", "outputs"), [(Video, (6,)), (Seq2Seq, (10, 100, 100, 3))])
def test_a_single_image_is_refused_because_it_has_no_time_axis(space, outputs):
    with pytest.raises(ValueError, match="no time axis") as refused:
        space((100, 100, 3), outputs)

    assert str(refused.value) == (
        "input_shape must be (frames, height, width, channels): a single image has no time axis "
        "that an LSTM could read. Received: input_shape=(100, 100, 3). Give clips, for example of "
        "10 frames: (10, 100, 100, 3)."
    )


@pytest.mark.parametrize(
    ("space", "arguments", "sentence"),
    [
        (Video, ((0, 8, 8, 1), (6,)), r"at least \(1, 1, 1, 1\)"),
        (Video, ((8, 1), (6,)), r"Received: input_shape=\(8, 1\)"),
        (Video, (CLIP, (1,)), r"at least \(2,\)"),
        (Video, (CLIP, CLIP, "frames"), "write the space 'seq2seq'"),
        (Seq2Seq, (CLIP, (5, 28, 28, 3)), r"a frame being \(28, 28, 1\) for frames"),
        (Seq2Seq, (CLIP, (0, 28, 28, 1)), r"Received: output_shape=\(0, 28, 28, 1\)"),
        (Seq2Seq, (CLIP, (6,), "classification"), "write the space 'video'"),
    ],
)
def test_sizes_that_make_no_clip_model_are_refused(space, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        space(*arguments)
