"""New data are read as a study's data were, without what is right for them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from search.config import ArraysData, Kind, TableData, TaskConfig, VideoData
from search.data.clips import read_clips, read_names
from search.data.columns import list_some
from search.data.recordings import Recordings, Report
from search.data.sequences import Array
from search.data.sheets import open_arrays
from search.data.stamps import name_calendar, read_step, show_time
from search.data.table import load_table
from search.data.targets import any_within
from search.data.video import load_clips
from search.errors import ConfigError, DataError

RAW = "raw"
"""The array of raw windows that every study's model can be asked about."""
OFF_RATE = 0.2
"""How far, relatively, the time between rows may be from the study's: clocks and stamps are coarse."""
KEPT = ("x", "y", "lengths", "channels")
"""Names of arrays that new clips may have too."""
Settings = TypeVar("Settings", ArraysData, TableData, VideoData)


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a study's data were read.

    Attributes:
        data: The study's ``data`` settings but for where the data were.
        kind: What the study predicts.
        channels: Names along the last axis of a row, in the model's order.
        row_shape: The shape of one row.
    """

    data: Mapping[str, Any]
    kind: Kind
    channels: tuple[str, ...]
    row_shape: tuple[int, ...]


def load_unlabelled(source: Source, path: Path, cache: Path, report: Report) -> Recordings:
    """Read new data.

    Arrays hold clips under the name of the study's own, or raw windows under ``RAW``, whatever the
    study's source was. Tables and folders of videos are read by the study's settings; labels,
    groups and sides are not looked for.

    Args:
        source: How the study's data were read.
        path: The new file or folder.
        cache: A folder for decoded frames; made if it is missing.
        report: Hears how far a source has read.

    Returns:
        The recordings, whose truths say nothing.

    Raises:
        ConfigError: If the path does not hold what such a study reads.
        DataError: If it cannot be read, or has other channels or frames than the study's data.
    """
    kind = source.data["source"]
    if kind == "table" and path.suffix != ".npz":
        return _load_table(source, path, report)
    if kind == "video" and path.suffix != ".npz":
        whole = {"path": path, "groups": None, "folds": None, "sides": None}
        found = load_clips(_read_settings(VideoData, source, whole), cache, report)
        return _check_rows(replace(found, clips=source.kind == "classification"), source)
    return _load_arrays(source, path)


def _load_arrays(source: Source, path: Path) -> Recordings:
    """Read clips under the name of the study's own, or raw windows."""
    study = _read_settings(ArraysData, source, {"path": path})
    with open_arrays(path) as arrays:
        given = RAW if study.x not in arrays.names and RAW in arrays.names else study.x
        lengths = study.lengths if given == study.x else None
        names = source.channels
        if given == study.x and study.channels in arrays.names:
            names = read_names(arrays, "channels", str(study.channels))
        settings = study.model_copy(update={"x": given, "y": None, "lengths": lengths})
        clips = read_clips(arrays, settings, TaskConfig(kind=source.kind))
    lengths_of = clips.lengths
    found = Recordings(
        description=f"{len(lengths_of)} clips from {path.name}.",
        rows=clips.rows,
        starts=np.concatenate([[0], np.cumsum(lengths_of)]),
        names=tuple(f"clip {number}" for number in range(len(lengths_of))),
        truths=clips.rows,
        channels=names,
        clips=given == RAW
        or source.kind in ("classification", "regression")
        or (source.kind == "frames" and study.y is not None),
    )
    return _check_rows(found, source)


def _read_settings(model: type[Settings], source: Source, changes: Mapping[str, Any]) -> Settings:
    """Read the study's settings, or the defaults of a source that the study's was not.

    Raises:
        ConfigError: If they are of another version.
    """
    known = source.data if source.data["source"] == model.model_fields["source"].default else {}
    kept = dict(known)
    if model is ArraysData:  # the others name what new clips need not have
        kept = {"x": RAW} | {name: known[name] for name in KEPT if name in known}
    try:
        return model.model_validate({**kept, **changes})
    except ValidationError as exc:
        raise ConfigError(
            f"The export's data settings must be of this version: {exc.errors()[0]['msg']}. "
            f"Received: {'.'.join(map(str, exc.errors()[0]['loc']))}. Export again."
        ) from None


