"""Video files are decoded once to small frames of bytes, and kept for the next study."""

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from search.config import Kind, TaskConfig, VideoData
from search.data.recordings import Recordings, Report
from search.data.sequences import Array
from search.data.sheets import (
    check_one_split,
    load_sheet,
    number_groups,
    place_fold,
    place_sides,
    read_column,
)
from search.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

ENDINGS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
OFFERED: tuple[Kind, ...] = ("classification", "frames")
CHANNELS: Mapping[str, tuple[str, ...]] = {"grey": ("grey",), "rgb": ("red", "green", "blue")}
FORMATS = {"grey": "gray", "rgb": "rgb24"}
"""FFmpeg's names of what is kept of the colours."""
DECODING = "1: last frame shown, area"
"""The way of decoding: with another one, files that were kept are not taken."""
ROUNDING = Fraction(1, 1000)
"""How far a time stamp may be rounded, in seconds: Matroska counts in milliseconds."""
LONGEST_GAP = 60
"""Seconds that one frame may be shown; a longer gap comes from broken time stamps."""
DECODED_SHARE = 0.9
"""With less than this share of the frames that a file says it holds, it is broken."""
SHORTEST = 2
"""Frames of the shortest clip: one alone shows no movement."""
LISTED = 2_000
"""Lines of a sheet among which the nearest name is looked for."""
NAMED = 5
"""Files that a message names."""


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """A stretch of a decoded video.

    Attributes:
        file: The video's path under the folder.
        name: What messages call it.
        place: Where the video's frames are kept.
        low: The frame that it begins at.
        frames: How many frames it has.
    """

    file: str
    name: str
    place: Path
    low: int
    frames: int


class _BrokenVideo(Exception):
    """Says why a file gives no frames; never leaves this module."""


def load_video(
    config: VideoData,
    task: TaskConfig,
    cache: Path,
    report: Report,
    test_fold: int | None = None,
) -> Recordings:
    """Read a folder of videos.

    Each file is decoded once, to ``frame_rate`` frames a second from its first frame on: for
    each wanted time, the frame last shown at that time. Frames are squeezed to height x width by
    averaging areas. What was decoded is kept under the SHA-256 of the file and of the settings.
    Hidden files are passed over, and so are symbolic links to folders or out of the folder.

    Args:
        config: The folder, what frames become, and the sheet of groups and sides.
        task: Whether the class of clips is predicted, which the folder's folders name, or frames.
        cache: A folder for decoded frames; made if it is missing.
        report: Hears how many of the files are done.
        test_fold: ``split.test_fold``: the fold that is the test side.

    Returns:
        Frames of shape (rows, height, width, channels), uint8; one recording a clip or, to
        predict frames, a video. Clips of one video share its group.

    Raises:
        ConfigError: If the folder does not exist, the settings do not fit each other or the
            task, or PyAV is not installed.
        DataError: If the folder holds no videos, too many cannot be used, or the sheet does not
            fit them.
    """
    _check_settings(config, task, test_fold)
    files, notes = _list_videos(config.path, in_classes=task.kind == "classification")
    classes: tuple[str, ...] = ()
    if task.kind == "classification":
        classes = _name_classes(files)
    groups, sides = _read_marks(config, files, test_fold)
    kept, broken = _decode_all(config, files, cache, report)
    _leave_out_short(kept, broken, _needed_frames(config, task))
    _check_broken(config, files, broken, classes)
    clips = [clip for file in kept for clip in _cut(config, file, *kept[file])]
    rows = _read_rows(clips, _frame_shape(config))
    lengths = np.array([clip.frames for clip in clips])
    places = np.searchsorted(files, [clip.file for clip in clips])
    truths = rows
    if classes:
        truths = np.repeat([classes.index(_class_of(clip.file)) for clip in clips], lengths)
    notes = [*notes, *_tell_broken(broken)]
    return Recordings(
        description=" ".join([_describe(config, clips, classes), *notes]),
        rows=rows,
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        names=tuple(clip.name for clip in clips),
        truths=truths,
        channels=CHANNELS[config.colour],
        classes=classes,
        clips=bool(classes),
        groups=groups[places],
        sides=None if sides is None else np.repeat(sides[places], lengths),
    )


def _check_settings(config: VideoData, task: TaskConfig, test_fold: int | None) -> None:
    if task.kind not in OFFERED:
        raise ConfigError(
            f"task.kind must be one that data.source='video' offers: {', '.join(OFFERED)}. "
            f"Received: kind={task.kind!r}."
        )
    check_one_split(sides=config.sides, folds=config.folds, test_fold=test_fold)
    for field in ("groups", "folds", "sides"):
        if getattr(config, field) is not None and config.sheet is None:
            raise ConfigError(
                f"data.sheet must be given, since data.{field} names a column of it. Received: "
                f"sheet=None, {field}={getattr(config, field)!r}."
            )
    if config.clip_seconds is None:
        return
    if task.kind == "frames":
        raise ConfigError(
            f"data.clip_seconds must be left out for task.kind='frames', which predicts all along "
            f"each video. Received: clip_seconds={config.clip_seconds}."
        )
    if _clip_frames(config) < SHORTEST:
        raise ConfigError(
            f"data.clip_seconds must hold {SHORTEST} frames or more. Received: "
            f"clip_seconds={config.clip_seconds}, frame_rate={config.frame_rate}."
        )


