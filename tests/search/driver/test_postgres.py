import gc
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from services import serve_postgres

from search.config import make_config
from search.driver.mirror import MirroredStorage
from search.driver.postgres import PostgresLock, is_away, open_postgres
from search.errors import ConfigError, ServiceAway, StudyError

psycopg = pytest.importorskip("psycopg", reason="needs the extra 'cluster'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from search.driver.postgres import PostgresLock
lock = PostgresLock(sys.argv[1], "har", 0)
print("held", flush=True)
sys.stdin.read()
"""
OPEN = """
import sys
from search.driver.postgres import open_postgres
sys.stdin.readline()
open_postgres(sys.argv[1])
"""


@pytest.fixture(scope="module")
def server():
    yield from serve_postgres()


@pytest.fixture
def uri(server, request):
    name = re.sub(r"\W", "_", request.node.name)[-50:]
    server.create(name)
    return server.address(name)


@pytest.fixture
def store(uri):
    storage = open_postgres(uri)
    yield storage
    storage.engine.dispose()


@pytest.fixture
def lock(uri):
    held = PostgresLock(uri, "har", 60)
    yield held
    held.release()


def start(script, uri):
    command = [sys.executable, "-c", script, uri]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def test_drivers_that_make_the_tables_at_once_all_do(uri):
    drivers = [start(OPEN, uri) for _ in range(4)]
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()
    ended = [(driver.communicate()[1], driver.returncode) for driver in drivers]
    assert [code for _, code in ended] == [0] * 4, ended


def test_a_study_is_written_and_read_again(uri, store, lock):
    mirror = MirroredStorage(store, place=Path(), say=print, lock=lock)
    study = optuna.create_study(storage=mirror, study_name="har", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    again = optuna.load_study(storage=open_postgres(uri, stays=False), study_name="har")
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]


def test_a_study_has_one_driver_and_another_study_is_free(uri, lock):
    with pytest.raises(StudyError, match=r"'har', which lookback on \S+, process \d+ is running"):
        PostgresLock(uri, "har", 60)
    PostgresLock(uri, "other", 60).release()
    lock.release()
    PostgresLock(uri, "har", 60).release()


def test_the_server_looks_after_drivers_whose_machine_may_be_gone(store, lock):
    for connection in (lock._connection, store.engine.raw_connection()):
        cursor = connection.cursor()
        cursor.execute("SHOW tcp_keepalives_idle")
        assert cursor.fetchone()[0] == "30"
        cursor.close()


def test_a_driver_that_is_killed_lets_go(uri):
    with start(HOLD, uri) as driver:
        assert driver.stdout.readline() == "held\n"
        with pytest.raises(StudyError, match=f"process {driver.pid} is running"):
            PostgresLock(uri, "har", 60)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    taken = None
    while taken is None:
        try:  # the server notices in its own time
            taken = PostgresLock(uri, "har", 60)
        except StudyError:
            time.sleep(0.05)
    taken.release()


def test_a_driver_whose_connection_broke_on_its_side_alone_is_not_shut_out_by_it(uri, lock):
    broken, lock._connection = lock._connection, psycopg.connect(uri)
    lock._connection.close()
    lock._looked = float("-inf")
    said = []
    assert lock.reach(lambda: 1, say=said.append) == 1
    assert said == []
    with pytest.raises(psycopg.OperationalError):
        broken.execute("SELECT 1")
    with pytest.raises(StudyError, match="must have one driver"):
        PostgresLock(uri, "har", 60)


def test_an_outage_is_ridden_out(server, uri, store, lock):
    said = []
    mirror = MirroredStorage(store, place=Path(), say=said.append, lock=lock)
    study = optuna.create_study(storage=mirror, study_name="har")
    trial = study.ask()
    server.stop()
    back = threading.Timer(3, server.start)
    back.start()
    trial.report(0.5, 0)
    study.tell(trial, 0.5)
    other = study.ask()
    back.join()
    assert [words.partition(":")[0] for words in said] == [
        "The study's database is away",
        "The study's database is back.",
    ]
    trials = optuna.load_study(storage=open_postgres(uri, stays=False), study_name="har").trials
    assert [one.state for one in trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert (trials[0].value, trials[0].intermediate_values) == (0.5, {0: 0.5})
    assert other.number == 1
    # It is held again.
    with pytest.raises(StudyError, match="is running"):
        PostgresLock(uri, "har", 60)


def test_a_long_outage_ends_the_driver(server, uri, store):
    lock = PostgresLock(uri, "har", 2)
    said = []
    mirror = MirroredStorage(store, place=Path(), say=said.append, lock=lock)
    study = optuna.create_study(storage=mirror, study_name="har")
    server.stop()
    try:
        with pytest.raises(ServiceAway, match=r"away for 2 s: .*Launch the study again"):
            study.ask()
        with pytest.raises(ServiceAway):  # who only tidies up waits for nothing
            study.set_user_attr("a", 1)
        assert len(said) == 1
        with pytest.raises(ServiceAway, match=r"Connection refused.*when it answers"):
            open_postgres(uri)
    finally:
        server.start()
    assert study.ask().number == 0
    lock.release()


def test_an_outage_while_a_study_is_read_is_waited_for_or_told(server, uri, store, lock):
    optuna.create_study(storage=store, study_name="har").enqueue_trial({"x": 1})
    said = []

    def say(text):
        said.append(text)
        if len(said) == 1:
            server.start()

    mirror = MirroredStorage(store, place=Path(), say=say, lock=lock)
    reader = optuna.load_study(storage=open_postgres(uri, stays=False), study_name="har")
    server.stop()
    with pytest.raises(ServiceAway, match=r"does not answer: .*Try again"):
        reader.get_trials()
    assert mirror.holds("har")
    assert len(mirror.get_all_trials(0)) == len(reader.get_trials()) == 1
    assert len(said) == 2


def test_a_study_that_another_driver_took_after_an_outage_is_not_written_to(uri, store, lock):
    mirror = MirroredStorage(store, place=Path(), say=print, lock=lock)
    study = optuna.create_study(storage=mirror, study_name="har")
    with psycopg.connect(uri, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
            "pg_backend_pid() AND datname = current_database()"
        )
    other = PostgresLock(uri, "har", 60)
    with pytest.raises(StudyError, match="must have one driver"):
        study.ask()
    other.release()
    assert study.ask().number == 0


class Forgetful:
    """A lock through which every answer of the database is lost once."""

    def __init__(self, lock):
        self._lock = lock

    def reach(self, call, *, say):
        lost = []

        def forget():
            done = call()
            if not lost:
                lost.append(True)
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            return done

        return self._lock.reach(forget, say=say)


def test_what_was_written_though_its_answer_was_lost_is_not_written_twice(
    uri, store, lock, monkeypatch
):
    monkeypatch.setattr("search.driver.postgres.PAUSE_SECONDS", 0.01)
    mirror = MirroredStorage(store, place=Path(), say=print, lock=lock)
    study = optuna.create_study(storage=mirror, study_name="har")
    study.tell(study.ask(), 0.1)
    mirror._held = Forgetful(lock)
    trial = study.ask()
    drawn = {name: trial.suggest_float(name, 0, 1) for name in ("x", "y")}
    trial.report(0.3, 0)
    trial.set_user_attr("a", 1)
    study.tell(trial, 0.5)
    study.enqueue_trial({"x": 0.5})
    queued = study.ask()
    assert (queued.number, queued.suggest_float("x", 0, 1)) == (2, 0.5)
    trials = optuna.load_study(storage=open_postgres(uri, stays=False), study_name="har").trials
    assert [one.state.name for one in trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    told = trials[1]
    assert (told.params, told.intermediate_values, told.value) == (drawn, {0: 0.3}, 0.5)
    assert told.user_attrs == {"a": 1}


def test_a_wrong_address_is_named(server, uri):
    with pytest.raises(StudyError, match=r'database "nowhere" does not exist.*PGPASSWORD'):
        open_postgres(server.address("nowhere"))
    wrong = uri.replace("lookback@", "somebody@")
    with pytest.raises(StudyError, match=r"password authentication failed.*PGPASSWORD"):
        open_postgres(wrong)


# Optuna leaves the connection open by which it found out.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tables_of_another_optuna_are_refused(uri, store):
    with psycopg.connect(uri, autocommit=True) as admin:
        admin.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    with pytest.raises(StudyError, match=r"storage\.uri must be .*Received: uri="):
        open_postgres(uri)
    gc.collect()


def test_a_mistake_of_ours_is_no_outage():
    assert not is_away(ValueError("x"))


@pytest.mark.parametrize("uri", ["postgresql://a:b@host/c", "postgresql://a@host/c?password=b"])
def test_a_password_in_the_study_file_is_refused(uri):
    with pytest.raises(ConfigError, match=r"hold no password.*Received: a password\."):
        make_config({"name": "a", "storage": {"uri": uri}})


def test_another_kind_of_database_is_refused():
    with pytest.raises(ConfigError, match=r"storage\.uri"):
        make_config({"name": "a", "storage": {"uri": "mysql://host/c"}})
