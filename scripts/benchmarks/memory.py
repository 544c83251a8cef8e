"""Memory of a study against rows and sequence length: memory.py. Prints a table; takes minutes.

Each line is one trial of one epoch in a process of its own, on random rows: what the process holds at
its peak beyond what the libraries take, beside what copied windows alone would take.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from search.config import make_config
from search.data.preparation import prepare_data
from search.messages import TrainTrial, Verdict, WorkerSetup

CHANNELS = 8
ROWS = (50_000, 200_000, 800_000)
LENGTHS = (16, 64, 256)
STRIDE = 20
"""Rows between targets, so that training takes seconds: memory that grew with windows would show."""
MIB = 2**20


class Line:
    """A driver that lets every epoch pass."""

    def send(self, message: object) -> None:
        """Hear nothing."""

    def recv(self) -> Verdict:
        """Let training go on."""
        return Verdict()


def measure(rows: int, length: int) -> int:
    """Train one small candidate, and return the peak of this process in bytes."""
    from search.worker.hyperparameters import AskingHyperParameters  # noqa: PLC0415
    from search.worker.training import run_trial  # noqa: PLC0415
    from search.worker.workbench import Workbench  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        stream = np.random.default_rng(0).standard_normal((1, rows, CHANNELS), dtype=np.float32)
        np.savez(place / "stream.npz", x=stream)
        config = make_config(
            {
                "name": "memory",
                "data": {"source": "arrays", "path": place / "stream.npz", "stride": STRIDE},
                "task": {"kind": "forecasting"},
                "split": {"method": "time"},
                "sequence_length": {"low": length, "high": length},
                "training": {"max_epochs": 1},
            }
        )
        del stream
        _, data = prepare_data(config, place / "data")
        setup = WorkerSetup(config=config, data=data, weights=place, log=place / "log")
        small = {"filters": 16, "lstm_units": 16, "conv_blocks": 1, "batch_size": 64}
        hp = AskingHyperParameters(ask=lambda q: small.get(q.name, q.default))
        ended = run_trial(Workbench(setup), TrainTrial(number=0, seed=0), Line(), hp)
        if ended.epochs != 1:
            raise RuntimeError(f"The trial did not train: {ended.reason}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_apart(rows: int, length: int) -> int:
    """Measure in a process of its own; no rows measure what the libraries take."""
    words = [sys.executable, __file__, str(rows), str(length)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure every size, and print the table."""
    base = run_apart(2_000, 8)
    table = Table(box=None, pad_edge=False)
    for head in ("rows", "sequence length", "data, MiB", "peak, MiB", "copied windows, MiB"):
        table.add_column(head, justify="right")
    for rows in ROWS:
        for length in LENGTHS:
            peak = run_apart(rows, length) - base
            data = rows * CHANNELS * 4
            sizes = (f"{n / MIB:,.0f}" for n in (data, peak, data // STRIDE * length))
            table.add_row(f"{rows:,}", str(length), *sizes)
    Console(width=100).print(table)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(measure(int(sys.argv[1]), int(sys.argv[2])))
    else:
        main()
