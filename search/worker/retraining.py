"""A complete trial's candidate is trained again: to compare it once more, or to be exported."""

import math
import time
import traceback
from collections.abc import Mapping

import keras

from search.data.sequences import Side
from search.errors import CandidateError
from search.messages import EpochReport, Outcome, RefitTrial, RepeatTrial, TrialEnded
from search.worker.curve import Channel, Curve, keep, name_training
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.memory import own_memory_mb
from search.worker.training import OUTCOMES, Plan, fit_candidate
from search.worker.weights import save_weights
from search.worker.workbench import Workbench, candidate_errors, memory_errors

REFIT_SIDES: tuple[Side, ...] = ("train", "validation")


class Alive(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Tells the driver of every epoch, of which there is nothing to score."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.epochs = 0
        self._channel = channel
        self._told = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Say that it ended, else the driver takes a long training for one that hangs."""
        seconds, self._told = time.monotonic() - self._told, time.monotonic()
        self._channel.send(
            EpochReport(
                epoch=epoch,
                metrics=name_training(logs or {}),
                objective=math.nan,
                best=math.nan,
                seconds=seconds,
            )
        )
        self._channel.recv()
        self.epochs = epoch + 1


def repeat_trial(
    bench: Workbench, order: RepeatTrial, channel: Channel, hp: AskingHyperParameters
) -> TrialEnded:
    """Train a complete trial's candidate again with a fresh seed, and score it.

    For a number of epochs that is given it is trained as ``refit_trial`` does, and nothing is
    chosen by the targets that score it; else as the search did.

    Args:
        bench: The worker's task; the order names the data.
        order: The trial, the seed and how long.
        channel: Where reports go and verdicts come from.
        hp: Replays what the trial recorded.

    Returns:
        How it ended this time; a candidate's own error is an outcome, not an exception.
    """
    bench = bench.on(order.data)
    curve = Curve(bench, channel, chooses=order.epochs is None)
    epochs = order.epochs or bench.config.training.max_epochs
    try:
        with curve.spending.on("building"):
            curve.candidate = bench.build(hp, order.seed, epochs=epochs)
        with candidate_errors():
            plan = Plan(seed=order.seed, epochs=epochs, callbacks=[curve])
            fit_candidate(bench, curve.candidate, hp, plan)
    except CandidateError as exc:
        return curve.ended(hp, OUTCOMES[type(exc)], str(exc), trace=traceback.format_exc())
    if curve.verdict.outcome is not None:
        return curve.ended(hp, curve.verdict.outcome, curve.verdict.reason)
    path = order.weights
    if path is not None:
        model = curve.candidate.model
        model.set_weights(curve.best_weights)
        keep(lambda: save_weights(model, path), path, channel)
    return curve.ended(hp, Outcome.COMPLETE, curve.reason, weights=str(path or ""))


def refit_trial(
    bench: Workbench, order: RefitTrial, channel: Channel, hp: AskingHyperParameters
) -> TrialEnded:
    """Train a complete trial's candidate on training and validation targets together.

    Nothing is left to choose the epoch by, so it trains for as long as it took to its best epoch in
    the search. The space is told so: what falls with the epochs, as the learning rate, reaches its
    end.

    Args:
        bench: The worker's data and task.
        order: The trial.
        channel: Where the driver is told of epochs, and that the disk is full.
        hp: Replays what the trial recorded.

    Returns:
        How it ended this time, with the weights file where it is complete.
    """
    start, heard = time.monotonic(), Alive(channel)

    def end(
        outcome: Outcome, *, weights: str = "", reason: str = "", trace: str = ""
    ) -> TrialEnded:
        return TrialEnded(
            outcome=outcome,
            epochs=heard.epochs,
            parameters=dict(hp.values),
            seconds=time.monotonic() - start,
            memory_mb=own_memory_mb(),
            weights=weights,
            reason=reason,
            traceback=trace,
        )

    try:
        candidate = bench.build(hp, order.seed, REFIT_SIDES, order.epochs)
        with candidate_errors():
            plan = Plan(
                seed=order.seed,
                epochs=order.epochs,
                sides=REFIT_SIDES,
                callbacks=[heard],
            )
            fit_candidate(bench, candidate, hp, plan)
        with memory_errors():
            bench.score(candidate, "train")  # refuses predictions that are no numbers
    except CandidateError as exc:
        return end(OUTCOMES[type(exc)], reason=str(exc), trace=traceback.format_exc())
    path = bench.weights / f"refit_{order.number:05d}.npz"
    keep(lambda: save_weights(candidate.model, path), path, channel)
    return end(Outcome.COMPLETE, weights=str(path))
