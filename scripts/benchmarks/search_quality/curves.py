"""Train the learning curves that replay.py replays: curves.py TASK [--trials N] [--again N].

A study of candidates drawn at random, nothing pruned, by the launch that everybody uses; then the first of them
again with other seeds, from which the noise of a training is known. A launch that was interrupted goes on. Writes
``TASK.json``, the space, and ``TASK.csv.gz`` beside this file: hyperparameters, seconds of an epoch, weights, and the running best of the
objective after every epoch, as pruners and samplers see it; the repeats follow with the number of what they repeat.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.distributions import distribution_to_json

from search import load_config, run_study
from search.config import StudyConfig
from search.driver.leaderboard import TrialRow
from search.driver.loop import Ending
from search.driver.trials import read_row
from search.messages import Outcome
from search.results.studies import load_study

HERE = Path(__file__).parent
TASKS = tuple(sorted(path.stem for path in HERE.glob("*.toml")))
BARE: dict[str, Any] = {
    "pruner": {"name": "none"},
    "winner": {"repeats": 0},
    "export": {"formats": []},
}
"""The search alone."""


def configure(task: str, folder: Path, trials: int, **settings: Any) -> StudyConfig:
    """Describe a study of random candidates that all run to the end."""
    path = HERE / f"{task}.toml"
    epochs = load_config(path).training.max_epochs
    training = {"max_epochs": epochs, "patience": epochs, "refit": False}
    whole = {"training": training, "budget": {"trials": trials}, "storage": {"folder": folder}}
    return load_config(path, **{**BARE, **whole, "sampler": {"name": "random"}, **settings})


def read_curves(config: StudyConfig) -> list[tuple[TrialRow, dict[str, float]]]:
    """Read the complete trials of a study, each with its running best by epoch, from 1."""
    found = []
    for trial in load_study(config.name, config.storage.folder).trials:
        row = read_row(trial)
        if row.outcome is Outcome.COMPLETE and row.epochs == config.training.max_epochs:
            told = {f"epoch {step + 1}": value for step, value in trial.intermediate_values.items()}
            found.append((row, told))
    return found


def main() -> int:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--again", type=int, default=40, help="candidates that are trained twice")
    parser.add_argument("--folder", type=Path, default=Path("mlflow_runs"))
    arguments = parser.parse_args()
    first = configure(arguments.task, arguments.folder, arguments.trials)
    if run_study(first).ending is not Ending.FINISHED:
        print("Interrupted. The same command goes on; with fewer --trials it ends sooner.")
        return 130
    curves = read_curves(first)
    # Trial 0 of either has the defaults: the queue begins after it.
    queue = [dict(row.parameters) for row, _ in curves[1 : arguments.again]]
    name = f"{first.name}_again"
    sampler = {"name": "random", "queue": queue}
    again = configure(
        arguments.task, arguments.folder, 1 + len(queue), name=name, seed=1, sampler=sampler
    )
    if run_study(again).ending is not Ending.FINISHED:
        print("Interrupted. The same command goes on.")
        return 130
    repeated = {str(row.parameters): place for place, (row, _) in enumerate(curves)}
    lines = [describe(row, told, None) for row, told in curves]
    lines += [
        describe(row, told, repeated[str(row.parameters)]) for row, told in read_curves(again)
    ]
    begun = load_study(first.name, arguments.folder)
    facts = {
        "direction": begun.direction.name.lower(),
        "defaults": begun.trials[0].params,
        "distributions": {
            name: distribution_to_json(one) for name, one in begun.trials[0].distributions.items()
        },
    }
    (HERE / f"{arguments.task}.json").write_text(json.dumps(facts, indent=1) + "\n")
    path = HERE / f"{arguments.task}.csv.gz"
    pd.DataFrame(lines).to_csv(path, index=False, float_format="%.7g")
    print(f"{len(curves)} curves and {len(lines) - len(curves)} repeats in {path}.")
    return 0


def describe(row: TrialRow, told: dict[str, float], repeats: int | None) -> dict[str, Any]:
    """Make a line of the table."""
    known = {"repeats": repeats, "seconds": row.epoch_seconds, "weights": row.parameter_count}
    return {**row.parameters, **known, **told}


if __name__ == "__main__":
    sys.exit(main())
