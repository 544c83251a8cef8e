"""Trained candidates of different lengths and strides become one model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.config import make_config
from search.data.preparation import prepare_data
from search.errors import InvalidArchitecture
from search.messages import Member, ScoreMembers, Stop, TrialScored, WorkerSetup
from search.worker.batches import predict
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.members import rebuild
from search.worker.serving import serve
from search.worker.weights import save_weights
from search.worker.workbench import Workbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    config = make_config(
        {
            "name": "members",
            "data": {"source": "machine", "machines": 8, "rows": 600},
            "sequence_length": {"low": 4, "high": 24, "max_stride": 3},
            "objective": {"metric": "accuracy"},
        }
    )
    _, folder = prepare_data(config, tmp_path / "data")
    setup = WorkerSetup(config=config, data=folder, weights=tmp_path, log=tmp_path / "log")
    return Workbench(setup)


class Told:
    """A line to a driver that has made up its mind."""

    def __init__(self, orders: list[Any]) -> None:
        self.said: list[Any] = []
        self._orders = iter(orders)

    def send(self, message: Any) -> None:
        self.said.append(message)

    def recv(self) -> Any:
        return next(self._orders)


def train(bench: Workbench, number: int, **answers: Any) -> tuple[Member, np.ndarray]:
    """Make a member of a candidate as it was built, and predict the validation targets by it."""
    hp = AskingHyperParameters(ask=lambda q: answers.get(q.name, q.default))
    candidate = bench.build(hp, seed=number)
    path = bench.weights / f"{number}.npz"
    save_weights(candidate.model, path)
    member = Member(
        number=number, parameters=dict(hp.values), seed=number, weights=str(path), epochs=1
    )
    return member, predict(candidate.model, candidate.inputs, bench.data.ends["validation"])


def test_several_members_predict_their_mean_each_from_its_own_rows(bench: Workbench) -> None:
    trained = [
        train(bench, 3, sequence_length=24),
        train(bench, 5, sequence_length=7, frame_stride=2, lstm_units=9),
        train(bench, 6, sequence_length=4),
    ]
    joined = rebuild(bench, [member for member, _ in trained])
    assert joined.inputs.window_shape == (24, bench.data.rows.shape[1])
    found = predict(joined.model, joined.inputs, bench.data.ends["validation"])
    assert found == pytest.approx(np.mean([outputs for _, outputs in trained], axis=0), abs=1e-5)
    assert not np.allclose(trained[0][1], trained[1][1], atol=1e-3)
    assert bench.score(joined, "test").keys() == {"accuracy", "macro_f1", "log_loss", "auroc"}


def test_a_mean_is_scored_on_the_sides_that_are_asked_for(bench: Workbench, tmp_path: Path) -> None:
    members = [
        train(bench, 3, sequence_length=24)[0],
        train(bench, 5, sequence_length=7, lstm_units=9)[0],
    ]
    # other data, prepared elsewhere, as for another validation side
    other = bench.config.model_copy(update={"seed": bench.config.seed + 1})
    data, folder = prepare_data(other, tmp_path / "other")
    assert data.targets_hash("validation") != bench.data.targets_hash("validation")
    _, own = prepare_data(bench.config, tmp_path / "data")
    setup = WorkerSetup(config=bench.config, data=own, weights=tmp_path, log=tmp_path / "log")
    channel = Told([ScoreMembers(members=tuple(members), side="validation", data=folder), Stop()])
    serve(channel, setup)
    _, scored = channel.said
    there = bench.on(folder)
    outputs = np.mean([there.predict(rebuild(there, [m]))("validation") for m in members], axis=0)
    expected = there.task.score(data, "validation", lambda side: outputs)
    assert isinstance(scored, TrialScored)
    assert scored.metrics == pytest.approx(expected, abs=1e-5)


def test_one_member_stays_the_model_that_it_was(bench: Workbench) -> None:
    member, outputs = train(bench, 3, sequence_length=7, frame_stride=3)
    candidate = rebuild(bench, [member])
    assert candidate.inputs.window_shape[0] == 7
    found = predict(candidate.model, candidate.inputs, bench.data.ends["validation"])
    assert found == pytest.approx(outputs, abs=1e-6)


def test_predictions_of_different_shapes_have_no_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    clips = np.random.default_rng(0).normal(size=(40, 8, 2)).astype("float32")
    np.savez(tmp_path / "clips.npz", x=clips, y=np.arange(40) % 2)
    config = make_config(
        {
            "name": "heads",
            "data": {"source": "arrays", "path": tmp_path / "clips.npz"},
            "split": {"method": "stratified"},
            "space": "user_spaces:build_either_head",
        }
    )
    _, folder = prepare_data(config, tmp_path / "data")
    setup = WorkerSetup(config=config, data=folder, weights=tmp_path, log=tmp_path / "log")
    bench = Workbench(setup)
    members = [train(bench, n, head=head)[0] for n, head in enumerate(("one", "two"))]
    with pytest.raises(InvalidArchitecture, match=r"winner\.members above 1"):
        rebuild(bench, members)
