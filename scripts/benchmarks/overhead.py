"""How much of a study's time is training, and where the rest goes: overhead.py --help.

Runs a study in a process of its own, its search alone, and divides the time from the process's start to its end,
times the number of workers, by what its trials spent on building, on the first step (which compiles it) and on
training and scoring steps; beside it the same over the steps alone. With --executors processes ray each study runs on both,
Ray's cluster being of this machine and already up, as on a cluster. Rounds are interleaved; prints medians.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
from services import run_ray

QUICKSTART = Path(__file__).parents[1] / "studies" / "quickstart.toml"
Study: TypeAlias = tuple[str, str]
"""One of ``STUDIES``, and the executor that it runs on."""
NEEDED = ("building", "first_step", "training", "scoring")
STEPS = ("training", "scoring")
STUDIES: Mapping[str, Mapping[str, Any]] = {
    "quickstart's candidates": {},
    "longer candidates, unpruned": {
        "pruner": {"name": "none"},
        "training": {"max_epochs": 20, "patience": 20},
    },
}
SEARCH = {"winner": {"repeats": 0}, "training": {"refit": False}}


def describe(study: Study, folder: Path, workers: int, trials: int) -> dict[str, Any]:
    """Say which settings a study has beside quickstart's."""
    name, executor = study
    own = STUDIES[name]
    return {
        **SEARCH,
        **own,
        "training": {**SEARCH["training"], **own.get("training", {})},
        "workers": {"count": workers, "executor": executor},
        "cluster": {"address": os.environ.get("RAY_ADDRESS", "auto")},
        "budget": {"trials": trials},
        "storage": {"folder": str(folder)},
    }


def run(settings: Mapping[str, Any]) -> None:
    """Run the study, as a script of a user's does."""
    from search import load_config, run_study  # noqa: PLC0415

    run_study(load_config(QUICKSTART, name="overhead", **settings))


def read(folder: Path, began: float, ended: float, workers: int) -> dict[str, float]:
    """Read what a study's trials spent, from MLflow, and when they ran, from Optuna.

    Args:
        folder: The storage folder.
        began: When the process was started, in seconds of the system's clock.
        ended: When it had ended.
        workers: How many trained at once.

    Returns:
        Seconds of workers by what they went to, and the two ratios.
    """
    from mlflow import MlflowClient  # noqa: PLC0415

    from search.driver.tracking.store import KIND, STUDY, search_runs, store_uri  # noqa: PLC0415
    from search.results.studies import load_study  # noqa: PLC0415

    client = MlflowClient(store_uri(None, folder))
    ids = [one.experiment_id for one in client.search_experiments()]
    runs = search_runs(client, ids, {KIND: "trial", STUDY: "overhead"})
    spent: dict[str, float] = {}
    for trial in runs:
        for name, value in trial.data.metrics.items():
            if name.startswith("seconds/"):
                what = name.removeprefix("seconds/")
                spent[what] = spent.get(what, 0.0) + value
    busy = sum(trial.data.metrics["seconds"] for trial in runs)
    trials = load_study("overhead", folder).trials
    first = min(trial.datetime_start.timestamp() for trial in trials)
    last = max(trial.datetime_complete.timestamp() for trial in trials)
    found = {
        "trials": float(len(runs)),
        "all": (ended - began) * workers,
        **spent,
        "rest of trials": busy - sum(spent.values()),
        "between trials": (last - first) * workers - busy,
        "before the first trial": (first - began) * workers,
        "after the last": (ended - last) * workers,
    }
    found["all / needed"] = found["all"] / sum(spent[what] for what in NEEDED)
    found["all / steps"] = found["all"] / sum(spent[what] for what in STEPS)
    found["steps of a trial"] = sum(spent[what] for what in STEPS) / len(runs)
    return found


def measure(study: Study, workers: int, trials: int) -> dict[str, float]:
    """Run a study once, and read what its time went to."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as place:
        folder = Path(place)
        settings = json.dumps(describe(study, folder, workers, trials))
        began = time.time()
        done = subprocess.run(
            [sys.executable, __file__, "--run", settings],
            capture_output=True,
            text=True,
            check=False,
        )
        ended = time.time()
        if done.returncode:
            raise RuntimeError(f"The study failed:\n{done.stderr[-4000:]}")
        return read(folder, began, ended, workers)


def show(found: Mapping[Study, Sequence[Mapping[str, float]]], workers: int) -> None:
    """Print the table of medians."""
    table = Table(box=None, pad_edge=False)
    table.add_column("seconds of workers")
    for name, executor in found:
        table.add_column(f"{name}, {executor}", justify="right")
    rows = dict.fromkeys(row for rounds in found.values() for one in rounds for row in one)
    for row in rows:
        values = (statistics.median(one.get(row, 0.0) for one in own) for own in found.values())
        table.add_row(row, *(f"{value:.2f}" if "/" in row else f"{value:.1f}" for value in values))
    console = Console(width=160)
    console.print(table)
    libraries = ("tensorflow", "keras", "optuna", "mlflow")
    versions = ", ".join(f"{one} {importlib.metadata.version(one)}" for one in libraries)
    console.print(f"{workers} workers; {versions}.")


def main() -> int:
    """Run the studies in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="studies whose name begins so")
    parser.add_argument(
        "--executors", nargs="+", choices=("processes", "ray"), default=["processes"]
    )
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(json.loads(arguments.run))
        return 0
    found: dict[Study, list[dict[str, float]]] = {
        (name, executor): []
        for name in STUDIES
        for executor in arguments.executors
        if name.startswith(arguments.only)
    }
    with ExitStack() as stack:
        if "ray" in arguments.executors:
            ray = stack.enter_context(run_ray(arguments.workers))
            os.environ.update({**ray.environment, "RAY_ADDRESS": ray.address})
        for _ in range(arguments.rounds):
            for study, own in found.items():
                own.append(measure(study, arguments.workers, arguments.trials))
                print(f"{study}: {own[-1]['all / needed']:.2f}", file=sys.stderr, flush=True)
    show(found, arguments.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
