"""What an epoch of a candidate consists of is counted before it is trained."""

from pathlib import Path
from typing import Any

import keras
import pytest
from benches import Line, defaults, make_bench

from search.messages import CandidateBuilt, Cost, Outcome, Rates, TrainTrial
from search.worker.costs import count_cost
from search.worker.training import run_trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(7)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


def test_every_weight_counts_for_each_place_and_recurrent_layers_for_each_step() -> None:
    inputs = keras.Input((6, 8, 8, 1))
    frames = keras.layers.Conv2D(5, 3, padding="same")(keras.ops.reshape(inputs, (-1, 8, 8, 1)))
    summary = keras.layers.GlobalAveragePooling2D()(frames)
    lstm = keras.layers.LSTM(4)(keras.ops.reshape(summary, (-1, 6, 5)))
    model = keras.Model(inputs, keras.layers.Dense(3)(lstm))
    conv, memory, dense = (layer.count_params() for layer in model.layers if layer.weights)
    cost = count_cost(model, batch_size=2, steps=10)
    work = 10 * (conv * 2 * 6 * 64 + memory * 2 * 6 + dense * 2)
    assert cost == Cost(steps=10, waits=60, work=work)


def test_of_a_subclassed_model_nothing_is_known() -> None:
    own = Subclassed()
    own(keras.ops.zeros((1, 5)))
    assert count_cost(own, 2, 10) is None


def test_a_trial_tells_what_an_epoch_consists_of(tmp_path: Path) -> None:
    line = Line()
    bench = make_bench(tmp_path)
    ended = run_trial(bench, TrainTrial(number=0, seed=5), line, defaults(sequence_length=12))
    (built,) = (one for one in line.told if isinstance(one, CandidateBuilt))
    assert ended.outcome is Outcome.COMPLETE
    assert built.cost is not None
    size = int(ended.parameters["batch_size"])
    assert built.cost.steps == -(-len(bench.data.ends["train"]) // size)
    assert built.cost.waits > built.cost.steps
    assert built.cost.work > ended.epochs * built.parameter_count


def test_a_candidate_whose_epoch_takes_longer_than_a_trial_may_is_not_trained(
    tmp_path: Path,
) -> None:
    bench = make_bench(tmp_path, training={"max_epochs": 4, "max_seconds": 30})

    def run(step: float) -> Any:
        rates = Rates(epoch=0.0, step=step, wait=0.0, work=0.0)
        return run_trial(bench, TrainTrial(number=0, seed=5, rates=rates), Line(), defaults())

    slow = run(100.0)
    assert (slow.outcome, slow.epochs) == (Outcome.OVERTIME, 0)
    assert "training.max_seconds allows 30 s. Received: a candidate of which one" in slow.reason
    assert "first_step" not in slow.spent
    assert run(1e-3).outcome is Outcome.COMPLETE
