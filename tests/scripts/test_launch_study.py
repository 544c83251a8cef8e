"""The launch script as a person runs it: in a pipe, on a terminal, interrupted, mistaken."""

import contextlib
import importlib.util
import io
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pexpect
import pytest
from asking import find_free_port

from search.driver.tracking.store import store_uri
from search.errors import ServiceAway
from search.results.audit import audit_study
from search.results.formats import CONVERTED
from search.results.serving import HOST, serve_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "scripts" / "launch_study.py"
STUDY = """
name = "tiny"
[data]
source = "machine"
machines = 8
rows = 600
[sequence_length]
low = 8
high = 16
[training]
max_epochs = 2
[budget]
trials = 3
[pruner]
name = "none"
[winner]
candidates = 1
repeats = 1
"""


NO_CONVERSION = ["--export.formats", "[]"]
"""What a test adds that has nothing to say of formats: each takes seconds."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return path


def command(study: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, str(LAUNCH), str(study), "--storage.folder", str(folder), *more]


def launch(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, check=False)


def find_workers(folder: Path) -> list[int]:
    """Find the processes that write to the folder's worker logs: workers and their fork server."""
    logs = {str(path) for path in (folder / "logs").iterdir()}
    pids = []
    for output in Path("/proc").glob("[0-9]*/fd/1"):
        with contextlib.suppress(OSError):
            if os.readlink(output) in logs:
                pids.append(int(output.parts[2]))
    return pids


def all_leave(folder: Path) -> bool:
    """Wait until no worker is left; a fork server notices its driver's end and follows it."""
    for pid in find_workers(folder):
        with contextlib.suppress(ProcessLookupError):
            select.select([os.pidfd_open(pid)], [], [], 20)
    return find_workers(folder) == []


def test_a_launch_ends_with_a_leaderboard_a_link_and_an_exported_model(
    study: Path, storage_folder: Path
) -> None:
    one = ["--export.formats", "onnx"]
    done = launch(command(study, storage_folder, "--workers.count", "2", *one))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(re.findall(r"trial \d \| complete \| macro_f1 0\.\d{4}", done.stderr)) == 3
    assert "\x1b" not in done.stderr
    assert re.search(r"0 \(default\)", done.stdout)
    assert "naive: majority class" in done.stdout
    assert re.search(r"on the untouched test set +macro_f1 ", done.stdout)
    assert re.search(r"Study tiny: http://127\.0\.0\.1:\d+/#/experiments/\d+/runs\?", done.stdout)
    assert (storage_folder / "exports" / "tiny" / "model.keras").is_file()
    assert "registered as tiny@champion" in done.stdout
    card = (storage_folder / "exports" / "tiny" / "README.md").read_text()
    for name in CONVERTED:
        assert (f"There is no `{name}`" in card) == (f"Not written: {name}: " in done.stdout)
    assert f"Report: {storage_folder / 'reports' / 'tiny.html'}" in done.stdout
    assert (storage_folder / "reports" / "tiny.html").is_file()
    pictures = [page.read_text() for page in (storage_folder / "artifacts").rglob("pictures.html")]
    assert len(pictures) == len(re.findall(r"trial \d again, training 1 ", done.stderr)) > 0
    assert all("Confusion matrix" in page for page in pictures)


def test_the_same_study_completes_on_jax(
    study: Path, storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax", reason="the extra 'jax' is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    few = ["--budget.trials", "1", "--workers.count", "1", "--winner.repeats", "0"]
    done = launch(command(study, storage_folder, *few, *NO_CONVERSION))
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"trial \d \| complete", done.stderr)) == 1
    assert "registered as tiny@champion" in done.stdout
    audit = audit_study("tiny", folder=storage_folder)
    assert len(audit) == 1 + 1
    assert [text for trial in audit for text in trial.differences] == []


def test_ctrl_c_ends_at_the_next_epoch_and_the_same_command_goes_on(
    study: Path, storage_folder: Path
) -> None:
    few = ["--budget.trials", "3", "--workers.count", "2", "--winner.repeats", "0"]
    words = command(study, storage_folder, *few, *NO_CONVERSION)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if re.search(r"trial \d \| complete", line):
                break
        os.killpg(running.pid, signal.SIGINT)
        out, _ = running.communicate()
    assert running.returncode == 130
    assert "To go on: scripts/run python scripts/launch_study.py" in out
    assert all_leave(storage_folder)
    assert {t.name for t in audit_study("tiny", folder=storage_folder) if t.differences} == set()

    done = launch(words)
    assert done.returncode == 0, done.stderr
    audit = audit_study("tiny", folder=storage_folder)
    assert len(audit) == 1 + 3
    assert [text for trial in audit for text in trial.differences] == []


