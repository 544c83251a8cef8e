"""An exported model answers for new data, and the answers become a table."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.data.recordings import Recordings, Report
from search.data.sequences import Array
from search.data.unlabelled import Source, list_ends, load_unlabelled
from search.errors import StudyError
from search.results.answering import Answering, AnsweringError, load_answering
from search.results.judging import Own, check_normal_rows, group_answers, judge_errors

MOST_VALUES = 2**22
"""Numbers of windows that are gathered at once, to bound memory: 16 MiB in float32."""
TABLES = (".csv", ".parquet")
FRAMES = ".npz"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What was answered.

    Attributes:
        place: The file that was written.
        description: What was read, and what of it was left out.
        answers: How many windows were answered for.
        recordings: How many recordings they are of.
        passed_over: Recordings without a window that the model can read, for want of rows or for
            missing values.
    """

    place: Path
    description: str
    answers: int
    recordings: int
    passed_over: int


def predict_data(
    export: Path,
    data: Path,
    place: Path,
    *,
    normal_rows: int | None = None,
    module: str | None = None,
    report: Report = lambda what, done, total: None,
) -> Predicted:
    """Answer for every window of new data.

    Args:
        export: The folder that ``export_best`` wrote.
        data: A file or folder of the kind that the study read, or an .npz file whose array "raw"
            holds raw windows of shape (windows, rows, channels).
        place: The file to write: .csv or .parquet; .npz for frames.
        normal_rows: Rows at the start of each recording that are known to be normal: it is scaled
            by them where the study scaled each recording apart, and judged by them where each
            had a threshold of its own.
        module: A module to import first, which holds layers of the model.
        report: Hears how far reading and predicting are.

    Returns:
        What was written.

    Raises:
        ConfigError: If the data do not have what the model reads.
        DataError: If they cannot be read, or no recording has room for a window.
        StudyError: If the export is not whole, the module cannot be imported, or the file cannot be
            written.
    """
    try:
        with _without_messages():
            if module is not None:
                _import(module)
            answering = load_answering(export)
    except AnsweringError as exc:
        raise StudyError(str(exc)) from None
    facts = answering.facts
    _check_place(place, facts["task"])
    _check_kept(place, data, export)
    check_normal_rows(normal_rows, facts)
    source = Source(
        data=facts["data"],
        kind=facts["task"],
        channels=tuple(facts["channels"]),
        row_shape=tuple(facts["row_shape"]),
    )
    with tempfile.TemporaryDirectory() as cache:
        recordings = load_unlabelled(source, data, Path(cache), report)
    ends, owners = list_ends(recordings, answering.reach)
    parts = []
    for own, some in group_answers(recordings, owners, normal_rows, answering):
        found = []
        for part in _slices(some, answering):
            found.append(_answer(answering, recordings.rows, ends[part], own))
            report("Predicting", int(part[-1]) + 1, len(ends))
        joined: Any = _join(found)
        if facts["task"] == "anomaly":
            joined = judge_errors(answering, joined, (ends[some], owners[some]), own)
        parts.append(joined)
    try:
        _write(place, parts, _locate(recordings, ends, owners))
    except OSError as exc:
        raise _refuse_place(place, exc.strerror or str(exc)) from None
    answered = len(np.unique(owners))
    return Predicted(
        place=place,
        description=recordings.description,
        answers=len(ends),
        recordings=answered,
        passed_over=len(recordings.names) - answered,
    )


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Keep what TensorFlow writes past Python, of drivers that are not there, off the terminal."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check_kept(place: Path, data: Path, export: Path) -> None:
    """Refuse to write over what is read."""
    whole = place.resolve()
    if whole.is_relative_to(data.resolve()) or whole.is_relative_to(export.resolve()):
        raise _refuse_place(place, "it is read, or lies in a folder that is")


def _check_place(place: Path, kind: str) -> None:
    allowed = (FRAMES,) if kind == "frames" else TABLES
    if place.suffix not in allowed:
        raise StudyError(
            f"--out must end in {' or '.join(allowed)} for a model of task.kind={kind!r}. "
            f"Received: {str(place)!r}."
        )
    if place.is_dir():
        raise _refuse_place(place, "it is a folder")
    try:
        with tempfile.TemporaryFile(dir=place.absolute().parent):
            pass
    except OSError as exc:
        raise _refuse_place(place, exc.strerror or str(exc)) from None


def _refuse_place(place: Path, reason: str) -> StudyError:
    return StudyError(
        f"--out must be a file that can be written: {reason}. Received: {str(place)!r}."
    )


def _import(module: str) -> None:
    """Import a person's own module, from the working directory too, as `python -m` does."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except Exception as exc:  # the module is the person's own and may raise anything
        raise StudyError(
            f"--module must be a module that can be imported: {type(exc).__name__}: {exc}. "
            f"Received: {module!r}."
        ) from exc


def _slices(some: Array, answering: Answering) -> Iterator[Array]:
    values = answering.reach * int(np.prod(answering.facts["row_shape"]))
    size = max(1, MOST_VALUES // values)
    for low in range(0, len(some), size):
        yield some[low : low + size]


def _answer(answering: Answering, rows: Array, ends: Array, own: Own) -> pd.DataFrame | Array:
    """Answer for windows that end at some rows; of anomalies, measure their errors."""
    windows = answering.cut(rows[ends[:, None] + np.arange(1 - answering.reach, 1)])
    if own.mean is None:
        scaled = answering.scale(windows, own.name)
    else:
        scaled = answering.scale_by(windows, own.mean, own.scale)
    outputs = answering.run(scaled)
    if answering.facts["task"] == "anomaly":
        return answering.measure(scaled, outputs)
    return answering.answer(scaled, outputs, own.name)


def _join(parts: list[Any]) -> pd.DataFrame | Array:
    """Put tables, or arrays, one below the other."""
    joined: pd.DataFrame | Array = (
        pd.concat(parts, ignore_index=True)
        if isinstance(parts[0], pd.DataFrame)
        else np.concatenate(parts)
    )
    return joined


def _locate(recordings: Recordings, ends: Array, owners: Array) -> pd.DataFrame:
    """Say which row of which recording each answer is for; rows are counted from 0."""
    names = np.array(recordings.names, dtype=object)
    columns = {"recording": names[owners], "row": ends - recordings.starts[owners]}
    if recordings.stamps is not None:
        columns["time"] = recordings.stamps[ends]
    return pd.DataFrame(columns)


def _write(place: Path, parts: list[Any], located: pd.DataFrame) -> None:
    """Write a whole file before it gets its name."""
    with tempfile.TemporaryDirectory(dir=place.absolute().parent, prefix=".writing-") as aside:
        new = Path(aside) / place.name
        if place.suffix == FRAMES:
            words = located["recording"].to_numpy().astype(np.str_)
            np.savez_compressed(
                new, frames=np.concatenate(parts), recording=words, row=located["row"].to_numpy()
            )
        else:
            answers = pd.concat(parts, ignore_index=True)
            taken = {name: f"{name} (predicted)" for name in located}
            table = pd.concat([located, answers.rename(columns=taken)], axis=1)
            if place.suffix == ".csv":
                table.to_csv(new, index=False)
            else:
                table.to_parquet(new, index=False)
        new.replace(place)
