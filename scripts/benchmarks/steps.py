"""Time an epoch of training as a study trains, as people write it, and as a bare compiled step: steps.py --help.

Windows and clips of random numbers: what is measured is time. Ours is an epoch of a study's worker, scoring
of the validation side and checkpoint included; plain is NumPy windows handed to ``fit`` with
``validation_data``, for clips through a model whose layers are wrapped in TimeDistributed one by one; bare is
Keras's compiled step on one batch that lies in memory. All train the same layers from the same weights. Rounds are
interleaved; prints medians, and how far the predictions of both models differ before training, ours as a graph, the
plain one computed layer by layer.
"""

import argparse
import importlib.metadata
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from cases import Case, make_study, write_clips
from plain_layers import wrap_layers
from rich.console import Console
from rich.table import Table

from search.data.preparation import prepare_data
from search.messages import EpochReport, TrainTrial, Verdict, WorkerSetup
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.training import run_trial
from search.worker.workbench import Workbench

EPOCHS = 4
"""Of which the first, in which the step is compiled, does not count."""
CASES = (
    Case(
        name="sensor, defaults",
        space="sensor",
        shape=(128, 9),
        classes=6,
        clips=4000,
        answers={"batch_size": 64},
    ),
    Case(
        name="sensor, small",
        space="sensor",
        shape=(128, 9),
        classes=6,
        clips=4000,
        answers={"batch_size": 64, "conv_blocks": 1, "filters": 32, "lstm_units": 32},
    ),
    Case(
        name="sensor, 2 layers of 128 units",
        space="sensor",
        shape=(128, 9),
        classes=6,
        clips=4000,
        answers={"batch_size": 64, "lstm_units": 128, "lstm_layers": 2},
    ),
    Case(
        name="video, small",
        space="video",
        shape=(10, 64, 64, 3),
        classes=2,
        clips=240,
        answers={"batch_size": 16, "motion": "frames", "downscale": 1, "linear_part": False}
        | {"filters": 8, "conv_blocks": 2},
    ),
    Case(
        name="video, defaults of plain frames",
        space="video",
        shape=(10, 64, 64, 3),
        classes=2,
        clips=240,
        answers={"batch_size": 16, "motion": "frames", "downscale": 1, "linear_part": False},
    ),
    Case(
        name="frames, defaults without skip",
        space="seq2seq",
        shape=(15, 32, 32, 1),
        horizon=5,
        clips=240,
        answers={"batch_size": 16, "motion": "frames", "skip": "none"},
    ),
)


class Listener:
    """A driver that lets every epoch pass and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def send(self, message: Any) -> None:
        """Keep a message."""
        self.told.append(message)

    def recv(self) -> Verdict:
        """Let the trial go on."""
        return Verdict()


class Clock(keras.callbacks.Callback):
    """Notes how long each epoch takes, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the time."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note how long it took."""
        self.seconds.append(time.perf_counter() - self._began)


def make_hp(case: Case) -> AskingHyperParameters:
    """Answer by the case, and by the space's defaults."""
    return AskingHyperParameters(ask=lambda one: case.answers.get(one.name, one.default))


def make_bench(case: Case, folder: Path) -> Workbench:
    """Prepare a case's data."""
    config = make_study(
        case,
        write_clips(case, folder),
        training={"max_epochs": EPOCHS, "patience": EPOCHS},
        objective={} if case.horizon else {"metric": "accuracy"},
    )
    _, data = prepare_data(config, folder / "data")
    weights = folder / "weights"
    weights.mkdir()
    return Workbench(WorkerSetup(config=config, data=data, weights=weights, log=folder / "log"))


def time_ours(bench: Workbench, case: Case) -> list[float]:
    """Train as a study's worker does, and return the seconds of each epoch but the first."""
    listener = Listener()
    ended = run_trial(bench, TrainTrial(number=0, seed=0), listener, make_hp(case))
    for path in bench.weights.iterdir():
        path.unlink()
    seconds = [one.seconds for one in listener.told if isinstance(one, EpochReport)]
    if len(seconds) != EPOCHS:
        raise RuntimeError(f"The candidate did not train: {ended.reason}")
    return seconds[1:]


def time_plain(model: Any, sides: Sequence[tuple[Any, Any]], batch_size: int) -> list[float]:
    """Hand NumPy windows to ``fit``, and return the seconds of each epoch but the first."""
    clock = Clock()
    (windows, taught), held = sides
    words = {"batch_size": batch_size, "epochs": EPOCHS, "validation_data": held, "verbose": 0}
    model.fit(windows, taught, callbacks=[clock], **words)
    return clock.seconds[1:]


def make_bare(model: Any, windows: Any, taught: Any, steps: int) -> Callable[[], float]:
    """Compile a step on one batch; what is returned times as many as an epoch has."""
    batch = (tf.constant(windows), tf.constant(taught))
    step = tf.function(lambda: model.train_step(batch))
    step()

    def run() -> float:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return time.perf_counter() - began

    return run


def measure(case: Case, rounds: int) -> tuple[str, ...]:
    """Measure a case, and write a line of the table."""
    with tempfile.TemporaryDirectory(prefix="steps-") as name:
        bench = make_bench(case, Path(name))
        candidate = bench.build(make_hp(case), 0)
        wrapped = wrap_layers(candidate.model)
        ends = bench.data.ends
        sides = [
            (candidate.inputs.gather(ends[side]), candidate.taught.gather(ends[side]))
            for side in ("train", "validation")
        ]
        few = sides[1][0][:16]
        expected = candidate.model.predict_on_batch(few)
        # Not in a graph: there TensorFlow 2.21's arithmetic optimizer changes what layers wrapped in
        # TimeDistributed compute, by up to 0.02 in these cases.
        difference = float(np.abs(np.asarray(wrapped(few)) - expected).max())
        size = case.answers["batch_size"]
        steps = -(-len(ends["train"]) // size)
        bare = make_bare(wrapped, sides[0][0][:size], sides[0][1][:size], steps)
        ours, plain, step = [], [], []
        for _ in range(rounds):
            ours += time_ours(bench, case)
            plain += time_plain(wrapped, sides, size)
            step.append(bare())
    times = [statistics.median(one) for one in (ours, plain, step)]
    return (
        case.name,
        *(f"{1e3 * one / steps:.1f}" for one in times),
        f"{times[1] / times[0]:.2f}",
        f"{times[2] / times[0]:.2f}",
        f"{difference:.1e}",
    )


def main() -> int:
    """Measure all cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=1, help="as one worker of a study has them")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    table = Table(box=None, pad_edge=False)
    heads = ("ms a step: ours", "plain", "bare", "plain / ours", "bare / ours", "difference")
    for head in ("", *heads):
        table.add_column(head, justify="right" if head else "left")
    for case in CASES:
        if case.name.startswith(arguments.only):
            print(case.name, file=sys.stderr, flush=True)
            table.add_row(*measure(case, arguments.rounds))
    Console(width=120).print(table)
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras"))
    Console(width=120).print(f"{', '.join(versions)}; {arguments.cores} core(s) each.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
