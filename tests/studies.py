"""Small real studies, finished in seconds."""

import shutil
from pathlib import Path

from search.config import StudyConfig, make_config
from search.driver.study import StudySummary, run_study
from search.results.audit import audit_study


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
            "winner": {"repeats": 0},
            "workers": {"executor": "inline"},
            "storage": {"folder": str(folder)},
            **settings,
        }
    )


def wave_study(path: Path, folder: Path, **settings: object) -> StudyConfig:
    """A study of the ``waves``, of a minute or less."""
    return make_config(
        {
            "name": "waves",
            "data": {"source": "arrays", "path": path, "groups": "group"},
            "objective": {"metric": "accuracy"},
            "training": {"max_epochs": 3},
            "budget": {"trials": 4},
            "pruner": {"name": "none"},
            "winner": {"repeats": 0},
            "workers": {"count": 2},
            "storage": {"folder": folder},
            **settings,
        }
    )


def differences(folder: Path) -> list[str]:
    """What Optuna and MLflow do not agree on, in a study of the ``waves``."""
    return [text for trial in audit_study("waves", folder=folder) for text in trial.differences]


def run_small_study(folder: Path, store: Path, name: str, **settings: object) -> StudySummary:
    """Run it, on a copy of a tracking store where the folder has none."""
    folder.mkdir(exist_ok=True)
    if not (folder / "mlflow.db").exists():
        shutil.copyfile(store, folder / "mlflow.db")
    return run_study(small_study(folder, name, **settings))
