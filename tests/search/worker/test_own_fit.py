"""Hypermodels with a ``fit`` of their own, as KerasTuner has them, whose worker dies."""

from pathlib import Path
from typing import Any

import pytest
from benches import Killed, Line, defaults, make_bench

from search.messages import CandidateBuilt, EpochReport, Outcome, TrainTrial, TrialEnded, Verdict
from search.worker.training import run_trial
from search.worker.workbench import Workbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def bench(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Workbench:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return make_bench(tmp_path, space=f"user_spaces:{request.param}")


def run(bench: Workbench, line: Line) -> TrialEnded:
    return run_trial(bench, TrainTrial(number=3, seed=5), line, defaults())


def curve(told: list[Any]) -> list[tuple[int, float]]:
    return [(m.epoch, m.metrics["train_loss"]) for m in told if isinstance(m, EpochReport)]


def undisturbed(bench: Workbench) -> tuple[list[tuple[int, float]], TrialEnded]:
    line = Line()
    ended = run(bench, line)
    for path in bench.weights.iterdir():
        path.unlink()
    return curve(line.told), ended


@pytest.mark.parametrize("bench", ["InOrder", "OwnFit"], indirect=True)
@pytest.mark.parametrize("passed", [1, 2, 3])
def test_a_fit_that_hands_on_what_it_is_given_goes_on(
    bench: Workbench, passed: int, request: pytest.FixtureRequest
) -> None:
    expected, whole = undisturbed(bench)
    with pytest.raises(EOFError):
        run(bench, Killed(*[Verdict()] * passed))
    rest = Line()
    ended = run(bench, rest)

    assert rest.told[0].epochs == passed
    assert (ended.outcome, ended.epochs) == (Outcome.COMPLETE, 4)
    assert ended.parameters == whole.parameters
    told = curve(rest.told)
    assert [epoch for epoch, _ in told] == list(range(passed, 4))
    if "InOrder" in request.node.name:  # else Keras draws the order of the rows anew
        assert [loss for _, loss in told] == pytest.approx(
            [loss for _, loss in expected[passed:]], abs=1e-6
        )


@pytest.mark.parametrize("bench", ["InOrder"], indirect=True)
def test_the_last_epoch_is_trained_again_where_only_its_end_was_missing(bench: Workbench) -> None:
    _, whole = undisturbed(bench)
    run(bench, Line())
    rest = Line()
    ended = run(bench, rest)
    assert rest.told[0].epochs == 3
    assert [epoch for epoch, _ in curve(rest.told)] == [3]
    assert ended.value == pytest.approx(whole.value, abs=1e-6)


@pytest.mark.parametrize("passed", [1, 3])
@pytest.mark.parametrize(
    "bench",
    ["TrainsBefore", "CompilesAgain", "FitsTwice", "NamesItsArguments", "CountsItsEpochs"],
    indirect=True,
)
def test_a_fit_that_cannot_go_on_begins_again(bench: Workbench, passed: int) -> None:
    expected, whole = undisturbed(bench)
    with pytest.raises(EOFError):
        run(bench, Killed(*[Verdict()] * passed))
    rest = Line()
    ended = run(bench, rest)

    began = [m.epochs for m in rest.told if isinstance(m, CandidateBuilt)]
    # The first of two fits has left a checkpoint, and does not go on from it.
    assert began == ([1, 0] if bench.config.space.endswith("FitsTwice") and passed == 1 else [0])
    told = curve(rest.told)
    assert [epoch for epoch, _ in told] == [epoch for epoch, _ in expected]
    assert [loss for _, loss in told] == pytest.approx([loss for _, loss in expected], abs=1e-6)
    assert (ended.outcome, ended.epochs) == (whole.outcome, whole.epochs)
    assert list(bench.weights.glob("*checkpoint*")) == []
