import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest

from search.config import TrackingConfig
from search.disk import is_full, wait_for_room
from search.driver.interrupts import watch_interrupts
from search.driver.mirror import MirroredStorage
from search.driver.storage import open_storage
from search.driver.tracking.mlflow_tracker import open_tracker
from search.driver.tracking.spool import Spool
from search.errors import ServiceAway
from search.worker.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

BLOCK = 64 * 1024


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path_factory.mktemp("small")
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # MLflow keeps its store open


class Disk:
    """A small file system that is full until somebody is told so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []

    def fill(self) -> None:
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (BLOCK, 512):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError as exc:
                    assert exc.errno == errno.ENOSPC  # noqa: PT017  # this is how it gets full

    def say(self, text: str) -> None:
        self.said.append(text)
        (self.folder / "filler").unlink(missing_ok=True)


@pytest.fixture
def disk(small_disk: Path) -> Iterator[Disk]:
    folder = small_disk / "study"
    folder.mkdir()
    yield Disk(folder)
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_study_goes_on_where_it_stood_once_there_is_room(disk: Disk) -> None:
    store = open_storage(disk.folder)
    storage = MirroredStorage(store, place=disk.folder, say=disk.say)
    study = optuna.create_study(storage=storage, study_name="har")
    trials = 0
    disk.fill()
    while not disk.said:  # the pages that SQLite holds already take some more
        study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), trials)
        trials += 1
    store.engine.dispose()

    again = open_storage(disk.folder)
    held = optuna.load_study(study_name="har", storage=again).trials
    again.engine.dispose()
    assert [trial.value for trial in held] == list(range(trials))
    assert "No room is left for" in disk.said[0]
    assert str(disk.folder) in disk.said[0]
    assert "room for" in disk.said[1]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_launch_whose_data_find_no_room_ends_with_one_line(disk: Disk) -> None:
    launch = Path(__file__).parents[2] / "scripts" / "launch_study.py"
    words = ["--data.machines", "6", "--data.rows", "60000", "--storage.folder", disk.folder]
    done = subprocess.run(
        [sys.executable, launch, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "No room is left" in line]
    assert "To go on: " in line
    assert "Traceback" not in done.stderr
    assert not any((disk.folder / "data").glob("*"))


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_checkpoint_waits_for_room(disk: Disk) -> None:
    path = disk.folder / "trial.checkpoint"
    disk.fill()
    checkpoint = Checkpoint(
        identity={"seed": 1}, values=[0.5], metrics=[{}], seconds=1.0, best=[np.ones(20_000)]
    )
    wait_for_room(lambda: save_checkpoint(checkpoint, path), place=path, say=disk.say)
    found = load_checkpoint(path, {"seed": 1})
    assert found is not None
    assert found.best[0].sum() == 20_000
    assert len(disk.said) == 2


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_record_waits_for_room_and_stands_in_the_spool_once(disk: Disk) -> None:
    path = disk.folder / "har.jsonl"
    with closing(Spool(path, 2**20)) as spool:
        spool.append({"kind": "start", "number": 0})
        disk.fill()
        record = {"kind": "start", "number": 1, "text": "x" * BLOCK}
        wait_for_room(lambda: spool.append(record), place=path, say=disk.say)
    with closing(Spool(path, 2**20)) as spool:
        assert [record["number"] for record, _ in spool.left] == [0, 1]
    assert len(disk.said) == 2


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_what_was_delivered_to_a_full_disk_is_delivered_again(disk: Disk) -> None:
    path = disk.folder / "har.jsonl"
    with closing(Spool(path, 2**20)) as spool:
        first = spool.append({"kind": "start", "number": 0})
        spool.append({"kind": "start", "number": 1})
        disk.fill()
        spool.note_delivered(first)
    with closing(Spool(path, 2**20)) as spool:
        assert [record["number"] for record, _ in spool.left] == [0, 1]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_one_ctrl_c_ends_the_waiting_and_nothing_waits_again(disk: Disk) -> None:
    disk.fill()
    said: list[str] = []

    def press(text: str) -> None:
        said.append(text)
        os.kill(os.getpid(), signal.SIGINT)

    def write() -> None:
        (disk.folder / "note").write_bytes(b"x" * BLOCK)

    with watch_interrupts() as interrupt:
        wait = interrupt.watch_wait(press)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                wait_for_room(write, place=disk.folder, say=wait)
    (text,) = said
    assert text.endswith("Ctrl-C stops at once.")


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_after_the_waiting_ctrl_c_waits_for_the_next_epoch_again(disk: Disk) -> None:
    disk.fill()

    def write() -> None:
        (disk.folder / "note").write_bytes(b"x" * BLOCK)

    with watch_interrupts() as interrupt:
        wait_for_room(write, place=disk.folder, say=interrupt.watch_wait(disk.say))
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
    assert disk.said[1] == f"There is room for {disk.folder} again."


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_tracking_store_on_a_full_disk_is_told_in_one_sentence(
    disk: Disk, storage_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(storage_folder / "mlflow.db", disk.folder)
    tracker = open_tracker(
        study="har",
        config=TrackingConfig(),
        folder=disk.folder,
        tags={},
        params={},
        say=disk.say,
    )
    disk.fill()
    tracker.start_trial(0)  # the spool's last page has room for two short records
    with pytest.raises(ServiceAway, match=r"did not arrive .* disk is full.* wait in "):
        tracker.close("KILLED", patience_seconds=0.0)
    assert disk.said == []
    assert capfd.readouterr() == ("", "")


def test_another_error_is_nobody_s_wait(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        wait_for_room((tmp_path / "missing").read_text, place=tmp_path, say=print)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (sqlite3.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("database is locked"), False),
        (RuntimeError("{{node SaveV2}} part-00000; No space left on device"), True),
        (None, False),
    ],
)
def test_a_full_disk_is_known_by_its_errors(error: BaseException | None, full: bool) -> None:
    assert is_full(error) is full
    wrapped = RuntimeError("the library's own")
    wrapped.__cause__ = error
    assert is_full(wrapped) is full
