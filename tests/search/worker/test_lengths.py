"""Every sequence length is scored on the same targets."""

from pathlib import Path
from typing import Any

import pytest

from search.config import make_config
from search.data.preparation import prepare_data
from search.messages import WorkerSetup
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.workbench import Workbench

MACHINE = {"source": "machine", "machines": 8, "rows": 600}
DIGITS = {"source": "digits", "sequences": 60, "frames": 10}
LENGTHS = (1, 2, 3, 5, 6)
CASES: dict[str, dict[str, Any]] = {
    "classification": {"data": MACHINE},
    "forecasting": {"data": MACHINE, "task": {"kind": "forecasting", "horizon": 7}},
    "anomaly": {"data": MACHINE, "task": {"kind": "anomaly"}},
    "frames": {"data": DIGITS, "task": {"kind": "frames", "horizon": 4}},
}


@pytest.fixture
def bench(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Workbench:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    config = make_config(
        {
            "name": "lengths",
            "space": "user_spaces:LastStep",
            "sequence_length": {
                "low": 1,
                "high": 6,
                "max_stride": 1 if request.param == "anomaly" else 3,
            },
            **CASES[request.param],
        }
    )
    _, folder = prepare_data(config, tmp_path / "data")
    return Workbench(WorkerSetup(config=config, data=folder, weights=tmp_path, log=tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("bench", CASES, indirect=True)
def test_a_fixed_predictor_has_one_validation_score_whatever_the_length(bench: Workbench) -> None:
    scores = []
    for length in LENGTHS:
        answers = {"sequence_length": length, "frame_stride": 1 + length % 3}
        hp = AskingHyperParameters(ask=lambda q, known=answers: known[q.name])
        candidate = bench.build(hp, seed=0)
        assert candidate.inputs.window_shape[0] == length
        scores.append(bench.score(candidate, "validation"))
    metric = bench.config.objective.metric
    assert [score[metric] for score in scores] == pytest.approx([scores[0][metric]] * 5, abs=1e-12)
    assert all(score == pytest.approx(scores[0], abs=1e-12, nan_ok=True) for score in scores)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("bench", ["forecasting"], indirect=True)
def test_a_stride_that_does_not_fit_is_cut_down_and_said(bench: Workbench) -> None:
    answers = {"sequence_length": 3, "frame_stride": 3}
    candidate = bench.build(AskingHyperParameters(ask=lambda q: answers[q.name]), seed=0)
    assert candidate.inputs.offsets is not None
    assert candidate.inputs.offsets.tolist() == [-4, -2, 0]
    assert candidate.notes == ("frame_stride=3 became 2: 3 steps must lie within 6 rows.",)
