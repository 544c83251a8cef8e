"""The MLflow store is opened here, and its runs are found again by their tags."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

import sqlalchemy
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _initialize_tables
from sqlalchemy.exc import SQLAlchemyError

from search.errors import ServiceAway, TrackingError, hide_credentials

KIND = "lookback.kind"
STUDY = "lookback.study"
TRIAL = "lookback.trial"
BASELINE = "lookback.baseline"
REPEAT = "lookback.repeat"
CONTINUES = "lookback.continues"
LOOK = "lookback.look"
"""Which look at the test targets a training was for, from 1."""
PARAMETERS = "lookback.parameters"
"""The hyperparameters as JSON, since MLflow keeps a parameter as text, under a name that it admits."""
DIRECTION = "lookback.direction"
_EXISTS = "RESOURCE_ALREADY_EXISTS"


def store_uri(uri: str | None, folder: Path) -> str:
    """Name the store: the given one, or the embedded one in the storage folder."""
    return f"sqlite:///{folder.absolute()}/mlflow.db" if uri is None else uri


def sqlite_path(uri: str) -> Path | None:
    """Find the file behind an address, or ``None`` where the store is not a file."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def open_client(uri: str) -> MlflowClient:
    """Connect to a store that exists.

    Args:
        uri: Address of a database or an MLflow server.

    Returns:
        A client that has talked to the store once.

    Raises:
        TrackingError: If the store is missing or does not answer as one; ServiceAway if it is a server that
            does not answer.
    """
    path = sqlite_path(uri)
    if path is not None and not path.is_file():
        raise TrackingError(
            f"storage.folder must hold a tracking store. Received: {str(path)!r}, which is missing. "
            "Launch a study first, or name the folder that one was launched with."
        )
    with translate_errors(uri):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def make_store(path: Path) -> None:
    """Create an SQLite store, unless it is there.

    The tables are made in a file beside it that is renamed at the end, since MLflow refuses a
    store whose first migration was cut short, and two studies may be launched at once.

    Args:
        path: The database file; its folder is made where it is missing.

    Raises:
        TrackingError: If the file cannot be written, or is no SQLite database.
    """
    with translate_errors(f"sqlite:///{path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                unfinished = path.with_name(f"{path.name}.unfinished")
                unfinished.unlink(missing_ok=True)
                engine = sqlalchemy.create_engine(f"sqlite:///{unfinished}")
                _initialize_tables(engine)  # type: ignore[no-untyped-call]
                engine.dispose()
                unfinished.rename(path)
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")


@contextlib.contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn what goes wrong while a store is opened into one sentence.

    Args:
        uri: The address, shown without its credentials.

    Raises:
        ServiceAway: Where a server does not answer, or says that it cannot now.
        TrackingError: In place of all other errors of MLflow, SQLAlchemy, SQLite and files.
    """
    logging.getLogger("alembic").setLevel(logging.ERROR)
    # What it logs with a traceback it raises too, and whoever is to act is told it in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError, OSError) as exc:
        reason = hide_credentials(str(exc).strip().splitlines()[0].rstrip("."))
        message = (
            f"tracking.uri must be the address of an MLflow store that can be opened: {reason}. "
            f"Received: uri={hide_credentials(uri)!r}."
        )
        if uri.startswith("http") and _passes(exc):
            raise ServiceAway(f"{message} Try again when it answers.") from None
        raise TrackingError(message) from None


def _passes(error: Exception) -> bool:
    """Tell whether a server's error is none of the address's."""
    if isinstance(error, MlflowException):
        status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, OSError)


def search_runs(
    client: MlflowClient, experiment_ids: list[str], tags: Mapping[str, str]
) -> list[Run]:
    """Find the runs that carry all of some tags, the newest first.

    Args:
        client: A connected client.
        experiment_ids: Where to look.
        tags: Name and value of each tag.

    Returns:
        All of them, however many pages they fill.
    """
    words = " and ".join(f'tags.`{name}` = "{value}"' for name, value in tags.items())
    runs: list[Run] = []
    token: str | None = None
    while token is None or token:
        page = client.search_runs(
            experiment_ids, words, order_by=["attributes.start_time DESC"], page_token=token
        )
        runs.extend(page)
        token = page.token or ""
    return runs


def open_experiment(client: MlflowClient, project: str, uri: str, folder: Path) -> str:
    """Find the experiment of a project, or create it.

    Args:
        client: A connected client.
        project: The experiment's name.
        uri: The store's address.
        folder: Where the artifacts go, unless the store is a server, which decides itself.

    Returns:
        The experiment's id.

    Raises:
        TrackingError: If the experiment was deleted.
    """
    experiment = client.get_experiment_by_name(project)
    if experiment is None:
        place = (folder.absolute() / "artifacts" / project).as_uri()
        try:
            return client.create_experiment(project, None if uri.startswith("http") else place)
        except MlflowException as exc:
            experiment = client.get_experiment_by_name(project)
            if experiment is None or exc.error_code != _EXISTS:
                raise
            # Another driver made it meanwhile.
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"tracking.project must name an experiment that was not deleted. "
            f"Received: project={project!r}. Restore it in MLflow, or write another name."
        )
    return str(experiment.experiment_id)
