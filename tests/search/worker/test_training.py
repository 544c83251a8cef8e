"""One worker's work on small real data: batches, epochs, verdicts, kept weights, refits."""

import re
from collections import deque
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from benches import Killed, Line, defaults, make_bench

from search.data.sequences import Windows
from search.driver.promotion import hand_over, list_checkpoint
from search.errors import ConfigError, InvalidArchitecture, OutOfMemory
from search.messages import (
    CandidateBuilt,
    EpochReport,
    Outcome,
    RefitTrial,
    RepeatTrial,
    TrainTrial,
    TrialEnded,
    Verdict,
)
from search.tasks.detections import find_clean
from search.worker.batches import WindowBatches, epoch_order, make_batches, predict
from search.worker.hyperparameters import replay
from search.worker.retraining import refit_trial, repeat_trial
from search.worker.training import run_trial
from search.worker.weights import load_weights, save_weights
from search.worker.workbench import Candidate, Workbench, candidate_errors, memory_errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def forget(bench: Workbench) -> None:
    """Do what the driver does once it has noted a trial's end, and more: nothing is left of it."""
    for path in bench.weights.iterdir():
        path.unlink()


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Workbench:
    return make_bench(tmp_path, **getattr(request, "param", {}))


def test_every_target_is_trained_on_in_every_epoch() -> None:
    order = epoch_order(10, 4, seed=1, epoch=0)
    assert len(order) == 12
    assert set(order[:10]) == set(range(10))
    assert list(order[10:]) == list(order[:2])


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    same = epoch_order(50, 8, seed=1, epoch=3), epoch_order(50, 8, seed=1, epoch=3)
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], epoch_order(50, 8, seed=1, epoch=4))
    assert not np.array_equal(same[0], epoch_order(50, 8, seed=2, epoch=3))


def test_batches_are_the_windows_in_that_order(bench: Workbench) -> None:
    ends, labels = bench.data.ends["train"], bench.data.labels("train")
    orders = [epoch_order(len(ends), 16, seed=0, epoch=epoch) for epoch in range(2)]
    steps = len(orders[0]) // 16
    inputs, answers = bench.data.inputs(8), bench.data.answers()
    batches = make_batches(inputs, answers, ends, orders=iter(orders), steps=steps)
    seen = list(batches.as_numpy_iterator())
    assert len(seen) == 2 * steps
    for number, (windows, taught) in enumerate(seen):
        chosen = np.concatenate(orders)[number * 16 : (number + 1) * 16]
        assert np.array_equal(windows, bench.data.windows("train", 8)[chosen])
        assert np.array_equal(taught, labels[chosen])


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_the_graph_gathers_what_numpy_gathers(kind: str) -> None:
    source = np.random.default_rng(0)
    rows = source.integers(0, 256, (60, 4, 5, 1)).astype(np.uint8)
    scaled = {"mean": np.array([100.0], "float32"), "scale": np.array([50.0], "float32")}
    inputs = Windows(rows=rows, offsets=np.arange(-6, 1, 2), **(scaled if kind == "bytes" else {}))
    taught = Windows(
        rows=source.standard_normal((60, 2)),
        offsets=np.arange(1, 4),
        shape=(6,) if kind == "values" else None,
    )
    ends = np.arange(10, 50)
    batches = make_batches(inputs, taught, ends, orders=iter([np.arange(40)]), steps=1)
    ((windows, answers),) = batches.as_numpy_iterator()
    assert windows == pytest.approx(inputs.gather(ends), abs=1e-5)
    assert answers == pytest.approx(taught.gather(ends))
    assert answers.shape == ((40, 6) if kind == "values" else (40, 3, 2))


def test_batches_read_the_mapped_rows_where_they_lie(bench: Workbench) -> None:
    rows, ends = bench.data.rows, bench.data.ends["train"][:4]
    inputs = bench.data.inputs(8)
    before = inputs.gather(ends)
    batches = make_batches(inputs, bench.data.answers(), ends, orders=iter([np.arange(4)]), steps=1)
    file = np.memmap(rows.filename, rows.dtype, "r+", rows.offset, rows.shape)
    file += 1.0
    file.flush()
    ((windows, _),) = batches.as_numpy_iterator()
    assert windows == pytest.approx(before + 1.0)


