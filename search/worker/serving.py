"""Orders come in from the driver, and what became of them goes back, one at a time."""

import importlib.metadata
import os
import traceback
from collections.abc import Callable

import keras

from search.errors import SearchError
from search.messages import (
    Answer,
    ListSpace,
    Question,
    RefitTrial,
    RepeatTrial,
    Scalar,
    ScoreMembers,
    SpaceListed,
    Stop,
    TrainTrial,
    TrialScored,
    WorkerFailed,
    WorkerReady,
    WorkerSetup,
)
from search.worker.curve import Channel
from search.worker.hyperparameters import AskingHyperParameters, replay
from search.worker.members import rebuild
from search.worker.memory import USUALLY, least_training_mb, limit_gpu_memory
from search.worker.own_fit import fits_itself
from search.worker.retraining import refit_trial, repeat_trial
from search.worker.training import count_steps, run_trial
from search.worker.workbench import Workbench, memory_errors
from spaces import SPACES

LIBRARIES = ("keras", "keras-tuner", "numpy")


def serve(channel: Channel, setup: WorkerSetup) -> None:
    """Work until told to stop or until the driver is gone.

    A bug is sent to the driver with its traceback before it ends the worker.

    Args:
        channel: The line to the driver.
        setup: The study, its data, and where weights go.
    """
    try:
        if setup.gpu_sharers > 1 and setup.gpu_memory_mb is not None:
            limit_gpu_memory(setup.gpu_memory_mb)
        bench = Workbench(setup)
        channel.send(WorkerReady(pid=os.getpid(), versions=_versions(), device=_device()))
        while not isinstance(order := channel.recv(), Stop):
            _carry_out(order, bench, channel)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except BaseException as exc:
        mistake = str(exc) if isinstance(exc, SearchError) else ""
        channel.send(WorkerFailed(traceback=traceback.format_exc(), mistake=mistake))
        if not mistake:
            raise


def _carry_out(order: object, bench: Workbench, channel: Channel) -> None:
    match order:
        case ListSpace():
            channel.send(list_space(bench))
        case TrainTrial():
            hp = AskingHyperParameters(ask=_asker(channel))
            channel.send(run_trial(bench, order, channel, hp))
        case RepeatTrial():
            channel.send(repeat_trial(bench, order, channel, replay(order.parameters)))
        case RefitTrial():
            channel.send(refit_trial(bench, order, channel, replay(order.parameters)))
        case ScoreMembers():
            with memory_errors():
                there = bench if order.data is None else bench.on(order.data)
                metrics, tables = there.examine(rebuild(there, order.members), order.side)
            channel.send(TrialScored(metrics=metrics, tables=tables))
        case _:
            raise TypeError(f"order must be one of ToWorker. Received: order={order!r}.")


def list_space(bench: Workbench) -> SpaceListed:
    """Build the default candidate and list what its space asked for.

    Args:
        bench: The worker's data and task.

    Returns:
        The hyperparameters and their defaults, or why the candidate cannot be built: whatever
        a person's own ``build`` raises is theirs to mend.
    """
    hp = AskingHyperParameters(ask=lambda question: question.default)
    try:
        candidate = bench.build(hp, seed=0)
        bench.check(candidate)
    except SearchError as exc:
        return SpaceListed(listing=hp.listing, error=str(exc), notes=hp.notes)
    except Exception as exc:  # a person's own build may raise anything, and it is theirs to mend
        if bench.config.space in SPACES:
            raise
        return SpaceListed(listing=hp.listing, error=_blame(exc, bench.config.space))
    memory_mb = 0.0
    if not fits_itself(candidate.hypermodel):  # else its own ``fit`` chooses its batches
        size, _ = count_steps(bench, hp, bench.count_targets(["train"]))
        memory_mb = USUALLY * least_training_mb(candidate.model, size)
    return SpaceListed(listing=hp.listing, notes=candidate.notes, memory_mb=memory_mb)


def _blame(exc: Exception, space: str) -> str:
    """Name the line of a person's own space that raised."""
    last = traceback.extract_tb(exc.__traceback__)[-1]
    return (
        f"space must build its default candidate: {type(exc).__name__}: {exc} "
        f"({last.filename}, line {last.lineno}). Received: space={space!r}."
    )


def _asker(channel: Channel) -> Callable[[Question], Scalar]:
    def ask(question: Question) -> Scalar:
        channel.send(question)
        answer = channel.recv()
        if not isinstance(answer, Answer):
            raise TypeError(f"answer must be an Answer. Received: answer={answer!r}.")
        return answer.value

    return ask


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    return {name: importlib.metadata.version(name) for name in (*LIBRARIES, backend)}


def _device() -> str:
    return ", ".join(keras.distribution.list_devices())
