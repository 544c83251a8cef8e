"""Search a space of which two fifths run out of memory: out_of_memory.py --help.

A study is launched once for each seed, with workers that may take 1,400 MiB. Prints how many candidates of
its first and second half took more; exit status 1 if a study did not complete its budget, or a second half
had no fewer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.driver.trials import read_row
from search.messages import Outcome
from search.results.audit import audit_study
from search.results.studies import load_study

LAUNCH = Path(__file__).parents[1] / "launch_study.py"
STUDY = Path(__file__).parent / "small.toml"


def launch(name: str, folder: Path, seed: int, trials: int) -> int:
    """Launch the study under a name, to its end, and return its exit status."""
    words = [sys.executable, str(LAUNCH), str(STUDY), "--name", name, "--seed", str(seed)]
    words += ["--space", "hoarding:HoardingSpace", "--workers.max_memory_mb", "1400"]
    words += ["--training.max_epochs", "1", "--training.batch_size", "256"]
    words += ["--budget.trials", str(trials), "--budget.max_consecutive_failures", str(trials)]
    words += ["--workers.count", "2", "--storage.folder", str(folder)]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    found = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(words, env=os.environ | found, check=False).returncode


def read_outcomes(name: str, folder: Path) -> list[Outcome | None]:
    """Read what became of each trial, by its number."""
    trials = load_study(name, folder).get_trials(deepcopy=False)
    return [read_row(trial).outcome for trial in sorted(trials, key=lambda one: one.number)]


def main() -> int:
    """Run the studies, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    half, wrong = arguments.trials // 2, False
    table = Table(box=None, pad_edge=False)
    for column in ("seed", "trials", "out of memory: first half", "second half", "Optuna ≠ MLflow"):
        table.add_column(column)
    with tempfile.TemporaryDirectory(prefix="out-of-memory-") as temporary:
        for seed in arguments.seeds:
            folder, name = Path(temporary), f"hoard-{seed}"
            code = launch(name, folder, seed, arguments.trials)
            outcomes = read_outcomes(name, folder)
            starved = [outcome is Outcome.OUT_OF_MEMORY for outcome in outcomes]
            first, second = sum(starved[:half]), sum(starved[half:])
            differing = sum(bool(audit.differences) for audit in audit_study(name, folder=folder))
            wrong |= bool(code or differing) or len(outcomes) != arguments.trials or second >= first
            row = (seed, len(outcomes), first, second, differing)
            table.add_row(*map(str, row))
    Console(width=100).print(table)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
