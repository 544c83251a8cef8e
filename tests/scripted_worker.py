"""A worker without a backend, for what every executor must do with any worker."""

import contextlib
import os
import signal
import sys
import threading
from typing import Any

from search.messages import (
    EpochReport,
    ListSpace,
    Outcome,
    ScoreMembers,
    SpaceListed,
    Stop,
    TrainTrial,
    TrialEnded,
    TrialScored,
    WorkerFailed,
    WorkerReady,
    WorkerSetup,
)


def serve(channel: Any, setup: WorkerSetup) -> None:
    """Answer every order; a trial's number chooses what goes wrong."""
    with contextlib.suppress(EOFError):
        _serve(channel)


def hang(channel: Any, setup: WorkerSetup) -> None:
    """Never come up."""
    threading.Event().wait()


def _serve(channel: Any) -> None:
    channel.send(WorkerReady(pid=os.getpid(), versions={}, device="script"))
    while not isinstance(order := channel.recv(), Stop):
        match order:
            case ListSpace():
                channel.send(SpaceListed(listing=()))
            case TrainTrial(number=666):
                os.kill(os.getpid(), signal.SIGKILL)
            case TrainTrial(number=667):
                os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
                os.abort()
            case TrainTrial(number=99):
                channel.send(EpochReport(epoch=0, metrics={}, objective=0.5, best=0.5, seconds=0.0))
                threading.Event().wait()  # an epoch that never ends
            case TrainTrial(number=13):
                channel.send(WorkerFailed(traceback="Traceback: a bug"))
                return
            case TrainTrial():
                print("worker speaks")  # noqa: T201  # it must land in the log, not on the screen
                print("and complains", file=sys.stderr)  # noqa: T201
                _train(channel, order)
            case ScoreMembers():
                cores = float(len(os.sched_getaffinity(0)))
                hidden = float(os.environ.get("CUDA_VISIBLE_DEVICES") == "-1")
                channel.send(TrialScored(metrics={"cores": cores, "hidden_gpus": hidden}))


def _train(channel: Any, order: TrainTrial) -> None:
    for epoch in range(3):
        channel.send(EpochReport(epoch=epoch, metrics={}, objective=0.5, best=0.5, seconds=0.0))
        if channel.recv().outcome is not None:
            break
    channel.send(TrialEnded(outcome=Outcome.COMPLETE, value=0.5, epochs=epoch + 1))