def _load_table(source: Source, path: Path, report: Report) -> Recordings:
    """Read the columns that the model sees, and bring those of words in the model's order."""
    study = _read_settings(TableData, source, {"path": path})
    calendar = name_calendar(study.calendar)
    words = tuple(f"{name}=" for name in study.categories)
    numbers = tuple(
        name for name in source.channels if name not in calendar and not name.startswith(words)
    )
    shown = {"channels": numbers, "targets": (), "group": None, "sides": None}
    if study.time and study.step is not None:
        _check_rate(study.model_copy(update=shown), report)
    found = load_table(study.model_copy(update=shown), None, report)
    return _check_rows(found, source, absent=words)


def _check_rate(study: TableData, report: Report) -> None:
    """Refuse rows that are another time apart than those that the model learned from."""
    own = {"step": None, "gaps": "ignore", "categories": (), "calendar": ()}
    found = load_table(study.model_copy(update=own), None, report).step
    wanted = read_step(study.step)
    if found is not None and wanted is not None and abs(found - wanted) > OFF_RATE * wanted:
        raise DataError(
            f"Rows must be {show_time(wanted)} apart, as those that the model learned from. "
            f"Received: rows that are mostly {show_time(found)} apart in {study.path.name!r}."
        )


def _check_rows(found: Recordings, source: Source, absent: tuple[str, ...] = ()) -> Recordings:
    """Refuse other rows than the model reads, and bring channels in its order.

    Args:
        found: What was read.
        source: How the study's data were read.
        absent: How channels begin that are zeros where new data lack them: words never seen.

    Returns:
        The recordings, with the model's channels.

    Raises:
        DataError: If frames have another shape, or a channel is missing or unknown.
    """
    if found.rows.shape[1:-1] != source.row_shape[:-1]:
        raise DataError(
            f"Rows must have the shape {source.row_shape}, as the model's. Received: "
            f"{found.rows.shape[1:]}."
        )
    if found.channels == source.channels and found.rows.shape[1:] == source.row_shape:
        return found
    lacking = [name for name in source.channels if name not in found.channels]
    lacking = [name for name in lacking if not name.startswith(absent or ("\0",))]
    unknown = [name for name in found.channels if name not in source.channels]
    if lacking or unknown or len(found.channels) != found.rows.shape[-1]:
        raise DataError(
            f"Rows must have the model's channels: {', '.join(source.channels)}. Received: "
            f"{found.rows.shape[-1]} channels"
            + (f", without {list_some(lacking)}" if lacking else "")
            + (f", with {list_some(unknown)}, which it has not seen" if unknown else "")
            + "."
        )
    places = [
        found.channels.index(name) if name in found.channels else -1 for name in source.channels
    ]
    rows = np.where(np.array(places) >= 0, found.rows[..., places], 0).astype(found.rows.dtype)
    return replace(found, rows=rows, truths=rows, channels=source.channels)


def list_ends(recordings: Recordings, reach: int) -> tuple[Array, Array]:
    """Find the rows that a model can answer for.

    Args:
        recordings: What was read.
        reach: Rows that a window must have.

    Returns:
        The last row of each clip, or each row, that has ``reach`` usable rows of its recording up
        to it, of shape (answers,), ascending; and the recording of each, likewise.

    Raises:
        DataError: If there is none.
    """
    owners = np.repeat(np.arange(len(recordings.names)), recordings.lengths)
    numbers = np.arange(len(owners))
    chosen = numbers - recordings.starts[owners] >= reach - 1
    if recordings.clips:
        chosen &= numbers == recordings.starts[owners + 1] - 1
    ends = numbers[chosen]
    if recordings.usable is not None:
        ends = ends[~any_within(~recordings.usable, ends + 1 - reach, ends + 1)]
    if not len(ends):
        raise DataError(
            f"A recording must have {reach} rows without a missing value one after the other: so "
            f"many the model reads. Received: none among {len(recordings.names)}, the longest of "
            f"{recordings.lengths.max()} rows."
        )
    return ends, owners[ends]
