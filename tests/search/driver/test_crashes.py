"""Studies whose workers and drivers die, on real processes, and what is left of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
from fakes import QuietView
from mlflow import MlflowClient
from studies import differences, wave_study

from search.driver.loop import Ending
from search.driver.provenance import dump_settings
from search.driver.study import run_study
from search.driver.tracking.store import KIND, TRIAL, search_runs, store_uri
from search.messages import Outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[3]
USER_SPACES = ROOT / "tests" / "search" / "worker"
Curves = dict[int, list[tuple[int, float]]]


SHORT = {
    "training": {"max_epochs": 5, "refit": False},
    "budget": {"trials": 2},
    "workers": {"count": 1},
}
"""Two trials on one worker."""


def read_curves(folder: Path, metric: str = "train_loss") -> Curves:
    """Read the curve of each trial from MLflow."""
    client = MlflowClient(store_uri(None, folder))
    experiment = client.get_experiment_by_name("lookback")
    assert experiment is not None
    runs = search_runs(client, [experiment.experiment_id], {KIND: "trial"})
    return {
        int(run.data.tags[TRIAL]): sorted(
            (point.step, point.value)
            for point in client.get_metric_history(run.info.run_id, metric)
        )
        for run in runs
    }


def assert_same(one: Curves, other: Curves) -> None:
    assert one.keys() == other.keys()
    for number, curve in one.items():
        assert [step for step, _ in curve] == [step for step, _ in other[number]]
        values, others = ([value for _, value in c] for c in (curve, other[number]))
        assert values == pytest.approx(others, abs=1e-6)


def find_workers(driver: int) -> list[int]:
    """Find a driver's worker processes: the children of its fork server (Ray's servers have some too)."""

    def children(parent: int) -> list[int]:
        words = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(word) for word in words]

    def is_fork_server(process: int) -> bool:
        return b"multiprocessing.forkserver" in Path(f"/proc/{process}/cmdline").read_bytes()

    servers = [child for child in children(driver) if is_fork_server(child)]
    return [worker for server in servers for worker in children(server)]


class KillingView(QuietView):
    """Kills the worker when a running trial has reached an epoch, once."""

    def __init__(self, number: int, epochs: int) -> None:
        super().__init__()
        self.number, self.epochs = number, epochs
        self.killed: list[int] = []

    def show(self, status: object) -> None:
        rows = [row for row in status.rows if row.number == self.number]  # type: ignore[attr-defined]
        if not self.killed and rows and rows[0].epochs == self.epochs and rows[0].outcome is None:
            (worker,) = find_workers(os.getpid())
            self.killed.append(worker)
            os.kill(worker, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(
    waves: Path, store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Curves:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "mlflow.db").write_bytes(store_template.read_bytes())
    run_study(wave_study(waves, folder, **SHORT), QuietView())
    return read_curves(folder)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_trial_whose_worker_was_killed_ends_with_the_same_curve(
    waves: Path, storage_folder: Path, undisturbed: Curves, epochs: int
) -> None:
    view = KillingView(1, epochs)
    summary = run_study(wave_study(waves, storage_folder, **SHORT), view)
    assert len(view.killed) == 1
    assert [row.outcome for row in summary.rows] == [Outcome.COMPLETE] * 2
    said = "\n".join(view.said)
    assert "Trial 1 is taken up again: worker 0 was killed by SIGKILL" in said
    assert "Trial 1 goes on after epoch" in said
    assert_same(read_curves(storage_folder), undisturbed)
    assert differences(storage_folder) == []
    assert not list((storage_folder / "checkpoints").rglob("*.checkpoint*"))


DRIVER = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from fakes import QuietView
from search.config import load_config
from search.driver.study import run_study
class View(QuietView):
    def show(self, status):
        if any(row.number == 1 and row.epochs == 3 and row.outcome is None for row in status.rows):
            os.kill(os.getpid(), signal.SIGKILL)
run_study(load_config({study!r}), View())
"""


def test_a_study_whose_driver_was_killed_goes_on_where_it_stood(
    waves: Path, storage_folder: Path, undisturbed: Curves, tmp_path: Path
) -> None:
    config = wave_study(waves, storage_folder, **SHORT)
    study = tmp_path / "waves.toml"
    study.write_text(tomli_w.dumps(dump_settings(config)))
    script = DRIVER.format(tests=str(ROOT / "tests"), study=str(study))
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL

    view = QuietView()
    summary = run_study(config, view)
    assert summary.ending is Ending.FINISHED
    assert [row.outcome for row in summary.rows] == [Outcome.COMPLETE] * 2
    assert any("Trial 1 goes on after epoch" in text for text in view.said)
    assert_same(read_curves(storage_folder), undisturbed)
    assert differences(storage_folder) == []


DRIVER_AT_THE_END = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from fakes import QuietView
from search.config import load_config
from search.driver.study import run_study
class View(QuietView):
    def say(self, text):
        super().say(text)
        if sum(" again, training " in said for said in self.said) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
run_study(load_config({study!r}), View())
"""


def test_what_was_trained_to_find_the_winner_is_not_trained_twice(
    waves: Path, storage_folder: Path, tmp_path: Path
) -> None:
    more = {"budget": {"trials": 2}, "winner": {"candidates": 2, "repeats": 2, "members": 2}}
    config = wave_study(waves, storage_folder, **{**SHORT, **more})
    study = tmp_path / "waves.toml"
    study.write_text(tomli_w.dumps(dump_settings(config)))
    script = DRIVER_AT_THE_END.format(tests=str(ROOT / "tests"), study=str(study))
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL

    view = QuietView()
    summary = run_study(config, view)
    assert summary.ending is Ending.FINISHED
    assert sum(" again, training " in text for text in view.said) == 2
    assert {mean["count"] for mean in summary.decision["means"].values()} == {2}
    assert summary.decision["together"]["count"] == 2
    assert not (storage_folder / "checkpoints" / "waves" / "repeats").exists()


def test_candidates_that_need_too_much_memory_end_alone(
    waves: Path, storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two fifths of the space do not fit into what a worker may take.

    That they become rare takes more trials than are trained here: ``test_loop`` plays 80.
    """
    monkeypatch.syspath_prepend(USER_SPACES)
    config = wave_study(
        waves,
        storage_folder,
        space="user_spaces:build_hoard",
        training={"max_epochs": 1, "refit": False, "batch_size": 512},
        budget={"trials": 12},
        workers={"count": 2, "max_memory_mb": 1400},
    )
    summary = run_study(config, QuietView())
    outcomes = [row.outcome for row in sorted(summary.rows, key=lambda row: row.number)]
    assert set(outcomes) == {Outcome.COMPLETE, Outcome.OUT_OF_MEMORY}
    assert len(outcomes) == 12
    assert differences(storage_folder) == []
