"""In a process of its own: a trial's model is rebuilt from its record and written in each format."""

import hashlib
import importlib.metadata
import json
import math
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import mlflow.pyfunc
import numpy as np
from mlflow.types import ParamSchema, ParamSpec

from search.config import make_config
from search.data.sequences import Array, Side
from search.disk import is_full
from search.errors import StudyError
from search.messages import Member, WorkerSetup
from search.results import answering
from search.results.answering import Answering, read_numbers
from search.results.comparison import BATCHES, predict_in_batches
from search.results.formats import (
    EXAMPLE,
    HAS_TENSORFLOW,
    KERAS,
    LOADED_DATA,
    LOADER,
    REGISTERED,
    SAMPLES,
    SAVED_MODEL,
    Built,
)
from search.results.preprocessing import write_preprocessing
from search.tasks import Direction
from search.worker.batches import predict
from search.worker.kernels import release_lstms
from search.worker.members import rebuild
from search.worker.workbench import Candidate, Workbench

SAMPLED = 100
"""Windows that every format has to predict alike: enough for a whole batch of each size."""
EXAMPLES = 2
SCORE_TOLERANCE = 0.01
"""How far, relatively, the score may be from the recorded one: another device rounds otherwise."""
LEAST_TOLERANCE: Mapping[Direction, float] = {"maximize": 0.01, "minimize": 0.001}
"""How far in any case: shares go in steps of one target, errors may be small."""
NO_SAVED_MODEL = (
    "SavedModel is TensorFlow's own format, and TensorFlow is not installed. "
    "Install it beside JAX and export again."
)
RECORDING = ParamSchema([ParamSpec("recording", "string", "")])


def build_model(
    *,
    config: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
    value: float,
    data: str,
    folder: str,
    side: Side,
) -> dict[str, Any]:
    """Rebuild what was trained and write it as one model.

    Args:
        config: The study's settings.
        members: The trained candidates, as ``Member``, the chosen trial's first.
        value: The objective that they had on ``side``.
        data: Folder of the prepared data.
        folder: Where to write; its folder "export" gets the files that the person takes away.
        side: The side that they were scored on.

    Returns:
        The fields of ``Built``.

    Raises:
        StudyError: If the space no longer builds the model of the trial, or Keras cannot save it.
    """
    place = Path(folder)
    exact = {**config, "training": {**config["training"], "precision": "float32"}}
    setup = WorkerSetup(config=make_config(exact), data=Path(data), weights=place, log=place)
    bench = Workbench(setup)
    candidate = _rebuild(bench, [Member(**member) for member in members])
    score = _check_score(bench, candidate, value, side)
    samples = _choose_samples(bench.data.ends)
    # Fewer than are asked for, as of a dozen clips, are shown again.
    ends = np.resize(np.concatenate(list(samples.values())), SAMPLED)
    windows = candidate.inputs.gather(ends).astype(np.float32)
    predictions = predict(candidate.model, candidate.inputs, ends)
    at_once = candidate.model.predict_on_batch
    found = np.stack([predict_in_batches(at_once, windows, size) for size in BATCHES])
    card, export = bench.data.card, place / "export"
    mean, scale = (np.array(values, dtype=np.float32) for values in (card.mean, card.scale))
    shown = windows * scale + mean
    offsets = candidate.inputs.offsets
    built = Built(
        inputs=windows.shape[1:],
        outputs=predictions.shape[1:],
        stride=1 if offsets is None or len(offsets) == 1 else int(offsets[1] - offsets[0]),
        reading=dict(bench.task.reading(bench.data, bench.predict(candidate))),
        score=score,
        samples={side: len(own) for side, own in samples.items()},
        versions={"python": platform.python_version(), **_versions("lookback", "mlflow")},
        left_out={} if HAS_TENSORFLOW else {SAVED_MODEL: NO_SAVED_MODEL},
    )
    papers = write_preprocessing(bench.config, card, built, members[0]["number"])
    (export / answering.PREPROCESSING).write_text(papers, encoding="utf-8")
    raw = _widen(shown, built.stride)
    few = slice(EXAMPLES)
    np.savez(export / EXAMPLE, windows=shown[few], predictions=predictions[few], raw=raw[few])
    answers = Answering(model=candidate.model, facts=json.loads(papers)).answer
    read = np.stack([read_numbers(answers(windows, outputs)) for outputs in found])
    np.savez(place / SAMPLES, windows=windows, predictions=found, raw=raw, answers=read)
    release_lstms(candidate.model)
    with _blamed_on(bench.config.space):
        _write_formats(candidate.model, export, windows.shape[1:])
        _write_registered(place, raw[few], answers(windows[few], predictions[few]))
    return asdict(built)


