"""What a candidate needs is known, and refused where it is too much, before it is trained."""

from typing import Any

import keras
import pytest

from search.errors import OutOfMemory, OversizedModel
from search.worker.memory import (
    MIB,
    check_memory,
    least_training_mb,
    limit_weights,
    own_memory_mb,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
HUGE = 10**12


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(7)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def test_every_layer_with_weights_holds_its_output_for_the_whole_batch() -> None:
    inputs = keras.Input((6, 8, 8, 1))
    # frames merged into the batch: their number must not be lost
    frames = keras.layers.Conv2D(5, 3, padding="same")(keras.ops.reshape(inputs, (-1, 8, 8, 1)))
    summary = keras.layers.GlobalAveragePooling2D()(frames)
    lstm = keras.layers.LSTM(4, return_sequences=True)(keras.ops.reshape(summary, (-1, 6, 5)))
    model = keras.Model(inputs, keras.layers.Dense(3)(lstm[:, -1]))
    held = 3 * (6 * 8 * 8 * 5 + 6 * 4 + 3) + 2 * model.count_params()
    assert least_training_mb(model, 3) == pytest.approx(4 * held / MIB)
    # the model is as it was
    assert model(keras.ops.zeros((2, 6, 8, 8, 1))).shape == (2, 3)
    assert model.inputs[0].shape == (None, 6, 8, 8, 1)


def test_a_sequential_model_counts_and_of_a_subclassed_one_the_weights_alone() -> None:
    stack = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7), keras.layers.Dense(2)])
    assert least_training_mb(stack, 10) == pytest.approx(4 * (90 + 2 * 58) / MIB)
    own = Subclassed()
    own(keras.ops.zeros((1, 5)))
    assert least_training_mb(own, 10) == pytest.approx(4 * 2 * 42 / MIB)


@pytest.mark.parametrize("layer", ["dense", "lstm", "nested"])
def test_a_layer_that_is_too_large_is_refused_before_it_has_its_weights(layer: str) -> None:
    def build() -> None:
        inputs = keras.Input((4, 3))
        small = keras.layers.Dense(5)(inputs)
        if layer == "dense":
            keras.layers.Dense(HUGE, name="wide")(small)
        elif layer == "lstm":
            keras.layers.LSTM(HUGE, name="wide")(small)
        else:
            keras.Sequential([keras.Input((4, 5)), keras.layers.Dense(HUGE, name="wide")])(small)

    add_weight = keras.layers.Layer.add_weight
    message = r"limits\.parameters allows 1,000 weights"
    with pytest.raises(OversizedModel, match=message), limit_weights(1000, "limits.parameters"):
        build()
    assert keras.layers.Layer.add_weight is add_weight


def test_what_fits_is_let_pass_and_what_does_not_is_told_with_both_numbers() -> None:
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000)])
    check_memory(model, 64, limit_mb=None, gpu_memory_mb=None)
    limit = round(own_memory_mb()) + 200
    check_memory(model, 64, limit_mb=limit, gpu_memory_mb=None)
    with pytest.raises(
        OutOfMemory, match=rf"workers\.max_memory_mb allows {limit:,} MiB\. Received"
    ):
        check_memory(model, 100_000, limit_mb=limit, gpu_memory_mb=None)
    with pytest.raises(OutOfMemory, match=r"The machine has [\d,]+ MiB\. Received.* not trained"):
        check_memory(model, 10**9, limit_mb=None, gpu_memory_mb=None)


def test_where_a_gpu_trains_its_memory_counts_and_not_the_machine_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000)])
    check_memory(model, 100_000, limit_mb=None, gpu_memory_mb=300)  # this machine trains on its CPU
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [f"{kind}:0"])
    check_memory(model, 64, limit_mb=1, gpu_memory_mb=300)
    with pytest.raises(
        OutOfMemory, match=r"The GPU leaves a worker 300 MiB\. Received.* not trained"
    ):
        check_memory(model, 100_000, limit_mb=None, gpu_memory_mb=300)
