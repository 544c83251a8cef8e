"""A folder of videos becomes recordings: whole videos, or clips cut from them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.config import Kind, TaskConfig, VideoData
from search.data.decoding import CHANNELS, decode_all, frame_shape
from search.data.listing import class_of, list_videos, name_classes, read_marks
from search.data.recordings import Recordings, Report
from search.data.sequences import Array
from search.data.sides import check_one_split
from search.errors import ConfigError, DataError

OFFERED: tuple[Kind, ...] = ("classification", "frames")
SHORTEST = 2
"""Frames of the shortest clip: one alone shows no movement."""
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


def load_video(
    config: VideoData,
    task: TaskConfig,
    cache: Path,
    report: Report,
    test_fold: int | None = None,
    longest: int = 1,
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
        longest: Frames that a window may have to show: a video with less is too short.

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
    files, notes = list_videos(config.path, in_classes=task.kind == "classification")
    classes: tuple[str, ...] = ()
    if task.kind == "classification":
        classes = name_classes(files)
    groups, sides = read_marks(config, files, test_fold)
    kept, broken = decode_all(config, files, cache, report)
    _leave_out_short(kept, broken, _needed_frames(config, task, longest))
    _check_broken(config, files, broken, classes)
    clips = [clip for file in kept for clip in _cut(config, file, *kept[file])]
    recordings = _gather(config, clips, [*notes, *_tell_broken(broken)], classes)
    lengths = recordings.lengths
    places = np.searchsorted(files, [clip.file for clip in clips])
    truths = recordings.truths
    if classes:
        truths = np.repeat([classes.index(class_of(clip.file)) for clip in clips], lengths)
    return replace(
        recordings,
        truths=truths,
        classes=classes,
        clips=bool(classes),
        groups=groups[places],
        sides=None if sides is None else np.repeat(sides[places], lengths),
    )


def load_clips(config: VideoData, cache: Path, report: Report) -> Recordings:
    """Read a folder of videos of which nothing is known.

    Args:
        config: The folder, and what frames become.
        cache: As for ``load_video``.
        report: As for ``load_video``.

    Returns:
        As for ``load_video``, one recording a clip; the truths are the frames.

    Raises:
        ConfigError: If the folder does not exist, or PyAV is not installed.
        DataError: If the folder holds no videos, or too many cannot be used.
    """
    files, notes = list_videos(config.path, in_classes=False)
    kept, broken = decode_all(config, files, cache, report)
    _leave_out_short(kept, broken, _shortest(config))
    _check_broken(config, files, broken, ())
    clips = [clip for file in kept for clip in _cut(config, file, *kept[file])]
    return _gather(config, clips, [*notes, *_tell_broken(broken)], ())


def _gather(
    config: VideoData, clips: list[_Clip], notes: list[str], classes: tuple[str, ...]
) -> Recordings:
    """Put the frames of all clips one after the other."""
    rows = _read_rows(clips, frame_shape(config))
    return Recordings(
        description=" ".join([_describe(config, clips, classes), *notes]),
        rows=rows,
        starts=np.concatenate([[0], np.cumsum([clip.frames for clip in clips])]),
        names=tuple(clip.name for clip in clips),
        truths=rows,
        channels=CHANNELS[config.colour],
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


def _clip_frames(config: VideoData) -> int:
    return round((config.clip_seconds or 0) * config.frame_rate)


def _needed_frames(config: VideoData, task: TaskConfig, longest: int) -> int:
    """Work out how many frames a video must have to be of use."""
    if task.kind == "frames":
        return task.horizon + longest
    return max(_shortest(config), longest)


def _shortest(config: VideoData) -> int:
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
        if all(file in broken for file in files if class_of(file) == name):
            those = {file: why for file, why in broken.items() if class_of(file) == name}
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
