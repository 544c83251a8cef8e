"""What the README tells a newcomer to type works as it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search.config import load_config
from search.data.preparation import prepare_data

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_script_and_study_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"scripts/[\w/]+(?:\.py|\.toml)?", README))
    assert {"scripts/run", "scripts/launch_study.py", "scripts/browse.py"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    assert "scripts/run pytest\n" in blocks("bash")
    assert 'scripts/run pytest "$@"' in (ROOT / "scripts" / "check").read_text(encoding="utf-8")
    assert "scripts/check --no-skips" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("uv") is None, reason="scripts/run would make an environment")
def test_the_first_command_ends_with_an_exported_model(storage_folder: Path) -> None:
    first = shlex.split(blocks("bash")[0])
    assert first == ["scripts/run", "python", "scripts/launch_study.py"]
    short = ["--budget.trials", "1", "--training.max_epochs", "1", "--winner.repeats", "1"]
    short += ["--export.formats", "onnx"]
    done = subprocess.run(
        [*first, *short, "--storage.folder", str(storage_folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "registered as quickstart@champion" in done.stdout
    assert re.search(r"Study quickstart: http://127\.0\.0\.1:\d+/#/experiments/", done.stdout)


def write_pumps(folder: Path) -> None:
    rng = np.random.default_rng(0)
    machines, rows = 10, 240
    table = {
        "time": pd.date_range("2026-01-01", periods=rows, freq="1min").tolist() * machines,
        "machine": np.repeat([f"pump {number}" for number in range(machines)], rows),
        "state": np.tile(np.repeat(["idle", "busy"], rows // 2), machines),
        "pressure": rng.normal(size=machines * rows),
        "current": rng.normal(size=machines * rows),
    }
    pd.DataFrame(table).to_csv(folder / "pump.csv", index=False)


def write_gestures(folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 30, 6)).astype("float32")
    y = np.array(["wave", "point", "none"] * 20)
    np.savez(folder / "gestures.npz", x=x, y=y, subject=np.arange(60) // 6)


def write_film(folder: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 8, 12, 12, 1), dtype="uint8")
    np.savez(folder / "film.npz", x=x, scene=np.arange(40) // 4)


WRITERS = {"pump": write_pumps, "gestures": write_gestures, "film": write_film}


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", WRITERS)
def test_a_study_file_of_ones_own_is_whole(name: str, tmp_path: Path) -> None:
    (text,) = [text for text in blocks("toml") if f'name = "{name}"' in text]
    (tmp_path / f"{name}.toml").write_text(text)
    WRITERS[name](tmp_path)
    data, _ = prepare_data(load_config(tmp_path / f"{name}.toml"), tmp_path / "data")
    assert all(len(ends) for ends in data.ends.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_lines_of_python_run(tmp_path: Path, storage_folder: Path) -> None:
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=storage_folder.parent,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^0\.\d+ .*exports/short$", done.stdout.strip())


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "script",
    [
        "launch_study.py",
        "browse.py",
        "export_best.py",
        "predict.py",
        "report_study.py",
        "reproduce_trial.py",
        "audit_study.py",
    ],
)
def test_every_script_explains_itself(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage:")
    assert script in README
