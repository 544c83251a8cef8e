"""A study as Optuna's store holds it, found by its name."""

from pathlib import Path

import optuna

from search.driver.folders import refuse_links
from search.driver.objectives import LeadingStudy, open_study
from search.driver.storage import BROKEN, refuse_store
from search.errors import StudyError, nearest


def load_study(name: str, folder: Path) -> LeadingStudy:
    """Find a study in a storage folder, to read it: a driver that writes meanwhile waits for nobody.

    Args:
        name: The study's name.
        folder: The storage folder.

    Returns:
        The study; nothing can be written to it.

    Raises:
        StudyError: If there is no such folder or study, Optuna's store is broken, or the folder holds
            links.
    """
    path = folder / "optuna.db"
    if not path.is_file():
        raise StudyError(
            f"storage.folder must hold Optuna's store. Received: {str(path)!r}, which is missing. "
            f"Name the folder that the study was launched with."
        )
    refuse_links(folder)
    address = f"sqlite:///{path.absolute().as_uri()}?mode=ro&uri=true"
    try:
        storage = optuna.storages.RDBStorage(address)
        names = optuna.get_all_study_names(storage)
    except BROKEN as exc:
        raise refuse_store(path, exc) from exc
    if name not in names:
        raise StudyError(
            f"study must name a study of this store. Received: study={name!r}. {nearest(name, names)}"
        )
    return open_study(name, storage)
