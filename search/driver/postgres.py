"""Optuna's trials in PostgreSQL, for drivers on many machines: one lock a study, outages waited for."""

import hashlib
import importlib
import importlib.util
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Engine, NullPool, event

from search.errors import ConfigError, ServiceAway, StudyError

PAUSE_SECONDS = 1.0
LOOK_SECONDS = 10.0
"""How often a driver that writes makes sure that its lock is still its own."""
CONNECTION = {
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "30",  # a server that is gone without a word is noticed within a minute
    "keepalives_interval": "10",
    "keepalives_count": "3",
    # And a driver whose machine is gone, by the server, which would hold its study for hours.
    "options": "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
}
REFUSALS = ("authentication failed", "does not exist", "no password", "pg_hba", "permission denied")
"""What PostgreSQL says, as it fails to connect, that no waiting mends."""
TABLES = "lookback: tables"
Result = TypeVar("Result")


def check_driver() -> None:
    """Check that what talks to PostgreSQL is installed.

    Raises:
        ConfigError: If it is not.
    """
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError(
            "storage.uri must be left out where psycopg is not installed, which talks to PostgreSQL. "
            "Launch by `scripts/run --extra cluster ...`."
        )


def open_postgres(uri: str, *, stays: bool = True) -> RDBStorage:
    """Open the store of all studies in a database, and make its tables the first time.

    Args:
        uri: The study file's ``storage.uri``.
        stays: Whether connections are kept for the next use, until the engine is disposed of, and a
            ``PostgresLock`` waits while the database is away. Else whoever reads is told.

    Returns:
        Optuna's storage. A connection that broke is replaced before it is used. Without ``stays`` it
        raises ServiceAway where the database does not answer.

    Raises:
        ConfigError: If psycopg is missing.
        ServiceAway: If the database does not answer.
        StudyError: If it refuses us, or holds tables of another Optuna.
    """
    check_driver()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    address = uri.replace("postgresql://", "postgresql+psycopg://", 1)
    with _explained(uri), _connect(uri) as connection:
        # Of two drivers that make the tables at once, one would fail.
        connection.execute("SELECT pg_advisory_lock(%s)", [_key(TABLES)])
        pool = {"pool_pre_ping": True} if stays else {"poolclass": NullPool}
        storage = RDBStorage(address, engine_kwargs={"connect_args": dict(CONNECTION), **pool})
        if not stays:
            event.listen(storage.engine, "handle_error", _tell_away)
        return storage


