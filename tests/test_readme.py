"""What the README tells a newcomer to type works as it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_five_lines_of_python_run(tmp_path: Path, storage_folder: Path) -> None:
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
    assert re.search(r"^0\.\d+ .*exports/quickstart$", done.stdout.strip())


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
