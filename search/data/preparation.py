"""The study's data: loaded, split, audited, scaled, and kept where every worker maps them."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from search.config import ArraysData, MachineData, SequenceLengthConfig, StudyConfig
from search.data.arrays import load_arrays
from search.data.audit import audit_sides
from search.data.machine import load_machine
from search.data.recordings import Recordings
from search.data.sequences import SIDES, Array, SequenceCard, SequenceData, check_length
from search.data.splits import Sides, split_targets

SHORTEST_SHARE = 8
"""The shortest sequence is by default this fraction (one in eight) of the longest."""
SCALED_ROWS = 4096
"""Rows that the scaler reads at once, to bound memory: it computes in float64."""


def prepare_data(config: StudyConfig, folder: Path) -> tuple[SequenceData, Path]:
    """Load, split, audit and scale the data, once for all studies that have the same.

    Args:
        config: The study.
        folder: Where prepared data are kept; made if it is missing.

    Returns:
        The data, mapped into memory read-only, and the folder that workers load them from.

    Raises:
        ConfigError: If the study names what the data do not have.
        DataError: If the data cannot be read or split, or a raw row stands on two sides.
    """
    recordings = load_recordings(config.data)
    sides = split_targets(recordings, config.split, config.seed)
    sides, audit = audit_sides(recordings, sides, config.split.method)
    fingerprint = _fingerprint(recordings, sides)
    place = folder / fingerprint[:16]
    if not place.is_dir():
        _save_aside(_scale(recordings, sides, audit, fingerprint), place)
    return SequenceData.load(place), place


def load_recordings(config: MachineData | ArraysData) -> Recordings:
    """Read or simulate what a source holds.

    Args:
        config: The source.

    Returns:
        Its rows and targets.

    Raises:
        ConfigError: If the study names what the source does not have.
        DataError: If the source cannot be read.
    """
    match config:
        case MachineData():
            return load_machine(config)
        case ArraysData():
            return load_arrays(config)


def sequence_lengths(config: SequenceLengthConfig, longest: int) -> tuple[int, int, int]:
    """Work out the range of the hyperparameter sequence_length.

    Args:
        config: What the study asks for.
        longest: The longest sequence that every target leaves room for, in rows.

    Returns:
        The shortest and the longest sequence, in rows, and the step that leads from one
        exactly to the other.

    Raises:
        DataError: If the study asks for more rows than the data have.
    """
    high = check_length(longest if config.high is None else config.high, longest)
    if config.low is None:
        low = max(1, high // SHORTEST_SHARE)
        return high - (high - low) // config.step * config.step, high, config.step
    low = check_length(config.low, longest)
    return low, low + (high - low) // config.step * config.step, config.step


def _fingerprint(recordings: Recordings, sides: Sides) -> str:
    """Hash what is learned from, with the names of channels and classes."""
    names = (recordings.channels, recordings.classes, recordings.rows.shape, recordings.longest)
    digest = hashlib.sha256(repr(names).encode())
    digest.update(np.ascontiguousarray(recordings.rows).data)
    for side in SIDES:
        digest.update(len(sides[side]).to_bytes(8, "little"))
        for values in (recordings.ends, recordings.labels):
            digest.update(values[sides[side]].astype("<i8").tobytes())
    return digest.hexdigest()


def _scale(recordings: Recordings, sides: Sides, audit: str, fingerprint: str) -> SequenceData:
    """Scale every row by the training rows' mean and spread."""
    scaler = _fit_scaler(recordings, sides["train"])
    mean, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    card = SequenceCard(
        description=recordings.description,
        fingerprint=fingerprint,
        audit=audit,
        longest=recordings.longest,
        channels=recordings.channels,
        classes=recordings.classes,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
    )
    return SequenceData(
        card=card,
        rows=(recordings.rows - mean) / scale,
        ends={side: recordings.ends[sides[side]].astype(np.int64) for side in SIDES},
        labels={side: recordings.labels[sides[side]].astype(np.int64) for side in SIDES},
    )


def _fit_scaler(recordings: Recordings, targets: Array) -> StandardScaler:
    """Fit each channel's mean and spread on the rows that training windows reach."""
    covered = np.zeros(len(recordings.rows), dtype=bool)
    for step in range(recordings.longest):
        covered[recordings.ends[targets] - step] = True
    numbers, scaler = np.flatnonzero(covered), StandardScaler()
    for low in range(0, len(numbers), SCALED_ROWS):
        rows = recordings.rows[numbers[low : low + SCALED_ROWS]]
        scaler.partial_fit(rows.reshape(-1, rows.shape[-1]).astype(np.float64))
    return scaler


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
