"""Whether a study becomes slower or larger as it grows: growth.py --help.

A study of many trials that are trained in no time (``instant.py``), real in all else: time between the ends of trials
and memory of the driver's own, by tenths of the study, in several such studies. Then studies of one candidate on
tables of ten times as many rows with equally many targets: time of a trial, and memory of its worker's own.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from search.config import StudyConfig, make_config
from search.data.preparation import prepare_data
from search.messages import TrainTrial, Verdict, WorkerSetup

HERE = Path(__file__).parent
LAUNCH = HERE.parent / "launch_study.py"
PARTS = 10
CHANNELS = 8
ROWS = (100_000, 1_000_000)
TARGETS = 5_000
WIDTH = 160  # characters of a printed line
ENDED = re.compile(rb"trial \d+ \| ")


def run(words: Sequence[str], folder: Path) -> list[tuple[float, float, float]]:
    """Launch a study, and note the time and what the driver took as each trial ends.

    Args:
        words: The study's settings, as on the command line.
        folder: The storage folder.

    Returns:
        Seconds since the launch, seconds of the processor and MiB, for each trial.
    """
    command = [sys.executable, str(LAUNCH), *words, "--storage.folder", str(folder)]
    command += ["--pruner.name", "none", "--winner.repeats", "0", "--training.refit", "false"]
    command += ["--export.formats", "[]"]
    began, seen = time.monotonic(), []
    path = {**os.environ, "PYTHONPATH": str(HERE)}  # where the search space is found
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=path
    ) as driver:
        for line in driver.stderr or ():
            if ENDED.search(line):
                own = processor_seconds(driver.pid), own_memory_mb(driver.pid)
                seen.append((time.monotonic() - began, *own))
    if driver.returncode:
        raise RuntimeError(f"The study ended with {driver.returncode}.")
    return seen


def processor_seconds(process: int) -> float:
    """Say how long a process has had a processor, all its threads together, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_memory_mb(process: int) -> float:
    """Measure the memory that a process shares with nobody, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def measure_trials(trials: int) -> list[tuple[float, float, float]]:
    """Run a study of many trials, and return for each of its tenths but the first what a trial took.

    Returns:
        Milliseconds between ends and of the driver's processor, and its own memory in MiB.
    """
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        clips = Path(name) / "clips.npz"
        rng = np.random.default_rng(0)
        np.savez(clips, x=rng.random((400, 16, 3)), y=rng.integers(2, size=400))
        study = Path(name) / "growth.toml"
        study.write_text(
            'name = "growth"\nspace = "instant:Instant"\n[data]\nsource = "arrays"\n'
            f'path = "{clips}"\n[split]\nmethod = "stratified"\n[objective]\nmetric = "accuracy"\n'
        )
        seen = run([str(study), "--budget.trials", str(trials)], Path(name) / "runs")
    size = len(seen) // PARTS
    parts = [seen[first - 1 : first + size] for first in range(size, len(seen) - size + 1, size)]
    spans = [[1e3 * (part[-1][what] - part[0][what]) / size for what in (0, 1)] for part in parts]
    return [(*span, part[-1][2]) for span, part in zip(spans, parts, strict=True)]


def show_trials(trials: int, rounds: int) -> None:
    """Run a study of many trials again and again, and print its tenths: each round's and the medians."""
    found = [measure_trials(trials) for _ in range(rounds)]
    table = Table(box=None, pad_edge=False)
    turns = [f"round {turn}" for turn in range(1, rounds + 1)]
    for head in ("trials", *turns, "median, ms", "driver's processor, ms", "its memory, MiB"):
        table.add_column(head, justify="right")
    size = trials // PARTS
    for place, tenths in enumerate(zip(*found, strict=True), 1):
        numbers = [one[0] for one in tenths]
        numbers += [statistics.median(one) for one in zip(*tenths, strict=True)]
        first = f"{place * size + 1} to {(place + 1) * size}"
        table.add_row(first, *(f"{number:.0f}" for number in numbers))
    Console(width=WIDTH).print(table)
    medians = [statistics.median(one[0] for one in tenths) for tenths in zip(*found, strict=True)]
    middle = statistics.median(medians)
    slope = np.polyfit(range(len(medians)), medians, 1)[0] * (len(medians) - 1)
    sys.stdout.write(
        f"Milliseconds between ends of trials: medians {min(medians) / middle:.2f} to "
        f"{max(medians) / middle:.2f} times the median of medians; the line through them changes "
        f"by {slope / middle:+.1%} from first to last.\n"
    )