@pytest.mark.parametrize("start", [0, 1])
def test_rows_that_cannot_be_lent_are_copied(start: int) -> None:
    memory = np.zeros(64 * 12 + 64, "uint8")
    skip = -memory.ctypes.data % 64 + start
    rows = memory[skip : skip + 64 * 12].view("uint8").reshape(64, 12)
    rows += np.arange(64, dtype="uint8")[:, None]
    inputs = Windows(rows=rows[:, :: 2 - start], offsets=np.arange(-3, 1))
    taught, ends = Windows(rows=np.arange(64), offsets=None), np.arange(3, 64)
    batches = make_batches(inputs, taught, ends, orders=iter([np.arange(61)]), steps=1)
    ((windows, answers),) = batches.as_numpy_iterator()
    assert np.array_equal(windows, inputs.gather(ends))
    assert np.array_equal(answers, ends)


def test_nothing_of_the_batches_is_tuned_which_fit_would_wait_for(bench: Workbench) -> None:
    ends = bench.data.ends["train"]
    orders = iter([epoch_order(len(ends), 16, seed=0, epoch=0)])
    answers = bench.data.answers()
    batches = make_batches(bench.data.inputs(8), answers, ends, orders=orders, steps=1)
    assert batches.options().autotune.enabled is False


def test_the_step_of_training_is_traced_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, train_step = [], keras.Model.train_step

    def count(model: Any, data: Any) -> Any:
        traced.append(model)
        return train_step(model, data)

    monkeypatch.setattr(keras.Model, "train_step", count)
    assert run_trial(bench, TrainTrial(number=0, seed=5), Line(), defaults()).epochs == 4
    assert len(traced) == 1


