"""The videos of a folder are listed, with the class, the group and the side of each."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from search.config import VideoData
from search.data.sequences import Array
from search.data.sheets import load_sheet, read_column
from search.data.sides import number_groups, place_fold, place_sides
from search.errors import ConfigError, DataError, nearest

ENDINGS = frozenset(
    {
        ".mp4",
        ".avi",
        ".mov",
        ".mkv",
        ".webm",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ts",
        ".mts",
    }
)
LISTED = 2_000
"""Lines of a sheet among which the nearest name is looked for."""
FOLDERS_NAMED = 5


def list_videos(root: Path, *, in_classes: bool) -> tuple[list[str], list[str]]:
    """List the videos under a folder, and say what was passed over.

    Hidden files are passed over, and so are symbolic links to folders or out of the folder.

    Args:
        root: The folder.
        in_classes: Whether only videos in a folder of their class count.

    Returns:
        The videos' paths under the folder, sorted, and a sentence for each kind of thing that
        was passed over.

    Raises:
        ConfigError: If there is no such folder.
        DataError: If it holds no videos that count.
    """
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
    if len(found) > len(videos):
        notes.append(
            f"Files that are no videos by their ending, passed over: {len(found) - len(videos)}."
        )
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
    used = {class_of(file) for file in kept}
    empty = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in used
    )
    if empty:
        listed = ", ".join(repr(name) for name in empty[:FOLDERS_NAMED])
        notes.append(f"Folders without a video, which were passed over: {listed}.")
    return kept, notes


def class_of(file: str) -> str:
    """Name the class of a video: the outermost folder that it lies in.

    Args:
        file: The video's path under the folder.

    Returns:
        The class's name.
    """
    return file.split("/", maxsplit=1)[0]


def name_classes(files: list[str]) -> tuple[str, ...]:
    """Name the classes of videos.

    Args:
        files: The videos' paths under the folder, each in the folder of its class.

    Returns:
        The classes' names, sorted.

    Raises:
        DataError: If there is one alone.
    """
    classes = tuple(sorted({class_of(file) for file in files}))
    if len(classes) == 1:
        raise DataError(
            f"data.path must hold two folders with videos or more, one a class. Received: only "
            f"{classes[0]!r} with {len(files)} videos."
        )
    return classes


def read_marks(
    config: VideoData, files: list[str], test_fold: int | None
) -> tuple[Array, Array | None]:
    """Read the group and the official side of each video from the sheet.

    Args:
        config: The sheet, and its columns of groups, sides and folds.
        files: The videos' paths under the folder.
        test_fold: ``split.test_fold``: the fold that is the test side.

    Returns:
        Group numbers of shape (videos,), by default one a video; and places in ``SIDES``, -1
        where there is none, of shape (videos,), int8, or ``None`` without an official split.

    Raises:
        ConfigError: If there is no such sheet, column or fold.
        DataError: If the sheet cannot be read, has no line for a video, or a group stands on
            two sides.
    """
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
