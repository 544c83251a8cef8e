"""Video files are decoded once to small frames of bytes, and kept for the next study."""

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from search.config import VideoData
from search.data.recordings import Report
from search.data.sequences import Array
from search.errors import ConfigError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

CHANNELS: Mapping[str, tuple[str, ...]] = {"grey": ("grey",), "rgb": ("red", "green", "blue")}
"""Names of the channels of a frame, by ``data.colour``."""
FORMATS = {"grey": "gray", "rgb": "rgb24"}
"""FFmpeg's names of what is kept of the colours."""
DECODING = "2: last frame shown, area, turned upright"
QUARTER = 90
"""Degrees of a quarter turn."""
"""The way of decoding: with another one, files that were kept are not taken."""
ROUNDING = Fraction(1, 1000)
"""How far a time stamp may be rounded, in seconds: Matroska counts in milliseconds."""
LONGEST_GAP = 60
"""Seconds that one frame may be shown; a longer gap comes from broken time stamps."""
DECODED_SHARE = 0.9
"""With less than this share of the frames that a file says it holds, it is broken."""


class _BrokenVideo(Exception):
    """Says why a file gives no frames; never leaves this module."""


def decode_all(
    config: VideoData, files: list[str], cache: Path, report: Report
) -> tuple[dict[str, tuple[Path, int]], dict[str, str]]:
    """Decode every video that is not kept from an earlier time.

    What was decoded is kept under the SHA-256 of the file and of the settings.

    Args:
        config: The folder, and what frames become.
        files: The videos' paths under the folder.
        cache: A folder for decoded frames; made if it is missing.
        report: Hears how many of the files are done.

    Returns:
        For each video where its frames of shape (frames, height, width, channels), uint8, are
        and how many; and for each that is broken, why.

    Raises:
        ConfigError: If PyAV is not installed.
    """
    kept, broken = {}, {}
    cache.mkdir(parents=True, exist_ok=True)
    for done, file in enumerate(files):
        report("Decoding videos", done, len(files))
        try:
            place = cache / f"{_hash(config.path / file, config)}.npy"
            frames = _load_kept(place, frame_shape(config))
            if frames is None:
                frames = _decode(config.path / file, config)
                _keep(frames, place)
            kept[file] = (place, len(frames))
        except _BrokenVideo as exc:
            broken[file] = str(exc)
    report("Decoding videos", len(files), len(files))
    return kept, broken


def frame_shape(config: VideoData) -> tuple[int, int, int]:
    """Say which shape (height, width, channels) every frame is brought to.

    Args:
        config: What frames become.

    Returns:
        The sizes in pixels, and one channel for grey or three.
    """
    return config.height, config.width, len(CHANNELS[config.colour])


def _hash(path: Path, config: VideoData) -> str:
    """Hash a file's bytes and all that decides what frames it becomes."""
    settings = (DECODING, config.height, config.width, config.colour, config.frame_rate)
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise _BrokenVideo(f"cannot be read: {exc.strerror}") from None
    return hashlib.sha256(f"{content} {settings}".encode()).hexdigest()


def _load_kept(place: Path, shape: tuple[int, ...]) -> Array | None:
    """Load frames that were decoded before, or nothing where they are missing or damaged."""
    try:
        frames = np.load(place, allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    whole = isinstance(frames, np.ndarray) and frames.dtype == np.uint8
    return frames if whole and frames.shape[1:] == shape and len(frames) else None


def _keep(frames: Array, place: Path) -> None:
    """Write a whole file before it gets its name, so that half of one is never read."""
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".writing-") as aside:
        np.save(Path(aside) / place.name, frames, allow_pickle=False)
        (Path(aside) / place.name).replace(place)


def _import_av() -> ModuleType:
    try:
        import av  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise ConfigError(
            "data.source='video' must have PyAV to decode videos, which is not installed. Write "
            "scripts/run --extra video python scripts/launch_study.py STUDY.toml."
        ) from None
    return av


def _decode(path: Path, config: VideoData) -> Array:
    """Decode one file to frames of shape (frames, height, width, channels), uint8."""
    av = _import_av()
    only_files = {"protocol_whitelist": "file"}  # a file must not make FFmpeg open an address
    try:
        with av.open(str(path), "r", options=only_files, metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None:
                raise _BrokenVideo("holds no pictures")
            stream.thread_type = "AUTO"
            return _sample(_time(container.decode(stream), stream), stream.frames, config)
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise _BrokenVideo(f"does not decode: {getattr(exc, 'strerror', None) or exc}") from None


def _time(
    frames: "Iterator[VideoFrame]", stream: "VideoStream"
) -> "Iterator[tuple[Fraction, Fraction, VideoFrame]]":
    """Say when each frame is first shown, after the first one, and for how long, in seconds."""
    rate = stream.average_rate or stream.guessed_rate
    usual = 1 / rate if rate else None
    first, last = None, Fraction(0)
    for frame in frames:
        unit = frame.time_base
        if frame.pts is not None and unit is not None:
            time = frame.pts * unit
            first = time if first is None else first
            time -= first
        elif usual is not None:
            time = Fraction(0) if first is None else last + usual
            first = Fraction(0) if first is None else first
        else:
            raise _BrokenVideo("has no time stamps")
        if time - last > LONGEST_GAP:
            raise _BrokenVideo(f"shows one frame for {float(time - last):.0f} seconds")
        last = max(last, time)
        shown = frame.duration * unit if frame.duration and unit is not None else usual
        yield last, min(shown or ROUNDING, Fraction(LONGEST_GAP)), frame


def _sample(
    timed: "Iterator[tuple[Fraction, Fraction, VideoFrame]]", promised: int, config: VideoData
) -> Array:
    """Take for each wanted time the frame last shown, of shape (frames, height, width, channels).

    Args:
        timed: For each frame when it is first shown, for how long, in seconds, and the frame.
        promised: How many frames the file says it holds, or 0 where it does not say.
        config: What frames become, and how many are wanted a second.
    """
    rate = Fraction(str(config.frame_rate))
    pictures: list[Array] = []
    previous, end, count = None, Fraction(0), 0
    for time, shown, frame in timed:
        _show(pictures, previous, (time - ROUNDING) * rate, config)
        previous, end, count = frame, time + shown, count + 1
    if count < DECODED_SHARE * promised:
        raise _BrokenVideo(f"decodes to {count} of its {promised} frames")
    _show(pictures, previous, (end - ROUNDING) * rate, config)
    if not pictures:
        raise _BrokenVideo("holds no frame")
    return np.stack(pictures)


def _show(
    pictures: list[Array], frame: "VideoFrame | None", until: Fraction, config: VideoData
) -> None:
    """Add a frame's picture for each wanted time up to one, counted in pictures."""
    times = math.ceil(until) - len(pictures)
    if frame is None or times <= 0:
        return
    turns = frame.rotation // QUARTER  # counterclockwise, as phones note how they were held
    width, height = (config.width, config.height)[:: -1 if turns % 2 else 1]
    small = frame.reformat(width, height, format=FORMATS[config.colour], interpolation="AREA")
    turned = np.rot90(small.to_ndarray().reshape(height, width, -1), turns)
    picture = np.ascontiguousarray(turned).reshape(frame_shape(config))
    pictures.extend([picture] * times)
