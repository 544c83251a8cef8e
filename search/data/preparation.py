"""The study's data: loaded, split, audited, scaled, and kept where every worker maps them."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from search.config import (
    ArraysData,
    DigitsData,
    MachineData,
    StudyConfig,
    TableData,
    VideoData,
)
from search.data.arrays import load_arrays
from search.data.audit import audit_scaling, audit_sides, keep_apart
from search.data.digits import load_digits
from search.data.machine import load_machine
from search.data.recordings import Recordings, Report, Targets
from search.data.scaling import Scaling, fit_scaling, fit_truths
from search.data.sequences import SIDES, Array, SequenceCard, SequenceData
from search.data.splits import Sides, redraw_validation, split_targets
from search.data.table import load_table
from search.data.targets import place_targets
from search.data.usable_sides import check_sides, keep_normal
from search.data.video import load_video
from search.errors import ConfigError


def prepare_data(
    config: StudyConfig,
    folder: Path,
    report: Report = lambda what, done, total: None,
    *,
    draw: tuple[int, Path] | None = None,
) -> tuple[SequenceData, Path]:
    """Load, split, audit and scale the data, once for all studies that have the same.

    Args:
        config: The study.
        folder: Where prepared data are kept; made if it is missing.
        report: Hears how far a source has read.
        draw: A seed to draw another validation side by, where the split can draw one, and
            the folder to keep that in; ``None`` for the study's own sides.

    Returns:
        The data, mapped into memory read-only, and the folder that workers load them from.

    Raises:
        ConfigError: If the study names what the data do not have.
        DataError: If the data cannot be read or split, or a raw row stands on two sides.
    """
    recordings = load_recordings(config, folder, report)
    _check_scaling(recordings, config)
    _check_thresholds(config)
    targets = place_targets(recordings, config.task, config.sequence_length)
    sides: Sides = split_targets(recordings, targets, config.split, config.seed)
    if draw is not None:
        sides = redraw_validation(recordings, targets, sides, config.split, draw[0])
    check_sides(recordings, targets, sides, config.task)
    # A recording's own scale moves no other: what it shows again of another gives nothing away.
    scaled = keep_apart(recordings, targets, sides) if recordings.scaled_apart else None
    sides, audit = audit_sides(recordings, targets, sides, config.split.method)
    scaled = sides["train"] if scaled is None else scaled
    if config.task.kind == "anomaly":
        sides = keep_normal(recordings, targets, sides)
        scaled = keep_normal(recordings, targets, {**sides, "train": scaled})["train"]
    check_sides(recordings, targets, sides, config.task)
    fingerprint = _fingerprint(recordings, targets, sides, config)
    place = (draw[1] if draw else folder) / fingerprint[:16]
    if not place.is_dir():
        frames = config.task.kind == "frames"
        scaling = fit_scaling(recordings, targets, scaled, frames=frames)
        audit_scaling(recordings, targets, scaled, scaling)
        card = _write_card(recordings, targets, sides, scaling, (audit, fingerprint))
        _save_aside(_make_data(recordings, targets, sides, scaling, card), place)
    return SequenceData.load(place), place


def load_recordings(config: StudyConfig, folder: Path, report: Report) -> Recordings:
    """Read or simulate what a source holds.

    Args:
        config: The study.
        folder: Where decoded videos are kept.
        report: Hears how far the source has read.

    Returns:
        Its recordings.

    Raises:
        ConfigError: If the study names what the source does not have.
        DataError: If the source cannot be read.
    """
    fold = config.split.test_fold
    if fold is not None and not isinstance(config.data, ArraysData | VideoData):
        raise ConfigError(
            f"split.test_fold must be left out for data.source={config.data.source!r}, which knows "
            f"no folds. Received: test_fold={fold}."
        )
    match config.data:
        case MachineData() as data:
            return load_machine(data, config.task)
        case ArraysData() as data:
            return load_arrays(data, config.task, fold)
        case TableData() as data:
            return load_table(data, config.task, report)
        case VideoData() as data:
            longest = config.sequence_length.high or 1
            return load_video(data, config.task, folder / "videos", report, fold, longest)
        case DigitsData() as data:
            return load_digits(data, config.task)


def _check_scaling(recordings: Recordings, config: StudyConfig) -> None:
    if not recordings.scaled_apart:
        return
    if recordings.variables:
        raise ConfigError(
            f"data.scaling must be 'all' for {config.task.kind}: predicted values need one unit. "
            f"Received: scaling='recording'."
        )
    if config.split.method != "time":
        raise ConfigError(
            f"data.scaling='recording' must come with split.method='time', so that each recording "
            f"begins with training rows. Received: method={config.split.method!r}."
        )


def _check_thresholds(config: StudyConfig) -> None:
    """Refuse test recordings without validation targets: their threshold would be all others'."""
    own = config.task.kind == "anomaly" and config.task.threshold_by == "recording"
    if own and config.split.method != "time":
        raise ConfigError(
            f"task.threshold_by='recording' must come with split.method='time', so that each "
            f"recording that is tested has validation targets of its own. Received: "
            f"method={config.split.method!r}. Write threshold_by='all'."
        )


