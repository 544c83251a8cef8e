"""The driver's defaults against random search, on learning curves that were really trained."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FOLDER = Path(__file__).parents[2] / "scripts" / "benchmarks" / "search_quality"
TASKS = sorted(path.name.partition(".")[0] for path in FOLDER.glob("*.csv.gz"))
SEEDS = range(8)
BUDGET = 30
"""Whole trainings."""


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("replay")


def errors(replay: ModuleType, task: str, name: str) -> np.ndarray:
    """Play studies; return the best so far's distance from perfect, of shape (seeds, points)."""
    best = np.array([replay.play(task, name, seed, BUDGET).best for seed in SEEDS])
    direction = replay.make_surrogate(task).table.direction
    return 1 - best if direction == "maximize" else best


@pytest.mark.parametrize("task", TASKS)
def test_on_the_way_the_best_so_far_is_better_than_random_searchs(
    replay: ModuleType, task: str
) -> None:
    random, ours, blind = (
        np.nanmean(errors(replay, task, name)) for name in ("random", "Lookback", "Lookback, blind")
    )
    assert ours < blind < random


@pytest.mark.parametrize("task", TASKS)
def test_a_study_of_the_same_seed_is_the_same(replay: ModuleType, task: str) -> None:
    assert replay.play(task, "Lookback", 1, 10) == replay.play(task, "Lookback", 1, 10)


@pytest.mark.parametrize("task", TASKS)
def test_a_table_is_predicted_where_it_was_left_out(replay: ModuleType, task: str) -> None:
    said = replay.make_surrogate(task).describe()
    assert float(said.partition("correlate by ")[2][:4]) >= 0.6
