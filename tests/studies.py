"""Small real studies, finished in seconds."""

import shutil
from pathlib import Path

from search.config import StudyConfig, make_config
from search.driver.study import StudySummary, run_study


def small_study(folder: Path, name: str = "small", **settings: object) -> StudyConfig:
    """A study of one trial of one epoch on a few simulated machines."""
    return make_config(
        {
            "name": name,
            "data": {"source": "machine", "machines": 8, "rows": 600},
            "sequence_length": {"low": 16, "high": 16},
            "objective": {"metric": "log_loss"},
            "training": {"max_epochs": 1},
            "budget": {"trials": 1},
            "workers": {"executor": "inline"},
            "storage": {"folder": str(folder)},
            **settings,
        }
    )


def run_small_study(folder: Path, store: Path, name: str, **settings: object) -> StudySummary:
    """Run it, on a copy of a tracking store where the folder has none."""
    folder.mkdir(exist_ok=True)
    if not (folder / "mlflow.db").exists():
        shutil.copyfile(store, folder / "mlflow.db")
    return run_study(small_study(folder, name, **settings))
