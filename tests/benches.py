"""A worker without its driver: a workbench on a small machine's data, and drivers to talk to."""

from collections import deque
from pathlib import Path
from typing import Any

from search.config import make_config
from search.data.preparation import prepare_data
from search.messages import Verdict, WorkerSetup
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.workbench import Workbench


class Line:
    """A driver that gives prepared verdicts and keeps what it is told."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = deque(verdicts)
        self.told: list[Any] = []

    def send(self, message: Any) -> None:
        self.told.append(message)

    def recv(self) -> Verdict:
        return self.verdicts.popleft() if self.verdicts else Verdict()


def defaults(**answers: Any) -> AskingHyperParameters:
    return AskingHyperParameters(ask=lambda q: answers.get(q.name, q.default))


class Killed(Line):
    """A driver that dies while it is asked for a verdict."""

    def recv(self) -> Verdict:
        if not self.verdicts:
            raise EOFError
        return self.verdicts.popleft()


def make_bench(folder: Path, **settings: Any) -> Workbench:
    """Prepare 8 simulated machines of 600 rows in a new folder, and train for 4 epochs at most."""
    config = make_config(
        {
            "name": "bench",
            "data": {"source": "machine", "machines": 8, "rows": 600},
            "sequence_length": {"low": 8, "high": 24},
            "objective": {"metric": "accuracy"},
            "training": {"max_epochs": 4},
            **settings,
        }
    )
    _, data = prepare_data(config, folder / "data")
    weights = folder / "weights"
    weights.mkdir()
    return Workbench(WorkerSetup(config=config, data=data, weights=weights, log=folder / "log"))