def _choose_samples(ends: Mapping[Side, Array]) -> dict[Side, Array]:
    """Choose targets over all of validation, and where it has too few, over training too."""
    validation = _spread(ends["validation"], SAMPLED)
    return {
        "validation": validation,
        "train": _spread(ends["train"], SAMPLED - len(validation)),
    }


def _spread(values: Array, count: int) -> Array:
    """Choose some values, or all if there are fewer, from the first to the last."""
    numbers = np.linspace(0, len(values) - 1, min(count, len(values))).astype(np.int64)
    chosen: Array = values[numbers]
    return chosen


def _rebuild(bench: Workbench, members: Sequence[Member]) -> Candidate:
    """Build the candidates by their recorded answers and load their weights."""
    try:
        return rebuild(bench, members)
    except (LookupError, ValueError, OSError, BadZipFile) as exc:
        reason = str(exc).splitlines()[0].rstrip(".")
        raise StudyError(
            f"space must build the model whose weights were kept: {reason}. Received: "
            f"space={bench.config.space!r}, weights={[member.weights for member in members]}. "
            f"Restore the space as it was when the study ran."
        ) from exc


def _check_score(bench: Workbench, candidate: Candidate, recorded: float, side: Side) -> float:
    """Score the model again, since weights may fit a model that computes otherwise."""
    metric = bench.config.objective.metric
    score = bench.score(candidate, side)[metric]
    allowed = max(SCORE_TOLERANCE * abs(recorded), LEAST_TOLERANCE[bench.direction])
    undefined = math.isnan(score) and math.isnan(recorded)  # as of a side that shows one class
    if not undefined and not abs(score - recorded) <= allowed:
        raise StudyError(
            f"space must build the model that the trial trained. Received: "
            f"space={bench.config.space!r}, whose model scores {metric} {score:.6f} with the kept "
            f"weights instead of {recorded:.6f}. Restore the space as it was when the study ran."
        )
    return score


def _write_formats(model: Any, export: Path, window_shape: Sequence[int]) -> None:
    model.save(export / KERAS)
    if HAS_TENSORFLOW:
        # Named here, because a model without an Input has the batch size that it was built with.
        signature = [keras.InputSpec(shape=(None, *window_shape), dtype="float32")]
        model.export(
            export / SAVED_MODEL,
            format="tf_saved_model",
            verbose=False,
            input_signature=signature,
        )


def _widen(windows: Array, stride: int) -> Array:
    """Fill the rows between a window's steps, which a model does not read."""
    return np.repeat(windows, stride, axis=1)[:, stride - 1 :]


def _write_registered(place: Path, raw: Array, answer: Any) -> None:
    """Write the model that MLflow serves: the Keras file, what it is used with, and the code.

    By a loader of ours and not by MLflow's own for Keras: raw rows are scaled and answers read, and
    the files are compared with their checksums before Keras opens them in its safe mode.
    """
    room = place / LOADED_DATA
    room.mkdir()
    sums = []
    for name in (answering.MODEL, answering.PREPROCESSING):
        shutil.copy(place / "export" / name, room)
        sums.append(f"{hashlib.sha256((room / name).read_bytes()).hexdigest()}  {name}\n")
    (room / answering.CHECKSUMS).write_text("".join(sums), encoding="utf-8")
    code = place / f"{LOADER}.py"
    shutil.copy(answering.__file__, code)
    schema = mlflow.models.infer_signature(raw, answer)
    schema.params = RECORDING
    mlflow.pyfunc.save_model(
        str(place / REGISTERED),
        loader_module=LOADER,
        data_path=str(room),
        code_paths=[str(code)],
        signature=schema,
        input_example=raw,
        pip_requirements=[
            f"{name}=={version}" for name, version in _versions("mlflow", "pandas").items()
        ],
    )


def _versions(*names: str) -> dict[str, str]:
    """Name the versions of some libraries and of those that a model needs to run."""
    names = (*names, "keras", "numpy", keras.backend.backend())
    names += ("tensorflow",) if HAS_TENSORFLOW else ()
    return {name: importlib.metadata.version(name) for name in names}


@contextmanager
def _blamed_on(space: str) -> Iterator[None]:
    """Say which space built a model that cannot be saved."""
    try:
        yield
    except Exception as exc:  # a person's own layers may raise anything
        if is_full(exc):
            raise
        raise StudyError(
            f"space must build a model that Keras can save: {type(exc).__name__}: "
            f"{str(exc).strip()} Received: space={space!r}."
        ) from exc
