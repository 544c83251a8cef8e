"""A study of every kind of task ends in an export whose card predicts without this project."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exports import HAS_EXTRA
from studies import run_small_study

from search.data.preparation import prepare_data
from search.driver.tracking.store import open_client, store_uri
from search.results.export import export_best
from search.results.formats import ASKED, FORMATS, TOLERANCES
from search.results.prediction import predict_data
from search.results.runtimes import load_registered
from search.tasks import make_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DIGITS = {"source": "digits", "sequences": 60, "frames": 5, "canvas": 9}
STUDIES: dict[str, dict[str, Any]] = {
    "regression": {
        "export": {"formats": []},
        "task": {"kind": "regression"},
        "space": "video",
        "split": {"method": "stratified"},
    },
    "forecasting": {"export": {"formats": []}, "task": {"kind": "forecasting", "horizon": 3}},
    "anomaly": {
        "task": {"kind": "anomaly", "errors": "absolute", "threshold_by": "recording"},
        "split": {"method": "time"},
    },
    "foretold": {
        "export": {"formats": []},
        "task": {"kind": "anomaly"},
        "space_arguments": {"detector": "predictor"},
    },
    "frames": {"data": DIGITS, "space": "seq2seq", "task": {"kind": "frames", "horizon": 2}},
    "clips": {
        "space": "video",
        "split": {"method": "stratified"},
        "budget": {"trials": 2},
        "pruner": {"name": "none"},
        "winner": {"candidates": 2, "repeats": 1, "members": 2},
    },
}
ONES: dict[str, Any] = {"sequence_length": {"low": 3, "high": 3}, "objective": {}}


def make_clips(folder: Path, values: bool) -> dict[str, str]:
    """Write clips whose class, or value, is whether a bright square moves."""
    source = np.random.default_rng(0)
    clips = source.integers(0, 60, (40, 4, 8, 8, 1), np.uint8)
    labels = np.arange(40) % 2
    for clip, label in zip(clips, labels, strict=True):
        for frame in range(4):
            clip[frame, 2:5, 1 + label * frame : 3 + label * frame] = 255
    np.savez(folder / "clips.npz", x=clips, y=labels + 0.5 if values else labels)
    return {"source": "arrays", "path": str(folder / "clips.npz")}


def registered_place(name: str, folder: Path) -> str:
    client = open_client(store_uri(None, folder))
    source = client.get_model_version_by_alias(name, "champion").source
    return source.removeprefix("file://")


@pytest.mark.parametrize("name", STUDIES)
def test_the_lines_of_the_card_predict_without_this_project(
    name: str, tmp_path: Path, store_template: Path
) -> None:
    settings = ONES | STUDIES[name]
    if name in ("clips", "regression"):
        settings |= {"data": make_clips(tmp_path, values=name == "regression")}
    folder = tmp_path / "mlflow_runs"
    summary = run_small_study(folder, store_template, name, **settings)
    metric = summary.config.objective.metric
    assert np.isfinite(summary.test[metric])
    assert summary.test_baselines
    refits = list(folder.glob("checkpoints/*/refit_*"))
    assert len(refits) == (
        summary.config.winner.members if summary.config.task.kind != "anomaly" else 0
    )

    export = export_best(name, folder=folder)
    asked = {ASKED[form] for form in summary.config.export.formats} if HAS_EXTRA else set()
    assert set(export.differences) == {*FORMATS, *asked}
    assert all(export.differences[form] <= TOLERANCES[form] for form in export.differences)
    card = (export.folder / "README.md").read_text()
    assert re.search(r"the formats predicted \d+ real windows \(\d+ of validation", card)
    use = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)[0]
    code = f"""{use}
import sys
expected = np.load("example.npz")["predictions"]
assert np.abs(outputs - expected).max() <= {TOLERANCES["model.keras"] * 10}
assert not {{"search", "spaces"}} & {{module.split(".")[0] for module in sys.modules}}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=export.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    facts = json.loads((export.folder / "preprocessing.json").read_text())
    assert facts["task"] == summary.config.task.kind
    assert ("threshold" in facts) == (facts["task"] == "anomaly")

    out = tmp_path / ("out.npz" if facts["task"] == "frames" else "out.parquet")
    found = predict_data(export.folder, export.folder / "example.npz", out)
    assert found.answers == 2
    with np.load(export.folder / "example.npz") as example:
        served = load_registered(registered_place(name, folder))(example["raw"])
    if facts["task"] == "frames":
        answered = np.load(out)["frames"]
    else:
        table = pd.read_parquet(out).drop(columns=["recording", "row"])
        answered = table.select_dtypes("float").to_numpy()
    assert answered == pytest.approx(served, rel=1e-5, abs=1e-6)
    if summary.config.export.formats and not HAS_EXTRA:
        pytest.skip("the export extra is not installed: ONNX and LiteRT were not compared")


def test_a_baseline_that_learns_nothing_scores_the_same_beside_a_refit(
    tmp_path: Path, store_template: Path
) -> None:
    folder = tmp_path / "mlflow_runs"
    settings = ONES | STUDIES["forecasting"]
    summary = run_small_study(folder, store_template, "forecasting", **settings)
    data, _ = prepare_data(summary.config, tmp_path / "data")
    (last,) = (b for b in make_task(summary.config).baselines(data) if b.name == "last value")

    assert summary.test_baselines["last value"] == pytest.approx(last.score(data, "test"))
