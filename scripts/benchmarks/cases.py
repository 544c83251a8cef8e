"""What the benchmarks of speed train: random sequences, and candidates built here and as people write them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from search.config import StudyConfig, make_config

FRAMEWISE = ("downscale", "conv_", "grid", "frame_summary", "code", "canvas", "draw")
"""What the names of layers begin with that see one frame at a time."""
MERGES = ("Reshape",)
"""Operations that merge the frames into a batch, or split them again."""


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


def wrap_layers(model: Any) -> Any:
    """Build the same layers as people write them: those of frames wrapped in TimeDistributed, one by one.

    Args:
        model: Of a built-in space, without a part that stands beside its layers.

    Returns:
        A compiled model with copies of the weights and of the optimizer.
    """
    tensor = given = keras.Input(model.inputs[0].shape[1:])
    state: list[Any] = []
    has_frames = len(given.shape) == 5  # noqa: PLR2004  # batch, frames, height, width, channels
    for layer in model.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if not isinstance(layer, keras.layers.Layer):
            if type(layer).__name__ not in MERGES:
                raise ValueError(f"Only layers can be wrapped. Received: {layer.name}.")
            continue
        copy = type(layer).from_config(layer.get_config())
        if has_frames and copy.name.startswith(FRAMEWISE):
            tensor = keras.layers.TimeDistributed(copy)(tensor)
        elif isinstance(copy, keras.layers.LSTM) and state:
            tensor = copy(tensor, initial_state=state)
        elif isinstance(copy, keras.layers.LSTM) and copy.return_state:
            tensor, *state = copy(tensor)
        else:
            tensor = copy(tensor)
    wrapped = keras.Model(given, tensor)
    wrapped.set_weights(model.get_weights())
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    wrapped.compile(optimizer, model.loss, metrics=["accuracy"] if len(tensor.shape) == 2 else [])  # noqa: PLR2004
    return wrapped
