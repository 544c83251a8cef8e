import keras
import numpy as np
import pytest

from spaces import statistics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def describe(clips: np.ndarray) -> np.ndarray:
    inputs = keras.Input(clips.shape[1:])
    described = statistics.describe_clips(inputs)
    model = keras.Model(inputs, described)
    shift, spread = np.full(described.shape[1], 2.0), np.full(described.shape[1], 9.0)
    model.get_layer("statistics").set_weights([shift, spread])
    return np.asarray(model(clips)) * 3 + 2


def test_a_clip_is_described_by_its_looks_and_its_motion_over_time() -> None:
    clips = np.random.default_rng(0).random((2, 4, 3, 5, 2), "float32")
    motion = abs(np.diff(clips, axis=1)).mean((2, 3))
    series = (clips.mean((2, 3)), clips.std((2, 3)), motion)
    expected = np.concatenate(
        [
            part
            for one in series
            for part in (one.mean(1), one.std(1), one.min(1), one.max(1), one[:, -1])
        ],
        axis=1,
    )
    assert expected.shape == (2, 30)
    assert describe(clips) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_window_is_described_by_each_channel_over_time() -> None:
    windows = np.random.default_rng(0).random((2, 4, 3), "float32")
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, statistics.describe_windows(inputs))
    parts = (windows.mean(1), windows.std(1), windows.min(1), windows.max(1), windows[:, -1])
    expected = np.concatenate(parts, axis=1) / np.sqrt(1 + 1e-6)
    assert np.asarray(model(windows)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_each_window_teaches_one_of_the_two_and_both_answer() -> None:
    features, numbers = keras.Input((3,)), keras.Input((4,))
    inputs = [features, numbers]
    model = keras.Model(inputs, statistics.classify_in_turns(features, numbers, 2))
    source = np.random.default_rng(0)
    model.set_weights([source.standard_normal(one.shape) for one in model.get_weights()])
    names = ("network_classes", "linear_classes")
    alone = [keras.Model(inputs, model.get_layer(name).output) for name in names]
    shown = source.standard_normal((200, 3)), source.standard_normal((200, 4))
    network, linear = (np.asarray(keras.ops.softmax(one(shown))) for one in alone)
    product = np.sqrt(network * linear)
    both = product / product.sum(axis=1, keepdims=True)
    assert np.asarray(model(shown)) == pytest.approx(both, abs=1e-5)

    taught = np.asarray(model(shown, training=True))
    distances = [abs(taught - part).max(axis=1) for part in (network, linear)]
    assert np.minimum(*distances).max() < 1e-5
    assert all(60 < np.count_nonzero(one < 1e-5) < 140 for one in distances)


@pytest.mark.parametrize("steps", [3, 12, 60, 1000, None])
def test_few_steps_of_training_forget_what_batch_statistics_began_with(steps: int | None) -> None:
    inputs = keras.Input((4, 3, 5, 1))
    model = keras.Model(inputs, statistics.describe_clips(inputs, steps))
    clips = np.random.default_rng(0).random((8, 4, 3, 5, 1), "float32")
    for _ in range(steps or 200):
        model(clips, training=True)
    described = np.asarray(model(clips))
    assert described.mean(axis=0) == pytest.approx(np.zeros(15), abs=0.05)
    assert described.std(axis=0) == pytest.approx(np.ones(15), abs=0.05)


def test_one_frame_has_looks_and_no_motion() -> None:
    clips = np.random.default_rng(0).random((2, 1, 3, 5, 1), "float32")
    assert describe(clips).shape == (2, 10)


def test_at_first_the_statistics_say_nothing() -> None:
    features, numbers = keras.Input((3,)), keras.Input((4,))
    model = keras.Model([features, numbers], statistics.classify_beside(features, numbers, 2))
    alone = keras.Model(features, model.get_layer("network_classes").output)
    shown = np.random.default_rng(0).standard_normal((5, 3)), np.ones((5, 4))
    expected = (np.asarray(alone(shown[0])) + 0.5) / 2
    assert np.asarray(model(shown)) == pytest.approx(expected, abs=1e-6)
    values = statistics.regress_beside(features, numbers, (2,))
    model = keras.Model([features, numbers], values)
    alone = keras.Model(features, model.get_layer("values").output)
    assert np.asarray(model(shown)) == pytest.approx(np.asarray(alone(shown[0])), abs=1e-6)


def test_without_statistics_the_network_decides_alone() -> None:
    features = keras.Input((3,))
    model = keras.Model(features, statistics.classify_beside(features, None, 2))
    assert [layer.name for layer in model.layers[1:]] == ["classes"]
    model = keras.Model(features, statistics.classify_in_turns(features, None, 2))
    assert [layer.name for layer in model.layers[1:]] == ["classes"]
    model = keras.Model(features, statistics.regress_beside(features, None, (2,)))
    assert [layer.name for layer in model.layers[1:]] == ["values"]
