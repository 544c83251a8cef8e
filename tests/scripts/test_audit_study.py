import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from search.config import TrackingConfig
from search.driver.storage import open_storage
from search.driver.tracking.mlflow_tracker import open_tracker
from search.messages import Outcome, TrialEnded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "audit_study.py"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


def test_the_exit_code_says_whether_the_two_agree(storage_folder: Path) -> None:
    optuna.create_study(storage=open_storage(storage_folder), study_name="har")
    tracker = open_tracker(
        study="har",
        config=TrackingConfig(),
        folder=storage_folder,
        tags={},
        params={},
        say=print,
    )
    tracker.close("FINISHED")

    done = run_script("har", "--storage.folder", str(storage_folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 trials: all agree." in done.stdout

    again = open_tracker(
        study="har",
        config=TrackingConfig(),
        folder=storage_folder,
        tags={},
        params={},
        say=print,
    )
    again.start_trial(3)
    again.end_trial(3, TrialEnded(outcome=Outcome.FAILED))
    again.close("FINISHED")

    done = run_script("har", "--storage.folder", str(storage_folder))
    assert (done.returncode, done.stderr) == (1, "")
    assert "a run without a trial" in done.stdout


def test_a_missing_store_is_one_line(tmp_path: Path) -> None:
    done = run_script("har", "--storage.folder", str(tmp_path))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storage.folder must hold Optuna's store.")
    assert done.stderr.count("\n") == 1
