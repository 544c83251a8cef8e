"""A study as Optuna's store holds it, found by its name."""

from pathlib import Path

import optuna

from search.driver.storage import open_storage, refuse_links
from search.errors import StudyError, nearest


def load_study(name: str, folder: Path) -> optuna.Study:
    """Find a study in a storage folder.

    Args:
        name: The study's name.
        folder: The storage folder.

    Returns:
        The study.

    Raises:
        StudyError: If there is no such folder or study, or the folder holds links.
    """
    path = folder / "optuna.db"
    if not path.is_file():
        raise StudyError(
            f"storage.folder must hold Optuna's store. Received: {str(path)!r}, which is missing. "
            f"Name the folder that the study was launched with."
        )
    refuse_links(folder)
    storage = open_storage(folder)
    names = optuna.get_all_study_names(storage)
    if name not in names:
        raise StudyError(
            f"study must name a study of this store. Received: study={name!r}. {nearest(name, names)}"
        )
    return optuna.load_study(study_name=name, storage=storage)