@pytest.mark.parametrize(
    "how", [{"steps_per_execution": 5}, {"jit_compile": True}], ids=lambda how: next(iter(how))
)
def test_how_steps_are_executed_changes_no_result(tmp_path: Path, how: dict[str, Any]) -> None:
    curves = []
    for name, more in (("plain", {}), ("asked", how)):
        (tmp_path / name).mkdir()
        bench = make_bench(tmp_path / name, training={"max_epochs": 2, **more})
        line = Line()
        order = TrainTrial(number=0, seed=5)
        # XLA draws other random numbers
        none = dict.fromkeys(("conv_dropout", "lstm_dropout", "head_dropout"), 0.0)
        ended = run_trial(bench, order, line, defaults(batch_size=16, **none))
        curves.append([one.metrics for one in line.told if isinstance(one, EpochReport)])
        assert ended.epochs == 2
    for plain, asked in zip(*curves, strict=True):
        assert asked == pytest.approx(plain, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_in_half_precision_weights_and_predictions_are_in_single(
    tmp_path: Path, precision: str
) -> None:
    bench = make_bench(tmp_path, training={"max_epochs": 1, "precision": precision})
    ended = run_trial(bench, TrainTrial(number=0, seed=5), Line(), defaults())
    assert ended.outcome is Outcome.COMPLETE
    with np.load(ended.weights) as weights:
        assert {weights[name].dtype.name for name in weights.files} == {"float32"}
    candidate = bench.build(defaults(), 0)
    assert {layer.compute_dtype for layer in candidate.model.layers} >= {precision[6:]}
    assert bench.predict(candidate)("validation").dtype == np.float32
    (tmp_path / "exact").mkdir()
    exact = make_bench(tmp_path / "exact").build(defaults(), 0)
    assert {layer.compute_dtype for layer in exact.model.layers if layer.weights} == {"float32"}


def test_a_worker_that_is_killed_leaves_no_file_of_tensorflows_behind(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    run_trial(bench, TrainTrial(number=0, seed=5), Line(), defaults())
    assert list(place.iterdir()) == []  # what is removed at exit would stay


def test_a_trial_tells_what_its_time_went_to(bench: Workbench) -> None:
    ended = run_trial(bench, TrainTrial(number=0, seed=5), Line(), defaults())
    needed = {"building", "first_step", "training", "scoring"}
    assert set(ended.spent) == needed | {"waiting", "keeping", "latency"}
    assert min(ended.spent.values()) > 0
    assert sum(ended.spent.values()) == pytest.approx(ended.seconds, rel=0.2)
    assert sum(ended.spent.values()) <= ended.seconds


def test_predictions_in_batches_of_one_shape_are_those_of_keras(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.worker.batches.PREDICTION_BATCH", 7)
    candidate = bench.build(defaults(), seed=0)
    ends = bench.data.ends["validation"]
    windows = candidate.inputs.gather(ends)
    outputs = predict(candidate.model, candidate.inputs, ends)
    assert outputs == pytest.approx(candidate.model.predict(windows, verbose=0), abs=1e-5)


def test_a_complete_trial_keeps_the_weights_of_its_best_epoch(bench: Workbench) -> None:
    line = Line()
    ended = run_trial(bench, TrainTrial(number=3, seed=5), line, defaults())
    built, *reports = line.told
    assert isinstance(built, CandidateBuilt)
    assert built.parameters["sequence_length"] == 24
    assert built.targets_hash == bench.data.targets_hash("validation")
    values = [report.objective for report in reports]
    assert ended.outcome is Outcome.COMPLETE
    best = max(range(4), key=lambda e: (values[e], -reports[e].metrics["val_log_loss"]))
    assert (ended.value, ended.best_epoch) == (max(values), best)
    assert [report.best for report in reports] == list(np.maximum.accumulate(values))
    assert ended.latency_ms is not None
    assert ended.latency_ms > 0
    again = bench.build(defaults(), seed=0)
    load_weights(again.model, Path(ended.weights))
    assert bench.score(again, "validation")["accuracy"] == pytest.approx(ended.value)


def test_equal_seeds_train_equal_curves(bench: Workbench) -> None:
    curves = []
    for _ in range(2):
        line = Line()
        run_trial(bench, TrainTrial(number=0, seed=7), line, defaults())
        curves.append([r.metrics["train_loss"] for r in line.told if isinstance(r, EpochReport)])
        forget(bench)
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_a_verdict_ends_training_after_the_epoch_and_keeps_nothing(bench: Workbench) -> None:
    line = Line(Verdict(), Verdict(outcome=Outcome.PRUNED, reason="too slow"))
    ended = run_trial(bench, TrainTrial(number=3, seed=5), line, defaults())
    assert (ended.outcome, ended.epochs, ended.reason) == (Outcome.PRUNED, 2, "too slow")
    assert ended.weights == ""
    assert list(bench.weights.glob("*.npz")) == []


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_trial_that_was_killed_ends_as_one_that_was_not(bench: Workbench, optimizer: str) -> None:
    def run(line: Line) -> TrialEnded:
        hp = defaults(optimizer=optimizer, conv_dropout=0.3, lstm_dropout=0.3)
        return run_trial(bench, TrainTrial(number=3, seed=5), line, hp)

    whole = Line()
    expected = run(whole)
    best = dict(np.load(expected.weights))
    forget(bench)
    with pytest.raises(EOFError):
        run(Killed(Verdict(), Verdict()))  # two epochs pass, the third is lost
    rest = Line()
    ended = run(rest)

    assert rest.told[0].epochs == 2
    assert [report.epoch for report in rest.told[1:]] == [2, 3]
    for after, before in zip(rest.told[1:], whole.told[3:], strict=True):
        assert after.metrics == pytest.approx(before.metrics, abs=1e-6)
    assert (ended.outcome, ended.epochs) == (Outcome.COMPLETE, 4)
    assert ended.value == pytest.approx(expected.value, abs=1e-6)
    again = np.load(ended.weights)
    for name, weights in best.items():
        assert again[name] == pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize(
    "bench", [{"pruner": {"name": "early", "second_chances": True}}], indirect=True
)
def test_a_pruned_trial_goes_on_under_another_number_as_if_it_had_not_been(
    bench: Workbench,
) -> None:
    whole = Line()
    expected = run_trial(bench, TrainTrial(number=3, seed=5), whole, defaults())
    forget(bench)
    stop = Verdict(outcome=Outcome.PRUNED, reason="too bad")
    ended = run_trial(bench, TrainTrial(number=3, seed=5), Line(Verdict(), stop), defaults())
    assert (ended.outcome, ended.epochs) == (Outcome.PRUNED, 2)
    hand_over(bench.weights, 3, to=8)
    assert list_checkpoint(bench.weights, 3) == []
    rest = Line()
    ended = run_trial(bench, TrainTrial(number=8, seed=5), rest, defaults())

    assert rest.told[0].epochs == 2
    assert [report.epoch for report in rest.told[1:]] == [2, 3]
    for after, before in zip(rest.told[1:], whole.told[3:], strict=True):
        assert after.metrics == pytest.approx(before.metrics, abs=1e-6)
    assert ended.value == pytest.approx(expected.value, abs=1e-6)


def test_a_trial_killed_after_its_last_epoch_has_only_its_end_to_tell(bench: Workbench) -> None:
    def run(line: Line) -> TrialEnded:
        return run_trial(bench, TrainTrial(number=3, seed=5), line, defaults())

    expected = run(Line())
    again = Line()
    ended = run(again)
    assert [type(message) for message in again.told] == [CandidateBuilt]
    assert (ended.value, ended.epochs) == (expected.value, 4)
    assert ended.metrics == expected.metrics


def test_an_interrupted_trial_trains_no_epoch_again(bench: Workbench) -> None:
    stop = Verdict(outcome=Outcome.INTERRUPTED, reason="Ctrl-C")
    ended = run_trial(bench, TrainTrial(number=3, seed=5), Line(Verdict(), stop), defaults())
    assert (ended.outcome, ended.epochs) == (Outcome.INTERRUPTED, 2)
    line = Line()
    ended = run_trial(bench, TrainTrial(number=3, seed=5), line, defaults())
    assert line.told[0].epochs == 2
    assert (ended.outcome, ended.epochs) == (Outcome.COMPLETE, 4)


def test_the_checkpoint_of_another_seed_is_not_taken(bench: Workbench) -> None:
    run_trial(bench, TrainTrial(number=3, seed=5), Line(), defaults())
    line = Line()
    run_trial(bench, TrainTrial(number=3, seed=6), line, defaults())
    assert line.told[0].epochs == 0
    assert len(line.told) == 5


@pytest.mark.parametrize("bench", [{"training": {"max_epochs": 9, "patience": 1}}], indirect=True)
def test_a_trial_without_a_better_epoch_stops_by_itself(bench: Workbench) -> None:
    hp = defaults(learning_rate=1e-4, weight_decay=1e-5)
    ended = run_trial(bench, TrainTrial(number=0, seed=1), Line(), hp)
    assert ended.outcome is Outcome.COMPLETE
    assert ended.best_epoch is not None
    assert ended.epochs == 9 or ended.epochs == ended.best_epoch + 2


@pytest.mark.parametrize("bench", [{"space": "diverging_space:build"}], indirect=True)
def test_a_loss_that_is_no_number_ends_the_trial_as_diverged(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "diverging_space.py").write_text(
        "import keras\n"
        "def build(hp):\n"
        "    model = keras.Sequential([keras.Input((24, 5)), keras.layers.LSTM(4),\n"
        "                              keras.layers.Dense(5, activation='softmax')])\n"
        "    model.compile('adam', lambda labels, outputs: keras.ops.log(-keras.ops.sum(outputs)))\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ended = run_trial(bench, TrainTrial(number=0, seed=1), Line(), defaults())
    assert ended.outcome is Outcome.DIVERGED
    assert "finite" in ended.reason
    assert "Traceback" in ended.traceback


def test_validation_may_begin_with_windows_that_show_an_anomaly(tmp_path: Path) -> None:
    flags = np.zeros(1200, int)
    flags[[590, 600, 610, 620, 630, 1000]] = 1
    path = tmp_path / "stream.csv"
    values = np.random.default_rng(0).standard_normal(1200)
    pd.DataFrame({"value": values, "flag": flags}).to_csv(path, index=False)
    bench = make_bench(
        tmp_path,
        data={"source": "table", "path": path, "targets": "flag"},
        split={"method": "time", "validation_from": 600, "test_from": 900},
        task={"kind": "anomaly"},
        sequence_length={"low": 8, "high": 16},
        objective={"metric": "error"},
    )
    assert not find_clean(bench.data.few(8), "validation").any()
    bench.check(bench.build(defaults(), seed=0))


def test_a_mistake_in_scoring_is_not_blamed_on_the_candidate(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(*_: Any) -> dict[str, float]:
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(bench.task, "score", score)
    with pytest.raises(RuntimeError, match="could not be scored"):
        run_trial(bench, TrainTrial(number=0, seed=1), Line(), defaults())


@pytest.mark.parametrize(
    "bench",
    [
        {
            "space": "user_spaces:DropsCallbacks",
            "data": {"source": "machine", "machines": 8, "rows": 600},
        }
    ],
    indirect=True,
)
def test_a_fit_that_drops_its_callbacks_is_a_mistake_that_is_named(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with pytest.raises(ConfigError, match="must train with the callbacks"):
        run_trial(bench, TrainTrial(number=0, seed=1), Line(), defaults())


def test_epochs_of_any_backend_follow_the_seed(bench: Workbench) -> None:
    orders = [np.array([epoch, epoch]) for epoch in range(3)]
    seen = []
    batches = WindowBatches(lambda chosen: (chosen, chosen), iter(orders), steps=2)
    batches.on_epoch_end()  # Keras resets what it is given before the first epoch
    for _ in range(3):
        seen.append([int(batches[step][0][0]) for step in range(len(batches))])
        batches.on_epoch_end()
    assert seen == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("bench", [{"limits": {"parameters": 1000}}], indirect=True)
def test_a_model_beyond_the_limit_is_not_trained(bench: Workbench) -> None:
    line = Line()
    ended = run_trial(bench, TrainTrial(number=0, seed=1), line, defaults())
    assert ended.outcome is Outcome.OVERSIZED
    assert line.told == []
    assert ended.parameters["sequence_length"] == 24


@pytest.mark.parametrize("bench", [{"limits": {"latency_ms": 1e-6}}], indirect=True)
def test_a_candidate_that_answers_too_slowly_is_not_trained(bench: Workbench) -> None:
    line = Line()
    ended = run_trial(bench, TrainTrial(number=0, seed=1), line, defaults())
    assert ended.outcome is Outcome.OVERSIZED
    assert ended.reason.startswith("limits.latency_ms allows 1e-06 ms for a prediction.")
    assert ended.epochs == 0
    (built,) = line.told
    assert built.latency_ms == ended.latency_ms > 0


@pytest.mark.parametrize(
    "bench",
    [{"objective": {"also": ["latency_ms"]}, "training": {"max_epochs": 1}}],
    indirect=True,
)
def test_latency_is_measured_once_where_it_is_an_objective(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([1.25])
    monkeypatch.setattr(
        bench, "time_window", lambda candidate, exported: next(measured) if exported else 0.0
    )
    line = Line()
    ended = run_trial(bench, TrainTrial(number=0, seed=1), line, defaults())
    assert ended.outcome is Outcome.COMPLETE
    assert ended.latency_ms == 1.25
    assert line.told[0].latency_ms == 1.25


@pytest.mark.parametrize(
    "bench",
    [
        {
            "space": "user_spaces:Wide",
            "limits": {"parameters": 20_000_000},
            "workers": {"max_memory_mb": 4000},
        }
    ],
    indirect=True,
)
def test_a_candidate_that_cannot_fit_is_not_trained(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    line = Line()
    ended = run_trial(bench, TrainTrial(number=0, seed=1), line, defaults())
    assert ended.outcome is Outcome.OUT_OF_MEMORY
    assert ended.epochs == 0
    assert re.search(r"needs [\d,]+ MiB at the least for one step of 64 targets", ended.reason)
    assert ended.parameters["sequence_length"] == 24
    # a narrower one of the same space is trained
    assert run_trial(bench, TrainTrial(number=1, seed=1), line, defaults(units=4)).epochs > 0


def test_a_refit_trains_on_validation_too_and_leaves_its_weights(bench: Workbench) -> None:
    recorded = run_trial(bench, TrainTrial(number=2, seed=5), Line(), defaults()).parameters
    hp = replay(recorded)
    before = bench.build(defaults(), seed=5)
    base = bench.score(before, "validation")["log_loss"]
    order = RefitTrial(number=2, parameters=recorded, seed=5, epochs=3)
    line = Line()
    refitted = refit_trial(bench, order, line, hp)
    # The driver hears of every epoch, else it takes a long refit for one that hangs.
    assert [report.epoch for report in line.told] == [0, 1, 2]
    losses = [report.metrics["train_loss"] for report in line.told]
    assert losses[-1] < losses[0]
    assert (refitted.outcome, refitted.epochs) == (Outcome.COMPLETE, 3)
    assert Path(refitted.weights) == bench.weights / "refit_00002.npz"
    load_weights(before.model, Path(refitted.weights))
    assert bench.score(before, "validation")["log_loss"] < base


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_learning_rate_of_a_refit_falls_to_its_end(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    assert epochs < bench.config.training.max_epochs
    hp = defaults()
    bench.build(hp, seed=5)
    recorded = dict(hp.values)
    built, build = [], Workbench.build

    def keep_built(*arguments: Any) -> Candidate:
        built.append(build(*arguments))
        return built[-1]

    monkeypatch.setattr(Workbench, "build", keep_built)
    order = RefitTrial(number=2, parameters=recorded, seed=5, epochs=epochs)
    assert refit_trial(bench, order, Line(), replay(recorded)).weights
    (candidate,) = built
    assert float(candidate.model.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("epochs", [2, None])
def test_a_repeat_of_given_length_is_scored_after_its_last_epoch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, epochs: int | None
) -> None:
    hp = defaults()
    bench.build(hp, seed=5)
    scores = deque([0.9, 0.6, 0.5, 0.4])
    monkeypatch.setattr(
        Workbench, "score", lambda *_: {"accuracy": scores.popleft(), "log_loss": 1.0}
    )
    monkeypatch.setattr(Workbench, "on", lambda self, data: self)
    line, kept = Line(), bench.weights / "again.npz"
    order = RepeatTrial(
        number=2,
        parameters=dict(hp.values),
        seed=9,
        data=Path("data"),
        epochs=epochs,
        weights=kept,
    )
    ended = repeat_trial(bench, order, line, replay(order.parameters))
    # In the search the best epoch counts, and that is chosen by the targets that score it.
    assert (ended.epochs, ended.value) == ((2, 0.6) if epochs else (4, 0.9))
    assert [said.best for said in line.told if isinstance(said, EpochReport)][-1] == ended.value
    assert kept.is_file()


def test_weights_come_back_exactly(bench: Workbench, tmp_path: Path) -> None:
    one, other = (bench.build(defaults(), seed=seed).model for seed in (1, 2))
    save_weights(one, tmp_path / "w.npz")
    load_weights(other, tmp_path / "w.npz")
    for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(left, right)


def test_what_keras_and_its_backends_raise_is_sorted() -> None:
    with pytest.raises(InvalidArchitecture, match="negative"), candidate_errors():
        keras.layers.Conv1D(4, 9)(keras.Input((3, 1)))
    with pytest.raises(OutOfMemory, match="must fit in memory"), candidate_errors():
        raise MemoryError
    with pytest.raises(OutOfMemory), candidate_errors():
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
    lacking = "Failed copying input tensor from CPU:0 to GPU:0: Dst tensor is not initialized."
    for errors in (candidate_errors, memory_errors):
        with pytest.raises(OutOfMemory), errors():
            raise RuntimeError(lacking)
    with pytest.raises(ValueError, match="ours"), memory_errors():
        raise ValueError("a mistake of ours passes")
    with pytest.raises(KeyError), candidate_errors():
        raise KeyError("a bug passes")