class PostgresLock:
    """A study that is held in its database, so that it has one driver on all machines.

    PostgreSQL lets go when the connection ends, however it ends.
    """

    def __init__(self, uri: str, study: str, max_seconds: float) -> None:
        """Take the study.

        Args:
            uri: The study file's ``storage.uri``.
            study: The study's name.
            max_seconds: For how long an outage is waited for.

        Raises:
            ServiceAway: If the database does not answer.
            StudyError: If another driver holds the study.
        """
        check_driver()
        self._uri, self._study, self._max_seconds = uri, study, max_seconds
        self._session: list[Any] = []
        self._gave_up = False
        with _explained(uri):
            self._take()

    def guard(self, engine: Engine) -> None:
        """Make sure of the lock too whenever a store makes a new connection: the server may have been away."""
        event.listen(engine, "connect", self._look_again)

    def reach(self, call: Callable[[], Result], *, say: Callable[[str], None]) -> Result:
        """Read or write; while the database is away, wait and do it again.

        Args:
            call: Writes wholly or not at all; called again, it finds what it may have written.
            say: Called when waiting begins and when it is over; what it raises ends the waiting.

        Returns:
            What ``call`` returns.

        Raises:
            ServiceAway: If the database was away for too long, now or at an earlier call.
            StudyError: If another driver took the study meanwhile.
        """
        began = None
        while True:
            try:
                self._look()
                result = call()
            except Exception as exc:
                if not is_away(exc):
                    raise
                self._looked = -math.inf
                if began is None:
                    began = time.monotonic()
                    if not self._gave_up:
                        say(
                            f"The study's database is away: {_cause(exc)}. Waiting for it, "
                            f"{self._max_seconds:g} s at most."
                        )
                if self._gave_up or time.monotonic() - began >= self._max_seconds:
                    self._gave_up = True  # what would only tidy up waits no more
                    raise ServiceAway(
                        f"The study's database was away for {self._max_seconds:g} s: {_cause(exc)}. "
                        f"Nothing that it took is lost. Launch the study again when it is back."
                    ) from None
                time.sleep(PAUSE_SECONDS)
            else:
                if began is not None:
                    say("The study's database is back.")
                return result

    def _look_again(self, *_: object) -> None:
        self._looked = -math.inf
        self._look()

    def release(self) -> None:
        """Let go of the study."""
        with suppress(self._psycopg.Error):
            self._connection.close()

    def _look(self) -> None:
        """Make sure that the study is still ours: after an outage nobody holds it."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        try:
            self._connection.execute("SELECT 1")
        except self._psycopg.Error:
            self.release()
            self._take()
        self._looked = time.monotonic()

    def _take(self) -> None:
        self._psycopg = importlib.import_module("psycopg")
        name = f"lookback on {socket.gethostname()}, process {os.getpid()}"
        self._connection = _connect(self._uri, application_name=name)
        # A connection that broke may hold the lock on the server's side until it is given up there.
        self._connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid = %s AND backend_start = %s",
            self._session or [None, None],
        )
        self._session = self._connection.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()
        taken = "SELECT pg_try_advisory_lock(%s)"
        if not self._connection.execute(taken, [_key(self._study)]).fetchone()[0]:
            holder = _find_holder(self._connection, self._study)
            self._connection.close()
            raise StudyError(
                f"A study must have one driver. Received: name={self._study!r}, which {holder} is "
                f"running. Wait for it, stop it, or give this study another name."
            )
        self._looked = time.monotonic()


@contextmanager
def postgres_lock(uri: str, study: str, max_seconds: float) -> Iterator[PostgresLock]:
    """Hold a study in its database, as ``PostgresLock`` does.

    Args:
        uri: The study file's ``storage.uri``.
        study: The study's name.
        max_seconds: For how long an outage is waited for.

    Yields:
        The lock.

    Raises:
        ServiceAway: If the database does not answer.
        StudyError: If another driver holds the study.
    """
    lock = PostgresLock(uri, study, max_seconds)
    try:
        yield lock
    finally:
        lock.release()


def is_away(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came of, says that the database does not answer.

    Args:
        error: What Optuna, SQLAlchemy or psycopg raised.

    Returns:
        Whether waiting for it makes sense.
    """
    psycopg = importlib.import_module("psycopg")
    while error is not None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return True
        error = getattr(error, "orig", None) or error.__cause__
    return False


def _tell_away(context: Any) -> None:
    """Say in one sentence that a database went away while it was read.

    Raises:
        ServiceAway: If it did.
    """
    if is_away(context.original_exception):
        raise ServiceAway(
            f"The study's database does not answer: {_cause(context.original_exception)}. Try again "
            f"when it does."
        ) from None


def _connect(uri: str, **words: str) -> Any:
    psycopg = importlib.import_module("psycopg")
    return psycopg.connect(uri, autocommit=True, **CONNECTION, **words)


def _key(words: str) -> int:
    """Make the number that PostgreSQL knows a lock by."""
    digest = hashlib.blake2b(words.encode(), digest_size=8, person=b"lookback").digest()
    return int.from_bytes(digest, "big", signed=True)


def _find_holder(connection: Any, study: str) -> str:
    key = _key(study) % 2**64
    found = connection.execute(
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = "
        "'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 1 "
        "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        [key >> 32, key % 2**32],
    ).fetchone()
    return str(found[0]) if found else "another process"


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn what goes wrong while a database is opened into one sentence."""
    psycopg = importlib.import_module("psycopg")
    try:
        yield
    except StudyError:
        raise
    except Exception as exc:
        root = _root(exc)
        # RuntimeError: Optuna's of tables that another version of it made.
        if not is_away(exc) and not isinstance(root, psycopg.Error | RuntimeError):
            raise
        message = (
            f"storage.uri must be the address of a PostgreSQL database that can be opened: "
            f"{_cause(exc)}. Received: uri={uri!r}."
        )
        if is_away(exc) and not any(words in str(root) for words in REFUSALS):
            raise ServiceAway(f"{message} Launch the study again when it answers.") from None
        raise StudyError(f"{message} libpq finds a password in PGPASSWORD or ~/.pgpass.") from None


def _root(error: BaseException) -> BaseException:
    """Find what lies under SQLAlchemy's and Optuna's wrapping."""
    while (inner := getattr(error, "orig", None) or error.__cause__) is not None:
        error = inner
    return error


def _cause(error: BaseException) -> str:
    return str(_root(error)).strip().splitlines()[0].rstrip(".")
