"""Optuna's trials on disk: SQLite made safe, read from memory, one driver a study."""

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Connection, QueuePool, event
from sqlalchemy.exc import SQLAlchemyError

from search.errors import StudyError

BROKEN = (SQLAlchemyError, StorageInternalError, RuntimeError, sqlite3.Error)
"""What Optuna raises of a file that is no store of its own."""


def open_storage(folder: Path) -> RDBStorage:
    """Open or create the store of all studies in a folder.

    Write-ahead logging and one write lock a transaction: as it comes, SQLite let two of four
    processes take the same trial.

    Args:
        folder: The study file's ``storage.folder``, on a local disk.

    Returns:
        Optuna's storage on ``optuna.db``.

    Raises:
        StudyError: If the folder cannot be written, or the file is broken or of another Optuna.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "optuna.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        storage = RDBStorage(
            "sqlite:///optuna.db",  # names the dialect; the connection is made below
            engine_kwargs={"creator": partial(_connect, path), "poolclass": QueuePool},
        )
        # Only now: Optuna makes its tables in the constructor.
        event.listen(storage.engine, "begin", _begin_immediate)
    except OSError as exc:
        raise StudyError(
            f"storage.folder must be a folder that can be written: {exc.strerror}. "
            f"Received: storage.folder={str(folder)!r}."
        ) from exc
    except BROKEN as exc:
        raise refuse_store(path, exc) from exc
    return storage


def refuse_store(path: Path, error: BaseException) -> StudyError:
    """Say that a file is no store of this Optuna.

    Args:
        path: The file.
        error: What Optuna or SQLAlchemy raised, one of ``BROKEN``.

    Returns:
        The error to raise.
    """
    return StudyError(
        f"storage.folder must hold a store that this Optuna {optuna.__version__} can read: "
        f"{_cause(error)}. Received: {str(path)!r}. Move that file away, or name another folder."
    )


@contextmanager
def study_lock(folder: Path, study: str) -> Iterator[None]:
    """Hold a study, so that it has one driver.

    The operating system lets go when the process ends, however it ends.

    Args:
        folder: The study file's ``storage.folder``.
        study: The study's name.

    Yields:
        Nothing, while the study is held.

    Raises:
        StudyError: If another driver holds it, or the folder cannot be written.
    """
    locks = folder / "locks"
    holder = locks / f"{study}.json"
    lock = FileLock(locks / f"{study}.lock", timeout=0)
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StudyError(
            f"A study must have one driver. Received: name={study!r}, which {_holder(holder)} is "
            f"running. Wait for it, stop it, or give this study another name."
        ) from None
    except OSError as exc:
        raise StudyError(
            f"storage.folder must be a folder that can be written: {exc.strerror}. "
            f"Received: storage.folder={str(folder)!r}."
        ) from exc
    try:
        holder.write_text(json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
        yield
    finally:
        lock.release()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    connection.isolation_level = None  # SQLAlchemy begins transactions, not sqlite3
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _cause(exc: BaseException) -> str:
    """Name what lies under SQLAlchemy's and Optuna's wrapping, in one line."""
    while (inner := getattr(exc, "orig", None) or exc.__cause__) is not None:
        exc = inner
    return str(exc).strip().splitlines()[0].rstrip(".")


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):  # not written yet
        return "another process"
    return f"process {holder['process']} on {holder['host']}"
