"""A study as Optuna's store holds it, found by its name."""

import tomllib
from pathlib import Path

import optuna
from optuna.storages import RDBStorage

from search.driver.folders import refuse_links
from search.driver.objectives import LeadingStudy, open_study
from search.driver.postgres import open_postgres
from search.driver.storage import BROKEN, refuse_store
from search.errors import StudyError, nearest


def load_study(name: str, folder: Path) -> LeadingStudy:
    """Find a study in a storage folder, to read it: a driver that writes meanwhile waits for nobody.

    Args:
        name: The study's name.
        folder: The storage folder.

    Returns:
        The study, to be read: nothing can be written to a file, and nobody should to a database.

    Raises:
        ConfigError: If what talks to the study's database is not installed.
        ServiceAway: If the database does not answer, now or when the study is read.
        StudyError: If there is no such folder or study, its file is damaged, Optuna's store is broken,
            or the folder holds links.
    """
    uri = find_uri(name, folder)
    storage = _read_file(folder) if uri is None else open_postgres(uri, stays=False)
    try:
        names = optuna.get_all_study_names(storage)
    except BROKEN as exc:
        raise refuse_store(Path(uri or folder / "optuna.db"), exc) from exc
    if name not in names:
        raise StudyError(
            f"study must name a study of this store. Received: study={name!r}. {nearest(name, names)}"
        )
    return open_study(name, storage)


def find_uri(name: str, folder: Path) -> str | None:
    """Find the database that holds a study, by the study file that its launch left.

    Args:
        name: The study's name.
        folder: The storage folder.

    Returns:
        The address; ``None`` for the storage folder's own file.

    Raises:
        StudyError: If the study file is damaged.
    """
    for path in (folder / "studies").glob("*.toml"):
        if path.stem == name:
            return _read_uri(path)
    return None


def _read_uri(path: Path) -> str | None:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        uri: str | None = settings.get("storage", {}).get("uri")
    except (ValueError, AttributeError) as exc:  # AttributeError: of a section that is none
        raise StudyError(
            f"storage.folder must hold the study's file whole: {exc}. Received: {str(path)!r}. Copy it "
            f"from the study's run in MLflow, or remove it where storage.uri was left out."
        ) from None
    return uri


def _read_file(folder: Path) -> RDBStorage:
    """Open the storage folder's own store, which nothing can be written to."""
    path = folder / "optuna.db"
    if not path.is_file():
        raise StudyError(
            f"storage.folder must hold Optuna's store. Received: {str(path)!r}, which is missing. "
            f"Name the folder that the study was launched with."
        )
    refuse_links(folder)
    try:
        return RDBStorage(f"sqlite:///{path.absolute().as_uri()}?mode=ro&uri=true")
    except BROKEN as exc:
        raise refuse_store(path, exc) from exc
