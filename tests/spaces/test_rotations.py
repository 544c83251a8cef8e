import keras
import numpy as np
import pytest

from spaces.rotations import find_rotations
from spaces.sensor import Sensor

CHANNELS = ("t", "ax", "ay", "az", "gz", "gy", "gx")
"""The second sensor's axes stand in another order than their names are given in."""
SENSORS = (("ax", "ay", "az"), ("gx", "gy", "gz"))
MEAN, SCALE = np.arange(7.0), np.linspace(0.5, 2.0, 7)


def turn(windows: np.ndarray, *, training: bool) -> np.ndarray:
    rotations = find_rotations(SENSORS, 40.0, CHANNELS, (MEAN.tolist(), SCALE.tolist()))
    assert rotations is not None
    inputs = keras.Input(windows.shape[1:])
    keras.utils.set_random_seed(0)
    model = keras.Model(inputs, rotations.turn(inputs))
    return np.asarray(model(windows, training=training))


def measured(windows: np.ndarray, sensor: tuple[str, ...]) -> np.ndarray:
    places = [CHANNELS.index(name) for name in sensor]
    return windows[..., places] * SCALE[places] + MEAN[places]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_each_window_is_turned_as_a_whole_and_only_in_training() -> None:
    windows = np.random.default_rng(0).standard_normal((30, 5, 7)).astype("float32")
    assert np.array_equal(turn(windows, training=False), windows)
    turned = turn(windows, training=True)
    assert np.array_equal(turned[..., 0], windows[..., 0])
    found = []
    for number in range(len(windows)):
        before, after = (
            np.concatenate([measured(each[number], sensor) for sensor in SENSORS])
            for each in (windows, turned)
        )
        rotation, *_ = np.linalg.lstsq(before, after, rcond=None)
        # one rotation explains all steps of both sensors
        assert before @ rotation == pytest.approx(after, abs=1e-4)
        assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-4)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-4)
        found.append(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    assert len(np.unique(np.round(found, 3))) == len(found)
    # three independent angles of 40 degrees: 69 together, the root of the mean square
    assert 45 < np.sqrt(np.mean(np.square(found))) < 95


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_turning_space_builds_the_model_that_the_others_are(build) -> None:
    known = {"channel_names": CHANNELS, "channel_means": MEAN, "channel_scales": SCALE}
    plain, _, _ = build(Sensor((12, 7), (3,), **known), {})
    turning, _, _ = build(Sensor((12, 7), (3,), rotate=SENSORS, **known), {})
    assert "rotation" in [layer.name for layer in turning.layers]
    turning.set_weights(plain.get_weights())
    windows = np.random.default_rng(0).standard_normal((4, 12, 7)).astype("float32")
    assert np.asarray(turning(windows)) == pytest.approx(np.asarray(plain(windows)), abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rotate": [["ax", "ay", "zz"]]}, r"rotate must name channels.*Received: 'zz'"),
        ({"rotate": [["ax", "ay"]]}, "three channels for each sensor"),
        ({"rotate": [["ax", "ay", "az"], ["ax", "gy", "gz"]]}, "every channel once"),
        ({"rotate": SENSORS, "rotate_degrees": 0}, r"above 0, to 57\. Received: 0"),
        ({"rotate": SENSORS, "rotate_degrees": 60.0}, r"to 57\. Received: 60"),
    ],
)
def test_channels_that_cannot_turn_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Sensor(
            (12, 7),
            (3,),
            channel_names=CHANNELS,
            channel_means=MEAN,
            channel_scales=SCALE,
            **settings,
        )


def test_recordings_that_are_scaled_apart_do_not_turn() -> None:
    with pytest.raises(ValueError, match=r"must come with data\.scaling='all'"):
        Sensor((12, 7), (3,), channel_names=CHANNELS, rotate=SENSORS)


def test_what_predicts_the_channels_themselves_does_not_turn_them() -> None:
    with pytest.raises(ValueError, match="rotate must be left out for task='anomaly'"):
        Sensor((12, 7), (12, 7), "anomaly", channel_names=CHANNELS, rotate=SENSORS)