def show_rows(rounds: int) -> None:
    """Train one candidate on few and on many rows in turns, and print what differs."""
    found: dict[int, list[tuple[float, float]]] = {rows: [] for rows in ROWS}
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        for turn in range(rounds):
            for rows in ROWS:
                found[rows].append(measure_rows(rows, Path(name) / f"{rows}_{turn}"))
    table = Table(box=None, pad_edge=False)
    turns = [f"round {turn}" for turn in range(1, rounds + 1)]
    for head in ("rows", "data, MiB", *turns, "seconds of a trial", "worker's memory, MiB"):
        table.add_column(head, justify="right")
    for rows, own in found.items():
        seconds, memory = (statistics.median(one[part] for one in own) for part in (0, 1))
        each = (f"{one[0]:.2f}" for one in own)
        size = rows * CHANNELS * 4 / 2**20
        table.add_row(f"{rows:,}", f"{size:.0f}", *each, f"{seconds:.2f}", f"{memory:.0f}")
    Console(width=WIDTH).print(table)


def measure_rows(rows: int, place: Path) -> tuple[float, float]:
    """Prepare random rows, and train a candidate on them in a process of its own, as workers do.

    Returns:
        The trial's seconds, and the worker's own memory in MiB.
    """
    place.mkdir()
    stream = np.random.default_rng(0).standard_normal((1, rows, CHANNELS), dtype=np.float32)
    np.savez(place / "stream.npz", x=stream)
    config = configure(rows, place)
    _, data = prepare_data(config, place / "data")
    words = ["--measure", str(rows), "--folder", str(place), "--data", str(data)]
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=True
    )
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), float(memory)


def configure(rows: int, place: Path) -> StudyConfig:
    """Make a study of one sequence length, with as many targets whatever its rows."""
    return make_config(
        {
            "name": "growth",
            "data": {
                "source": "arrays",
                "path": place / "stream.npz",
                "stride": rows // TARGETS,
            },
            "task": {"kind": "forecasting"},
            "split": {"method": "time"},
            "sequence_length": {"low": 32, "high": 32},
            "training": {"max_epochs": 5},
        }
    )


def train(rows: int, place: Path, data: Path) -> None:
    """Train one small candidate twice, and print the second one's seconds and memory."""
    from search.worker.hyperparameters import AskingHyperParameters  # noqa: PLC0415
    from search.worker.training import run_trial  # noqa: PLC0415
    from search.worker.workbench import Workbench  # noqa: PLC0415

    class Listener:
        def send(self, message: object) -> None:
            pass

        def recv(self) -> Verdict:
            return Verdict()

    setup = WorkerSetup(config=configure(rows, place), data=data, weights=place, log=place / "log")
    bench = Workbench(setup)
    small = {"filters": 16, "lstm_units": 16, "conv_blocks": 1, "batch_size": 64}
    for number in range(2):  # the first loads what the second does not have to
        hp = AskingHyperParameters(ask=lambda one: small.get(one.name, one.default))
        ended = run_trial(bench, TrainTrial(number=number, seed=0), Listener(), hp)
    print(ended.seconds, ended.memory_mb)


def main() -> int:
    """Measure both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="studies of many trials")
    parser.add_argument("--row-rounds", type=int, default=7, help="trials for each count of rows")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        train(arguments.measure, arguments.folder, arguments.data)
        return 0
    show_rows(arguments.row_rounds)
    show_trials(arguments.trials, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
