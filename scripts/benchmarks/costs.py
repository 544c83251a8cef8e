"""How well the cost of a trial is predicted before it is trained: costs.py STUDY [--folder FOLDER].

Replays a study that has ended: each trial's epoch is predicted from its cost and from the trials before it, as
the driver does, and compared with what its epochs took.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from search.driver.costs import learn_rates
from search.driver.trials import RECENT, read_row
from search.results.studies import load_study


def main() -> int:
    """Predict all trials of a study, and print how far off that was."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("study")
    parser.add_argument("--folder", type=Path, default=Path("mlflow_runs"))
    arguments = parser.parse_args()
    rows = [read_row(trial) for trial in load_study(arguments.study, arguments.folder).trials]
    usual, predicted = list[float](), list[float]()
    for place, row in enumerate(rows):
        rates = learn_rates(rows[max(0, place - RECENT) : place])
        known = [one.epoch_seconds for one in rows[:place] if one.epoch_seconds]
        if rates and row.cost and row.epoch_seconds:
            predicted.append(abs(np.log(rates.predict(row.cost) / row.epoch_seconds)))
            usual.append(abs(np.log(np.median(known) / row.epoch_seconds)))
    table = Table(box=None, pad_edge=False)
    for head in ("predicted from", "trials", "median factor off", "90 % within a factor of"):
        table.add_column(head, justify="left" if head == "predicted from" else "right")
    for name, wrong in (("the cost", predicted), ("the median of the trials before", usual)):
        middle, most = np.exp(np.quantile(wrong, (0.5, 0.9)))
        table.add_row(name, str(len(wrong)), f"{middle:.2f}", f"{most:.2f}")
    spread = [row.epoch_seconds for row in rows if row.epoch_seconds]
    console = Console(width=100)
    console.print(table)
    console.print(f"Epochs took from {min(spread):.2f} to {max(spread):.2f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
