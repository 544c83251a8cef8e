"""Whether a front keeps its limit after export: front.py STUDY.toml --latency-ms MS [--trials N].

A real study of two objectives, its metric and the latency, with a limit of the latency. Then every trial of its front
is exported and timed again, each format in a fresh process with nothing else running. Prints both; the limit is
Keras's, so that model.keras has to keep it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search import export_best, load_config, run_study
from search.driver.leaderboard import count_outcomes
from search.results.formats import KERAS


def main() -> int:
    """Run the study, export its front, and print a line for each of its trials.

    Returns:
        0 if every trial of the front keeps the limit after export too, else 1.
    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("study", type=Path)
    parser.add_argument("--latency-ms", type=float, required=True, dest="limit")
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="front-") as name:
        config = load_config(
            arguments.study,
            name="front",
            objective={"also": ["latency_ms"]},
            limits={"latency_ms": arguments.limit},
            budget={"trials": arguments.trials},
            winner={"repeats": 0, "members": 1},
            storage={"folder": Path(name)},
        )
        summary = run_study(config)
        exports = {
            row.number: export_best(config.name, folder=Path(name), trial=row.number).milliseconds
            for row in summary.front
        }
    formats = list(next(iter(exports.values()), {}))
    table = Table(box=None, pad_edge=False)
    for head in ("trial", config.objective.metric, "ms in the search", *formats):
        table.add_column(head, justify="right")
    for row in summary.front:
        after = [f"{exports[row.number].get(one, float('nan')):.3g}" for one in formats]
        table.add_row(str(row.number), f"{row.value:.4f}", f"{row.latency_ms:.3g}", *after)
    console = Console(width=140)
    console.print(table)
    over = {number: ms[KERAS] for number, ms in exports.items() if ms[KERAS] > arguments.limit}
    counts = ", ".join(f"{n} {what}" for what, n in count_outcomes(summary.rows).items())
    console.print(f"Trials: {counts}. Over {arguments.limit:g} ms after export: {over or 'none'}.")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
