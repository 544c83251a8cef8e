"""Recordings made by hand, as a source returns them."""

from typing import Any

import numpy as np

from search.config import SequenceLengthConfig, TaskConfig
from search.data.recordings import Recordings, Targets
from search.data.sequences import Array
from search.data.targets import place_targets


def make_clips(clips: Array, **fields: Any) -> Recordings:
    """Clips of shape (clips, steps, ...) with two classes in turn and groups of four."""
    count, steps = clips.shape[:2]
    labels = np.asarray(fields.pop("labels", np.arange(count) % 2))
    values: dict[str, Any] = {
        "description": "Clips for a test.",
        "rows": clips.reshape(-1, *clips.shape[2:]).astype(np.float32),
        "starts": np.arange(count + 1) * steps,
        "names": tuple(f"clip {number}" for number in range(count)),
        "truths": np.repeat(labels, steps),
        "groups": np.arange(count) // 4,
        "channels": tuple("abcdefgh"[: clips.shape[-1]]),
        "classes": ("even", "odd"),
        "clips": True,
    }
    return Recordings(**(values | fields))


def make_streams(*lengths: int, channels: int = 2, **fields: Any) -> Recordings:
    """Recordings of random rows whose first channel is to be forecast."""
    total = sum(lengths)
    rows = np.random.default_rng(0).standard_normal((total, channels)).astype(np.float32)
    values: dict[str, Any] = {
        "description": "Recordings for a test.",
        "rows": rows,
        "starts": np.concatenate([[0], np.cumsum(lengths)]),
        "names": tuple(f"engine {number}" for number in range(len(lengths))),
        "truths": rows[:, :1].copy(),
        "groups": np.arange(len(lengths)),
        "channels": tuple("abcdefgh"[:channels]),
        "variables": ("a",),
        "target_channels": (0,),
    }
    return Recordings(**(values | fields))


def place(recordings: Recordings, high: int | None = None, **task: Any) -> Targets:
    """Place the targets of a task, by default of classification."""
    return place_targets(recordings, TaskConfig(**task), SequenceLengthConfig(high=high))