def _fingerprint(
    recordings: Recordings, targets: Targets, sides: Sides, config: StudyConfig
) -> str:
    """Hash what is learned from, with the names of channels, classes and variables."""
    by_name = recordings.scaled_apart or config.task.threshold_by == "recording"
    names = (
        *(recordings.channels, recordings.classes, recordings.variables, recordings.rows.shape),
        *(targets.longest, targets.horizon, recordings.target_channels, recordings.scaled_apart),
        *(recordings.step, recordings.clips),
        # what recordings are called counts where new ones of the same names are judged as they were
        recordings.names if by_name else (),
    )
    digest = hashlib.sha256(repr(names).encode())
    digest.update(recordings.starts.astype("<i8").tobytes())
    digest.update(np.ascontiguousarray(recordings.rows).data)
    if recordings.truths is not recordings.rows:
        digest.update(np.ascontiguousarray(recordings.truths).data)
    for side in SIDES:
        digest.update(len(sides[side]).to_bytes(8, "little"))
        digest.update(targets.ends[sides[side]].astype("<i8").tobytes())
    return digest.hexdigest()


def _write_card(
    recordings: Recordings,
    targets: Targets,
    sides: Sides,
    scaling: Scaling,
    found: tuple[str, str],
) -> SequenceCard:
    """Write what is known beside the arrays; ``found`` is the audit and the fingerprint."""
    channels = len(recordings.channels)
    truth_mean, truth_scale = _scale_of_truths(recordings, targets, sides, scaling)
    names, origins = recordings.whole_names, recordings.origins
    used = set(origins[targets.recordings].tolist())  # others have no training row
    apart = {
        names[place]: (_floats(scaling.mean[place]), _floats(scaling.scale[place]))
        for place, _, _ in scaling.parts(recordings)
        if scaling.apart and place in used
    }
    return SequenceCard(
        description=" ".join((recordings.description, *targets.notes)),
        audit=found[0],
        fingerprint=found[1],
        longest=targets.longest,
        horizon=targets.horizon,
        channels=recordings.channels,
        classes=recordings.classes,
        variables=recordings.variables,
        target_channels=recordings.target_channels,
        mean=(0.0,) * channels if apart else _floats(scaling.mean[0]),
        scale=(1.0,) * channels if apart else _floats(scaling.scale[0]),
        truth_mean=truth_mean,
        truth_scale=truth_scale,
        scaled_apart=apart,
        recordings=() if recordings.clips else tuple(names[number] for number in origins),
        cut_from=()
        if len(recordings.wholes) == len(recordings.starts)
        else tuple(np.searchsorted(origins, origins).tolist()),
        step=recordings.step,
    )


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(values.tolist())


def _scale_of_truths(
    recordings: Recordings, targets: Targets, sides: Sides, scaling: Scaling
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not recordings.variables:
        return (), ()
    if recordings.target_channels:  # the model may predict the change from what it sees
        shown = list(recordings.target_channels)
        return _floats(scaling.mean[0][shown]), _floats(scaling.scale[0][shown])
    mean, scale = fit_truths(recordings, targets, sides["train"])
    return _floats(mean), _floats(scale)


def _make_data(
    recordings: Recordings,
    targets: Targets,
    sides: Sides,
    scaling: Scaling,
    card: SequenceCard,
) -> SequenceData:
    """Scale rows and truths, and name each side's targets by their rows."""
    is_bytes = recordings.rows.dtype == np.uint8
    rows = recordings.rows if is_bytes else scaling.scale_rows(recordings)
    if recordings.truths is recordings.rows:
        truths = rows
    elif recordings.variables:
        mean, scale = (np.array(v, np.float32) for v in (card.truth_mean, card.truth_scale))
        truths = (recordings.truths - mean) / scale
    else:
        truths = recordings.truths
    chosen: Mapping[str, Array] = {side: sides[side] for side in SIDES}
    return SequenceData(
        card=card,
        rows=rows,
        truths=truths,
        ends={side: targets.ends[chosen[side]].astype(np.int64) for side in SIDES},
        recordings={side: targets.recordings[chosen[side]].astype(np.int64) for side in SIDES},
    )


def _save_aside(data: SequenceData, place: Path) -> None:
    """Write a whole folder before it gets its name, so that a half-written one is never read."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".writing-") as aside:
        data.save(Path(aside) / place.name)
        try:
            (Path(aside) / place.name).rename(place)
        except OSError:
            if not place.is_dir():  # another study may have just written the same data
                raise
