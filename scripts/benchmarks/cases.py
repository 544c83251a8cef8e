"""What the benchmarks of speed train: random sequences, without Keras, which a launch leaves to workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from search.config import StudyConfig, make_config


@dataclass(frozen=True, kw_only=True)
class Case:
    """Random clips and their classes, or frames, and a candidate of a space.

    Attributes:
        name: As the tables show it.
        space: The search space.
        shape: One clip's shape, frames to be predicted included.
        clips: How many there are, a fifth of them for validation.
        answers: Hyperparameters that are not the space's defaults.
        classes: How many classes there are.
        horizon: Frames to predict; 0 for classes.
    """

    name: str
    space: str
    shape: tuple[int, ...]
    clips: int
    answers: Mapping[str, Any] = field(default_factory=dict)
    classes: int = 0
    horizon: int = 0


def write_clips(case: Case, folder: Path) -> Path:
    """Write a case's clips as a user would: an ``.npz`` file."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random(size=(case.clips, *case.shape), dtype="float32")}
    if case.classes:
        arrays["y"] = rng.integers(case.classes, size=case.clips)
    path = folder / "clips.npz"
    np.savez(path, **arrays)
    return path


def make_study(case: Case, path: Path, **sections: Any) -> StudyConfig:
    """Describe a study of a case's clips.

    Args:
        case: The case.
        path: Its clips.
        **sections: Settings beside data, split, task and sequence length.

    Returns:
        The study.
    """
    length = case.shape[0] - case.horizon
    task: dict[str, Any] = {"kind": "frames", "horizon": case.horizon} if case.horizon else {}
    return make_config(
        {
            "name": "speed",
            "space": case.space,
            "data": {"source": "arrays", "path": path},
            "task": task,
            "split": {
                "method": "blocks" if case.horizon else "stratified",
                "validation": 0.2,
                "test": 0.05,
            },
            "sequence_length": {"low": length, "high": length},
            **sections,
        }
    )
