"""Where a study comes from: its settings, data, code and libraries, as its run records them."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from search.config import PATHS, StudyConfig
from search.data.sequences import SequenceCard
from search.messages import WorkerReady

DRIVER_LIBRARIES = ("optuna", "mlflow", "scikit-learn")


def describe_study(
    config: StudyConfig, direction: str, card: SequenceCard, worker: WorkerReady
) -> dict[str, str]:
    """Write the tags of a study's run: what a person needs to repeat it.

    Args:
        config: The study.
        direction: Which way the objective is better.
        card: Its data.
        worker: The worker that came up first.

    Returns:
        Tag names and values.
    """
    versions = {name: importlib.metadata.version(name) for name in ("lookback", *DRIVER_LIBRARIES)}
    versions |= {"python": platform.python_version(), **worker.versions}
    return {
        "space": config.space,
        "lookback.direction": direction,
        "data.description": card.description,
        "data.fingerprint": card.fingerprint,
        "data.audit": card.audit,
        "device": worker.device,
        "git.commit": find_commit(),
        **{f"version.{name}": version for name, version in versions.items()},
    }


def dump_settings(config: StudyConfig) -> dict[str, Any]:
    """Write a study's settings so that they can be launched again, from any folder.

    Args:
        config: The study.

    Returns:
        Nested settings; the store's address is left out, since it may hold a password.
    """
    settings = config.model_dump(mode="json", exclude_none=True, exclude={"tracking": {"uri"}})
    for field in PATHS & settings["data"].keys():
        settings["data"][field] = str(getattr(config.data, field).absolute())
    return settings


def flatten_settings(config: StudyConfig) -> dict[str, str]:
    """Flatten a study's settings to dotted names, as the command line writes them.

    Args:
        config: The study.

    Returns:
        Names and values; where its stores lie is left out, since an address may hold a password.
    """
    flat: dict[str, str] = {}
    for section, value in config.model_dump(mode="json", exclude={"tracking", "storage"}).items():
        if isinstance(value, dict):
            flat |= {f"{section}.{name}": str(inner) for name, inner in value.items()}
        else:
            flat[section] = str(value)
    return flat


def find_commit() -> str:
    """Find the git commit of this code.

    Returns:
        Its 40 digits, with "-dirty" where files have changed since; "unknown" outside a clone.
    """
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607  # whichever git the person has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
