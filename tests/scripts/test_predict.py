"""New data on the command line; tests/search/results/test_export.py asks a served model the same."""

import subprocess
import sys
from pathlib import Path

import pytest
from exports import repeat_last_row, write_export

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"


def run_script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", repeat_last_row())
    (tmp_path / "new.csv").write_text("a,bee\n1,2\n")
    done = run_script(export, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("data.channels must name columns of the table. Received: 'b'")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()
