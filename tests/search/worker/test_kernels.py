"""The fused kernel computes what Keras's loop does, gradients included, and nothing of it is saved."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search.worker.kernels import fuse_lstms, release_lstms

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
TOLERANCE = 1e-5
layers = keras.layers


def both_ways(tensor: Any) -> Any:
    return layers.Bidirectional(layers.LSTM(6, return_sequences=True))(tensor)


def continued(tensor: Any) -> Any:
    summary, *state = layers.LSTM(5, return_state=True)(tensor)
    again = layers.RepeatVector(4)(summary)
    return layers.LSTM(5, return_sequences=True)(again, initial_state=state)


def stacked(tensor: Any) -> Any:
    return layers.LSTM(3)(layers.LSTM(7, return_sequences=True)(tensor))


ARCHITECTURES = {
    "last": lambda: layers.LSTM(7),
    "every": lambda: layers.LSTM(7, return_sequences=True),
    "backwards": lambda: layers.LSTM(7, go_backwards=True, return_sequences=True),
    "both ways": lambda: both_ways,
    "continued": lambda: continued,
    "stacked": lambda: stacked,
}
OTHER_LAYERS = {
    "activation": lambda: layers.LSTM(7, activation="relu"),
    "no bias": lambda: layers.LSTM(7, use_bias=False),
    "dropout": lambda: layers.LSTM(7, dropout=0.2),
    "recurrent dropout": lambda: layers.LSTM(7, recurrent_dropout=0.2),
    "unrolled": lambda: layers.LSTM(7, unroll=True),
    "half precision": lambda: layers.LSTM(7, dtype="mixed_bfloat16"),
    "own class": lambda: Own(7),
}


class Own(keras.layers.LSTM):
    pass


def make(architecture: Any) -> Any:
    inputs = keras.Input((9, 3))
    outputs = architecture(inputs)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=one.shape, scale=0.5) for one in model.get_weights()])
    return model


def is_fused(model: Any) -> bool:
    return any(
        "inner_loop" in vars(one) for one in model._flatten_layers() if isinstance(one, layers.LSTM)
    )


def differentiate(model: Any, windows: Any, weights: Any) -> list[Any]:
    with tf.GradientTape() as tape:
        tape.watch(windows)
        outputs = model(windows, training=True)
        loss = tf.reduce_sum(outputs * weights[: outputs.shape[0]])
    return [outputs, *tape.gradient(loss, [windows, *model.trainable_variables])]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_and_gradients_are_those_of_keras(name: str) -> None:
    model = make(ARCHITECTURES[name]())
    rng = np.random.default_rng(1)
    windows = tf.constant(rng.normal(size=(5, 9, 3)), dtype="float32")
    weights = tf.constant(rng.normal(size=(5, *model.output_shape[1:])), dtype="float32")
    expected = differentiate(model, windows, weights)
    fuse_lstms(model)
    assert is_fused(model)
    for found, right in zip(differentiate(model, windows, weights), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=TOLERANCE, atol=TOLERANCE)
    graph = tf.function(lambda batch: differentiate(model, batch, weights))
    for found, right in zip(graph(windows), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=TOLERANCE, atol=TOLERANCE)


def test_batches_of_other_sizes_and_unknown_lengths_pass() -> None:
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layers.LSTM(4, return_sequences=True)(inputs))
    windows = np.random.default_rng(2).normal(size=(4, 11, 3)).astype("float32")
    expected = model.predict_on_batch(windows)
    model.predict_function = None
    fuse_lstms(model)
    for part in (windows, windows[:1], windows[:, :5]):
        found = model.predict_on_batch(part)
        np.testing.assert_allclose(found, expected[: len(part), : part.shape[1]], atol=TOLERANCE)


def test_masked_sequences_are_left_to_keras() -> None:
    inputs = keras.Input((6, 2))
    model = keras.Model(inputs, layers.LSTM(4)(layers.Masking()(inputs)))
    windows = np.random.default_rng(3).normal(size=(3, 6, 2)).astype("float32")
    windows[1, 4:] = 0
    expected = model(windows)
    fuse_lstms(model)
    np.testing.assert_array_equal(model(windows), expected)
    with_mask = model(np.where(np.arange(6)[:, None] < 4, windows, 0.0))
    np.testing.assert_allclose(with_mask[1], expected[1], atol=TOLERANCE)


@pytest.mark.parametrize("name", OTHER_LAYERS)
def test_a_layer_that_the_kernel_cannot_express_stays_as_it_was(name: str) -> None:
    model = make(OTHER_LAYERS[name]())
    fuse_lstms(model)
    assert not is_fused(model)


def test_a_model_that_xla_compiles_stays_as_it_was() -> None:
    model = make(ARCHITECTURES["last"]())
    model.compile("sgd", "mse", jit_compile=True)
    fuse_lstms(model)
    assert not is_fused(model)
    model.compile("sgd", "mse")
    fuse_lstms(model)
    assert is_fused(model)


def test_nothing_of_the_kernel_is_saved(tmp_path: Path) -> None:
    model = make(ARCHITECTURES["both ways"]())
    config = model.get_config()
    fuse_lstms(model)
    assert model.get_config() == config
    windows = np.ones((2, 9, 3), dtype="float32")
    found = model.predict_on_batch(windows)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert not is_fused(loaded)
    np.testing.assert_allclose(loaded.predict_on_batch(windows), found, atol=TOLERANCE)
    release_lstms(model)
    assert not is_fused(model)
    np.testing.assert_allclose(model(windows), found, atol=TOLERANCE)
