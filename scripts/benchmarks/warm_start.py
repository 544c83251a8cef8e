"""What a warm start saves: warm_start.py ETTh1.csv [--seeds N] [--trials N].

For each seed three real studies: one of the first half of a table, and two of its second half, one of which begins
with the first study's best candidates. Prints after how many of its epochs the warm one is as good on validation as
the cold one at its end.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from search import load_config, run_study
from search.config import StudyConfig
from search.driver.leaderboard import TrialRow
from search.messages import Outcome

STUDY = Path(__file__).parents[1] / "studies" / "ett.toml"
PARTS = {"validation_from": 0.66, "test_from": 0.83}
"""Where the sides of a half begin."""
STRIDE = 4
"""Rows from one target to the next."""


def configure(name: str, path: Path, rows: int, **more: object) -> StudyConfig:
    """Describe a search of one half alone, without what comes after it."""
    settings = {
        "data": {"path": path, "stride": STRIDE},
        "split": {**{side: int(part * rows) for side, part in PARTS.items()}, "until": rows},
        "winner": {"repeats": 0},
        "export": {"formats": []},
        "training": {"refit": False},
        "storage": {"folder": path.parent / "runs"},
        **more,
    }
    return load_config(STUDY, name=name, **settings)


def count_epochs(rows: Sequence[TrialRow], goal: float) -> tuple[float, int]:
    """Count the epochs, in the order of trials, until a study is as good as a goal, and all.

    Args:
        rows: The study's trials.
        goal: A value of the objective, which is the better the smaller.

    Returns:
        The epochs until then, infinite if it never is, and the epochs of the study.
    """
    spent, reached = 0, math.inf
    for row in sorted(rows, key=lambda row: row.number):
        spent += row.own_epochs
        if row.outcome is Outcome.COMPLETE and (row.value or 0.0) <= goal:
            reached = min(reached, spent)
    return reached, spent


def main() -> int:
    """Run the studies, and print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("table", type=Path, help="ETTh1.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.table)
    half = len(table) // 2
    lines = []
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        halves = [Path(name) / "first.csv", Path(name) / "second.csv"]
        table[:half].to_csv(halves[0], index=False)
        table[half : 2 * half].to_csv(halves[1], index=False)
        for seed in range(arguments.seeds):
            common = {"seed": seed, "budget": {"trials": arguments.trials}}
            source = configure(f"first{seed}", halves[0], half, **common)
            run_study(source)
            cold = run_study(configure(f"cold{seed}", halves[1], half, **common))
            sampler = {"warm_start": [source.name]}
            warm = run_study(configure(f"warm{seed}", halves[1], half, **common, sampler=sampler))
            goal = cold.leaders[0].value or 0.0
            lines.append((goal, warm.leaders[0].value, cold.rows, warm.rows))
    show(lines)
    return 0


def show(
    lines: Sequence[tuple[float, float | None, Sequence[TrialRow], Sequence[TrialRow]]],
) -> None:
    """Print what was found."""
    drawing = Table(box=None, pad_edge=False)
    for head in (
        "seed",
        "cold: best",
        "cold: epochs to it, of all",
        "warm: best",
        "warm: epochs to the cold one's best",
        "of the cold one's",
    ):
        drawing.add_column(head, justify="right")
    for seed, (goal, best, cold, warm) in enumerate(lines):
        (own, whole), (reached, _) = count_epochs(cold, goal), count_epochs(warm, goal)
        share = f"{reached / whole:.2f}" if math.isfinite(reached) else "never"
        own_words = f"{own:.0f}, {whole}"
        drawing.add_row(str(seed), f"{goal:.4f}", own_words, f"{best:.4f}", f"{reached:.0f}", share)
    Console(width=120).print(drawing)


if __name__ == "__main__":
    sys.exit(main())
