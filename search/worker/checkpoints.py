"""A trial's whole state after an epoch, on disk: what a worker that died leaves to the next one."""

import hashlib
import io
import json
import os
import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from search.data.sequences import Array

DIGEST_BYTES = 32
"""A file begins with the SHA-256 of all that follows."""
GROUPS = ("variables", "optimizer", "best")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a trial needs to go on as if nothing had happened.

    Attributes:
        identity: What the trial is: a checkpoint of another seed, other hyperparameters or other
            targets is none of it. JSON.
        values: The objective after each epoch so far.
        metrics: The metrics after each epoch so far.
        seconds: Time spent on the trial so far.
        answers: Every hyperparameter, where a hypermodel's own ``fit`` has ended; else ``None``.
        random: The states of Python's and NumPy's global generators. JSON.
        variables: The model's weights and the states of its dropout, in the model's order.
        optimizer: The optimizer's variables, in its order.
        best: The weights of the best epoch, in the model's order.
    """

    identity: Mapping[str, Any]
    values: Sequence[float]
    metrics: Sequence[Mapping[str, float]]
    seconds: float
    answers: Mapping[str, Any] | None = None
    random: Mapping[str, Any] = field(default_factory=dict)
    variables: Sequence[Array] = ()
    optimizer: Sequence[Array] = ()
    best: Sequence[Array] = ()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the one before it stays beside it until the next.

    It is written aside, synced and renamed, so that a process may be killed at any moment, and
    carries a checksum, so that a file that was cut short is never taken for a whole one.

    Args:
        checkpoint: The trial's state.
        path: The file.

    Raises:
        OSError: If the disk does not take it; what was there before is still whole.
    """
    words = {k: v for k, v in asdict(checkpoint).items() if k not in GROUPS}
    arrays = {"words": np.frombuffer(json.dumps(words).encode(), np.uint8)}
    for group in GROUPS:
        arrays |= {f"{group}_{i}": array for i, array in enumerate(getattr(checkpoint, group))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes allow_pickle for an array
    content = buffer.getbuffer()
    aside = path.with_name(f".{path.name}")
    with aside.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        path.replace(_previous(path))
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the names are on disk too
    finally:
        os.close(folder)


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """Read the newest whole checkpoint of a trial.

    Args:
        path: The file that ``save_checkpoint`` was given.
        identity: What the trial is.

    Returns:
        The checkpoint; the one before it where the newest is broken; ``None`` where there is no
        whole one of this trial.
    """
    for candidate in (path, _previous(path)):
        found = _read(candidate)
        if found is not None and found.identity == identity:
            return found
    return None


def remove_checkpoint(path: Path) -> None:
    """Remove a trial's checkpoint, the one before it, and what was being written.

    Args:
        path: The file that ``save_checkpoint`` was given.
    """
    for file in path.parent.glob(f"*{path.name}*"):
        file.unlink()


def _read(path: Path) -> Checkpoint | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        return None
    try:
        with np.load(io.BytesIO(content[DIGEST_BYTES:]), allow_pickle=False) as file:
            words = json.loads(file["words"].tobytes())
            groups: dict[str, Any] = {
                group: [file[f"{group}_{i}"] for i in range(_count(file.files, group))]
                for group in GROUPS
            }
            return Checkpoint(**words, **groups)
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile):  # whole, but not one of ours
        return None


def _count(names: Sequence[str], group: str) -> int:
    return sum(name.startswith(f"{group}_") for name in names)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def get_state(model: Any) -> dict[str, Any]:
    """Read everything that changes while a model is trained.

    Args:
        model: A Keras model in training.

    Returns:
        ``variables``, ``optimizer`` and ``random`` of a ``Checkpoint``.
    """
    kind, *python = random.getstate()
    numpy = np.random.get_state(legacy=False)
    keys = numpy["state"]
    return {
        "variables": [np.asarray(variable) for variable in model.variables],
        "optimizer": [np.asarray(variable) for variable in model.optimizer.variables],
        "random": {
            "python": [kind, *python],
            "numpy": {**numpy, "state": {"key": keys["key"].tolist(), "pos": keys["pos"]}},
        },
    }


def set_state(model: Any, checkpoint: Checkpoint) -> bool:
    """Give a model its state back.

    Args:
        model: Built and compiled as the one that the checkpoint was taken of.
        checkpoint: The state.

    Returns:
        Whether it could take it: nothing of a model is changed that is of other variables, as one
        whose space was edited meanwhile.
    """
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    values = [*checkpoint.variables, *checkpoint.optimizer]
    if [tuple(one.shape) for one in variables] != [value.shape for value in values]:
        return False
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    kind, keys, gauss = checkpoint.random["python"]
    random.setstate((kind, tuple(keys), gauss))
    np.random.set_state(checkpoint.random["numpy"])
    return True