def test_ctrl_c_twice_ends_at_once(study: Path, storage_folder: Path) -> None:
    words = command(study, storage_folder, "--training.max_epochs", "500", "--workers.count", "1")
    terminal = pexpect.spawn(words[0], words[1:], timeout=120, dimensions=(40, 140))
    terminal.expect("1 running")
    terminal.sendintr()
    terminal.sendintr()
    terminal.expect("To go on: scripts/run python scripts/launch_study.py")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 130
    assert all_leave(storage_folder)


class Live(NamedTuple):
    """A study that was launched on a terminal: its exit status, all it showed, all its files."""

    status: int | None
    shown: str
    folder: Path


@pytest.fixture(scope="module")
def live(store_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A study launched on a terminal, with secrets in its environment and its server's address."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "tiny.toml").write_text(STUDY)
    store = folder / "mlflow_runs"
    store.mkdir()
    shutil.copyfile(store_template, store / "mlflow.db")
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "canary-of-the-environment",
        "MLFLOW_TRACKING_PASSWORD": "canary-of-mlflow",
    }
    port = find_free_port()
    uri = f"http://me:canary-of-the-address@{HOST}:{port}"
    words = command(folder / "tiny.toml", store, "--workers.count", "1", "--tracking.uri", uri)
    words += NO_CONVERSION
    shown = io.StringIO()
    with serve_store(store_uri(None, store), port, store / "artifacts"):
        terminal = pexpect.spawn(
            words[0],
            words[1:],
            timeout=200,
            dimensions=(40, 140),
            encoding="utf-8",
            env={**os.environ, **secrets},
        )
        terminal.logfile_read = shown
        terminal.expect(r"naive baseline 0\.\d{4}")
        terminal.expect(r"1 running")
        terminal.expect(r"trial 2 \| complete")
        terminal.expect(r"Training the best again.*[01]/[12].* so far")
        terminal.expect(pexpect.EOF)
        terminal.wait()
    return Live(terminal.exitstatus, shown.getvalue(), folder)


def test_on_a_terminal_the_study_is_live(live: Live) -> None:
    assert "registered as tiny@champion" in live.shown
    assert live.status == 0


def test_no_secret_of_address_or_environment_is_written_anywhere(live: Live) -> None:
    files = [path for path in live.folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "optuna.db", "tiny.toml", "model.keras"} <= {path.name for path in files}
    assert [path for path in files if b"canary" in path.read_bytes()] == []
    assert "canary" not in live.shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["missing.toml"], r"study file must be a readable TOML file", id="no file"),
        pytest.param(["--budget.trails", "3"], r"Did you mean '--budget.trials'", id="argument"),
        pytest.param(["--space", "sensr"], r"Did you mean 'sensor'", id="space"),
        pytest.param(
            ["--data.source", "arrays", "--data.path", "no.npz"], r"no such file", id="data"
        ),
        pytest.param(["--tracking.uri", "foo://bar"], r"tracking.uri", id="tracking"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    study: Path, storage_folder: Path, words: list[str], message: str
) -> None:
    given = words if words[0].endswith(".toml") else [str(study), *words]
    done = launch([sys.executable, str(LAUNCH), *given, "--storage.folder", str(storage_folder)])
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (storage_folder / "studies").exists()


def test_a_tracking_server_that_is_away_is_one_message_and_exit_code_75(
    study: Path, storage_folder: Path
) -> None:
    done = launch(command(study, storage_folder, "--tracking.uri", "http://127.0.0.1:9"))
    assert done.returncode == 75
    assert "error: tracking.uri must be the address of an MLflow store" in done.stderr
    assert "To go on: scripts/run python scripts/launch_study.py" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (storage_folder / "studies").exists()


def test_how_to_go_on_tells_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("launch_study", LAUNCH)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def lose(*_: object) -> None:
        raise ServiceAway("The study's database was away.")

    script._launch = lose
    words = ["--name", "a", "--storage.uri", "postgresql://me@host/studies", "--tracking.uri"]
    for secret in (
        [*words, "https://me:canary@host"],
        [*words[:-1], "--tracking.uri=//a:canary@b"],
    ):
        assert script.main(secret) == 75
        said = capsys.readouterr().err
        shown = "scripts/launch_study.py --name a --storage.uri postgresql://me@host/studies"
        assert f"To go on: scripts/run python {shown} --tracking.uri" in said
        assert "canary" not in said
