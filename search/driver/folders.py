"""The storage folder is made and checked here, before anything is written in it."""

import os
from pathlib import Path

from search.errors import StudyError


def make_folder(folder: Path) -> Path:
    """Make the storage folder, unless it is there.

    Args:
        folder: The study file's ``storage.folder``.

    Returns:
        Its absolute path.

    Raises:
        StudyError: If it cannot be made, or holds a symbolic link.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StudyError(
            f"storage.folder must be a folder that can be written: {exc.strerror}. "
            f"Received: folder={str(folder)!r}."
        ) from None
    folder = folder.resolve()
    refuse_links(folder)
    return folder


def log_path(folder: Path, study: str) -> Path:
    """Name the file that the output of a study's workers goes to, and make its folder.

    Args:
        folder: As ``make_folder`` returns it.
        study: The study's name.

    Returns:
        The file; each worker's own lies beside it, with the number of its slot.
    """
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    return logs / f"{study}.log"


def refuse_links(folder: Path) -> None:
    """Refuse a storage folder with symbolic links in it.

    Args:
        folder: The folder; that it lies behind a link itself does not matter.

    Raises:
        StudyError: If it holds one.
    """
    # Not by rglob, which breaks off where another study removes a folder meanwhile.
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if not path.is_symlink():
                continue
            raise StudyError(
                f"storage.folder must hold no symbolic link, which would lead what a study writes "
                f"and removes elsewhere. Received: {str(path)!r}. Let storage.folder itself lie "
                f"where there is room."
            )
