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


GO_ON = ["InOrder", "OwnFit", "CompilesAgain", "NamesItsArguments", "LoadsWeights"]


@pytest.mark.parametrize("bench", GO_ON, indirect=True)
def test_a_fit_that_has_keras_train_once_goes_on(
    bench: Workbench, request: pytest.FixtureRequest
) -> None:
    passed = 2
    expected, whole = undisturbed(bench)
    with pytest.raises(EOFError):
        run(bench, Killed(*[Verdict()] * passed))
    rest = Line()
    ended = run(bench, rest)

    assert rest.told[0].epochs == passed
    assert rest.told[0].parameters == ended.parameters == whole.parameters
    assert (ended.outcome, ended.epochs) == (Outcome.COMPLETE, 4)
    told = curve(rest.told)
    assert [epoch for epoch, _ in told] == list(range(passed, 4))
    if "OwnFit" not in request.node.name:  # there Keras draws the order of the rows anew
        assert [loss for _, loss in told] == pytest.approx(
            [loss for _, loss in expected[passed:]], abs=1e-6
        )


@pytest.mark.parametrize("bench", ["FitsTwice"], indirect=True)
def test_what_two_fits_have_done_is_not_put_back(bench: Workbench) -> None:
    run(bench, Line())
    rest = Line()
    run(bench, rest)
    assert rest.told[0].epochs == 0


@pytest.mark.parametrize("bench", ["OwnFit"], indirect=True)
def test_a_fit_that_had_only_its_end_to_tell_is_not_called_again(bench: Workbench) -> None:
    whole = run(bench, Line())
    rest = Line()
    ended = run(bench, rest)
    assert [m.epochs for m in rest.told] == [4]
    assert (ended.outcome, ended.value, ended.epochs) == (Outcome.COMPLETE, whole.value, 4)
    assert ended.parameters == whole.parameters
    assert "batch_size" in ended.parameters


@pytest.mark.parametrize("bench", ["FitsTwice"], indirect=True)
@pytest.mark.parametrize("passed", [1, 3])
def test_the_first_of_two_fits_goes_on_and_the_second_begins_again(
    bench: Workbench, passed: int
) -> None:
    expected, whole = undisturbed(bench)
    with pytest.raises(EOFError):
        run(bench, Killed(*[Verdict()] * passed))
    rest = Line()
    ended = run(bench, rest)
    trained = 1 if passed == 1 else 0
    assert rest.told[0].epochs == trained
    losses = [loss for _, loss in expected]
    assert [loss for _, loss in curve(rest.told)] == pytest.approx(losses[trained:], abs=1e-6)
    assert (ended.outcome, ended.epochs) == (whole.outcome, whole.epochs)


@pytest.mark.parametrize(
    "bench", ["TrainsBefore", "CountsItsEpochs", "StopsItself", "DrawsRows"], indirect=True
)
def test_a_fit_that_cannot_go_on_begins_again(bench: Workbench) -> None:
    expected, whole = undisturbed(bench)
    with pytest.raises(EOFError):
        run(bench, Killed(Verdict(), Verdict()))
    rest = Line()
    ended = run(bench, rest)

    assert [m.epochs for m in rest.told if isinstance(m, CandidateBuilt)] == [0]
    told = curve(rest.told)
    assert [epoch for epoch, _ in told] == [epoch for epoch, _ in expected]
    assert [loss for _, loss in told] == pytest.approx([loss for _, loss in expected], abs=1e-6)
    assert (ended.outcome, ended.epochs) == (whole.outcome, whole.epochs)
    assert list(bench.weights.glob("*checkpoint*")) == []