def _list_videos(root: Path, *, in_classes: bool) -> tuple[list[str], list[str]]:
    """List the paths of the videos under a folder, sorted, and say what was passed over."""
    if not root.is_dir():
        raise ConfigError(f"data.path must name a folder. Received: path={str(root)!r}.")
    found, links = [], 0
    for folder, names, files in os.walk(root):
        links += sum(Path(folder, name).is_symlink() for name in names)
        names[:] = [name for name in names if not name.startswith(".")]
        found += [Path(folder, name) for name in files if not name.startswith(".")]
    videos = [path for path in found if path.suffix.lower() in ENDINGS and path.is_file()]
    real = {path.resolve() for path in videos if not path.is_symlink()}
    inside = {path for path in videos if not path.is_symlink()}
    for path in sorted(path for path in videos if path.is_symlink()):
        target = path.resolve()
        if target.is_relative_to(root.resolve()) and target not in real:
            real.add(target)
            inside.add(path)
    links += len(videos) - len(inside)
    listed = sorted(path.relative_to(root).as_posix() for path in inside)
    notes = []
    if links:
        notes.append(
            f"Symbolic links to folders, out of the folder or to another of its videos, which were "
            f"passed over: {links}."
        )
    if in_classes:
        listed, more = _keep_in_classes(root, listed)
        notes += more
    if not listed:
        raise DataError(
            f"data.path must hold videos{' in a folder for each class' if in_classes else ''}: "
            f"files that end in {', '.join(sorted(ENDINGS))}. Received: path={str(root)!r} with "
            f"{len(found)} other files. {' '.join(notes)}"
        )
    return listed, notes


def _keep_in_classes(root: Path, files: list[str]) -> tuple[list[str], list[str]]:
    """Keep the files that lie in a class folder, and name what has no use."""
    kept, notes = [file for file in files if "/" in file], []
    if len(kept) < len(files):
        notes.append(
            f"Videos in no class folder, which were passed over: {len(files) - len(kept)}."
        )
    used = {_class_of(file) for file in kept}
    empty = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in used
    )
    if empty:
        listed = ", ".join(repr(name) for name in empty[:NAMED])
        notes.append(f"Folders without a video, which were passed over: {listed}.")
    return kept, notes


def _class_of(file: str) -> str:
    return file.split("/", maxsplit=1)[0]


def _name_classes(files: list[str]) -> tuple[str, ...]:
    classes = tuple(sorted({_class_of(file) for file in files}))
    if len(classes) == 1:
        raise DataError(
            f"data.path must hold two folders with videos or more, one a class. Received: only "
            f"{classes[0]!r} with {len(files)} videos."
        )
    return classes


def _read_marks(
    config: VideoData, files: list[str], test_fold: int | None
) -> tuple[Array, Array | None]:
    """Read each video's group number and official side, of shape (videos,)."""
    if config.sheet is None:
        return np.arange(len(files)), None
    sheet = load_sheet(config.sheet)
    lines = _find_lines(sheet, files)
    groups, sides, folds = (
        None if name is None else read_column(sheet, field, name)[lines]
        for field, name in (
            ("groups", config.groups),
            ("sides", config.sides),
            ("folds", config.folds),
        )
    )
    places = None
    if sides is not None:
        places = place_sides(sides, groups)
    if folds is not None:
        places = place_fold(folds, test_fold, groups)
    return np.arange(len(files)) if groups is None else number_groups(groups), places


def _find_lines(sheet: Mapping[str, Array], files: list[str]) -> list[int]:
    """Find each video's line in the sheet."""
    if "file" not in sheet:
        raise ConfigError(
            f"data.sheet must have a column 'file' with each video's path under data.path. "
            f"Received: columns {', '.join(sheet)}. {nearest('file', sheet)}"
        )
    names = [str(PurePosixPath(name)) for name in read_column(sheet, "sheet", "file").astype(str)]
    lines = {name: line for line, name in enumerate(names)}
    twice = next((name for line, name in enumerate(names) if lines[name] != line), None)
    if twice is not None:
        raise DataError(f"data.sheet must name each video once. Received: {twice!r} twice.")
    missing = [file for file in files if file not in lines]
    if missing:
        raise DataError(
            f"data.sheet must have a line for every video, with its path under data.path in the "
            f"column 'file'. Received: no line for {missing[0]!r} and {len(missing) - 1} more of "
            f"{len(files)}. {nearest(missing[0], lines) if len(lines) <= LISTED else ''}".rstrip()
        )
    return [lines[file] for file in files]


