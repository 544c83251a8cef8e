import signal
import sqlite3
import subprocess
import sys

import optuna
import pytest
from sqlalchemy import text

from search.driver.storage import open_storage, study_lock
from search.errors import StudyError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOLD = """
import sys
from pathlib import Path
from search.driver.storage import study_lock
with study_lock(Path(sys.argv[1]), "har"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def open_closed():
    opened = []

    def open_one(folder):
        opened.append(open_storage(folder))
        return opened[-1]

    yield open_one
    for storage in opened:
        storage.engine.dispose()


def test_a_new_store_is_made_with_its_folder_and_opened_again(tmp_path, open_closed):
    folder = tmp_path / "some {odd} folder?" / "runs"
    study = optuna.create_study(storage=open_closed(folder), study_name="har")
    study.add_trial(optuna.create_trial(value=0.5))
    again = optuna.load_study(storage=open_closed(folder), study_name="har")
    assert again.best_value == 0.5
    assert (folder / "optuna.db").exists()


def test_the_store_is_hardened(tmp_path, open_closed):
    with open_closed(tmp_path).engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 60_000}


def test_a_transaction_holds_the_write_lock_from_its_beginning(tmp_path, open_closed):
    other = sqlite3.connect(tmp_path / "optuna.db", timeout=0, isolation_level=None)
    with open_closed(tmp_path).engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_optuna_says_nothing_of_its_own_accord(tmp_path, open_closed, caplog, capfd):
    optuna.create_study(storage=open_closed(tmp_path), study_name="har")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "optuna.db").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(
        StudyError, match=r"can read: file is not a database\. Received: .*optuna\.db"
    ):
        open_storage(tmp_path)
    assert (tmp_path / "optuna.db").read_bytes().startswith(b"not a database")


def test_a_store_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "optuna.db").mkdir()
    with pytest.raises(StudyError, match="can read: unable to open database file"):
        open_storage(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StudyError, match=r"storage\.folder must be a folder that can be written"):
        open_storage(tmp_path / "file" / "runs")


def test_a_store_of_a_later_optuna_is_refused(tmp_path, open_closed):
    open_closed(tmp_path)
    connection = sqlite3.connect(tmp_path / "optuna.db")
    connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
    connection.commit()
    connection.close()
    with pytest.raises(StudyError, match="is no longer compatible with the table schema"):
        open_storage(tmp_path)


def test_a_second_driver_is_refused_and_told_who_holds_the_study(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StudyError, match=f"'har', which process {holder.pid} on .+ is running"),
            study_lock(tmp_path, "har"),
        ):
            pass
        with study_lock(tmp_path, "another"):
            pass
        holder.send_signal(signal.SIGKILL)
    with study_lock(tmp_path, "har"):
        pass


def test_a_study_is_let_go_at_the_end_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError, match="division"), study_lock(tmp_path, "har"):
        1 / 0  # noqa: B018
    with (
        study_lock(tmp_path, "har"),
        pytest.raises(StudyError, match="one driver"),
        study_lock(tmp_path, "har"),
    ):
        pass
    with study_lock(tmp_path, "har"):
        pass


def test_a_lock_in_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "locks").write_text("in the way")
    with (
        pytest.raises(StudyError, match=r"storage\.folder must be a folder that can be written"),
        study_lock(tmp_path, "har"),
    ):
        pass
