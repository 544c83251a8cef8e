import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from studies import run_small_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "export_best.py"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


def test_it_prints_what_was_written_and_how_far_it_agrees(
    tmp_path: Path, store_template: Path
) -> None:
    folder = tmp_path / "runs"
    run_small_study(folder, store_template, "small")

    done = run_script("small", "--storage.folder", str(folder), "--export.formats", "onnx")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"Trial 0 of study small is exported to {folder}/exports/small:"
    assert "  model.tflite         not written: export.formats does not name it." in lines
    size = (folder / "exports" / "small" / "model.keras").stat().st_size
    assert f"  {'model.keras':20} {size:>12,} bytes" in lines
    assert lines[-1] == "Registered in MLflow: models:/small@champion (version 1)."


def test_a_disk_that_gets_full_while_it_writes_is_nobody_elses_fault(
    tmp_path: Path, store_template: Path
) -> None:
    folder, small = tmp_path / "runs", tmp_path / "runs" / "exports"
    run_small_study(folder, store_template, "small")
    small.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        done = run_script("small", "--storage.folder", str(folder))
    finally:
        subprocess.run(["umount", small], check=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"No room is left.*\. Make some and run it again\.\n", done.stderr)


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run_script("small", "--storage.folder", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storage.folder must hold Optuna's store.")
    assert done.stderr.count("\n") == 1