def _decode_all(
    config: VideoData, files: list[str], cache: Path, report: Report
) -> tuple[dict[str, tuple[Path, int]], dict[str, str]]:
    """Decode every video that is not kept from an earlier time.

    Returns:
        For each video where its frames are and how many; and for each that is broken, why.
    """
    kept, broken = {}, {}
    cache.mkdir(parents=True, exist_ok=True)
    for done, file in enumerate(files):
        report("Decoding videos", done, len(files))
        try:
            place = cache / f"{_hash(config.path / file, config)}.npy"
            frames = _load_kept(place, _frame_shape(config))
            if frames is None:
                frames = _decode(config.path / file, config)
                _keep(frames, place)
            kept[file] = (place, len(frames))
        except _BrokenVideo as exc:
            broken[file] = str(exc)
    report("Decoding videos", len(files), len(files))
    return kept, broken


def _frame_shape(config: VideoData) -> tuple[int, int, int]:
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
    small = frame.reformat(
        config.width, config.height, format=FORMATS[config.colour], interpolation="AREA"
    )
    picture = small.to_ndarray().reshape(_frame_shape(config))
    pictures.extend([picture] * times)


def _clip_frames(config: VideoData) -> int:
    return round((config.clip_seconds or 0) * config.frame_rate)


def _needed_frames(config: VideoData, task: TaskConfig) -> int:
    """Work out how many frames a video must have to be of use."""
    if task.kind == "frames":
        return task.horizon + 1
    return SHORTEST if config.clip_seconds is None else _clip_frames(config)


def _leave_out_short(
    kept: dict[str, tuple[Path, int]], broken: dict[str, str], needed: int
) -> None:
    for file, (_, frames) in list(kept.items()):
        if frames < needed:
            del kept[file]
            broken[file] = f"has {frames} of the {needed} frames needed"


def _check_broken(
    config: VideoData, files: list[str], broken: Mapping[str, str], classes: tuple[str, ...]
) -> None:
    if len(broken) > config.max_broken * len(files):
        raise DataError(
            f"data.max_broken must be no less than the share of videos that are broken or too "
            f"short. Received: max_broken={config.max_broken}, and {len(broken)} of {len(files)} "
            f"videos: {_list_broken(broken)}. Repair them, take them out of the folder, or write "
            f"a larger share."
        )
    for name in classes:
        if all(file in broken for file in files if _class_of(file) == name):
            those = {file: why for file, why in broken.items() if _class_of(file) == name}
            raise DataError(
                f"Every class must have a video that can be used. Received: none of {name!r}: "
                f"{_list_broken(those)}. Repair them, or take the folder away."
            )


def _list_broken(broken: Mapping[str, str]) -> str:
    listed = ", ".join(f"{file!r} {broken[file]}" for file in sorted(broken)[:NAMED])
    return f"{listed} and {len(broken) - NAMED} more" if len(broken) > NAMED else listed


def _tell_broken(broken: Mapping[str, str]) -> list[str]:
    if not broken:
        return []
    return [f"Videos left out: {len(broken)}, as {_list_broken(broken)}."]


def _cut(config: VideoData, file: str, place: Path, frames: int) -> Iterator[_Clip]:
    """Cut a video into whole clips, one after the other, or leave it whole."""
    if config.clip_seconds is None:
        yield _Clip(file=file, name=file, place=place, low=0, frames=frames)
        return
    size = _clip_frames(config)
    for number in range(frames // size):
        name = f"{file} clip {number}"
        yield _Clip(file=file, name=name, place=place, low=number * size, frames=size)


def _read_rows(clips: list[_Clip], shape: tuple[int, ...]) -> Array:
    """Read the frames of all clips into one array of shape (rows, height, width, channels)."""
    rows = np.empty((sum(clip.frames for clip in clips), *shape), dtype=np.uint8)
    low, place, video = 0, None, rows
    for clip in clips:
        if clip.place != place:
            place, video = clip.place, np.load(clip.place, allow_pickle=False)
        rows[low : low + clip.frames] = video[clip.low : clip.low + clip.frames]
        low += clip.frames
    return rows


def _describe(config: VideoData, clips: list[_Clip], classes: tuple[str, ...]) -> str:
    videos = len({clip.file for clip in clips})
    shortest, longest = min(clips, key=_frames_of), max(clips, key=_frames_of)
    frames = f"{shortest.frames} frames"
    if shortest.frames < longest.frames:
        frames = f"{shortest.frames} ({shortest.name!r}) to {longest.frames} frames"
    cut = f" cut into {len(clips)} clips" if config.clip_seconds is not None else ""
    about = f" in {len(classes)} classes" if classes else ""
    return (
        f"{videos} videos{about}{cut} of {frames}, {config.frame_rate:g} a second, "
        f"{config.height} x {config.width} {config.colour}, from {config.path.name}."
    )


def _frames_of(clip: _Clip) -> int:
    return clip.frames
