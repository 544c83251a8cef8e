"""One suggestion becomes a trained candidate: build, fit, epoch reports, best-epoch weights."""

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import keras_tuner
import numpy as np

from search.data.sequences import Array, Side
from search.disk import wait_for_room
from search.errors import (
    CandidateError,
    ConfigError,
    DivergedTraining,
    InvalidArchitecture,
    OutOfMemory,
    OversizedModel,
)
from search.messages import (
    CandidateBuilt,
    DiskNews,
    EpochReport,
    Outcome,
    TrainTrial,
    TrialEnded,
    Verdict,
    checkpoint_path,
)
from search.tasks import break_tie
from search.worker.batches import epoch_order, make_batches
from search.worker.checkpoints import (
    Checkpoint,
    get_state,
    load_checkpoint,
    save_checkpoint,
    set_state,
)
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.memory import check_memory, own_memory_mb
from search.worker.weights import save_weights
from search.worker.workbench import Candidate, Workbench, candidate_errors

OUTCOMES: Mapping[type[CandidateError], Outcome] = {
    InvalidArchitecture: Outcome.INVALID,
    OversizedModel: Outcome.OVERSIZED,
    DivergedTraining: Outcome.DIVERGED,
    OutOfMemory: Outcome.OUT_OF_MEMORY,
}


class Channel(Protocol):
    """A worker's line to the driver."""

    def send(self, message: Any) -> None:
        """Hand over one message."""

    def recv(self) -> Any:
        """Wait for one message.

        Raises:
            EOFError: If the driver is gone.
        """


def run_trial(
    bench: Workbench, order: TrainTrial, channel: Channel, hp: AskingHyperParameters
) -> TrialEnded:
    """Build and train one candidate, reporting every epoch.

    After each epoch that the driver has heard of and let pass, the whole state is written to the
    trial's checkpoint; where there is one, training goes on from it and ends as if it had never
    stopped. A hypermodel with a ``fit`` of its own begins again.

    Args:
        bench: The worker's data and task.
        order: The trial.
        channel: Where reports go and verdicts come from.
        hp: Answers what the space asks for.

    Returns:
        How the trial ended; a candidate's own error is an outcome, not an exception.
    """
    curve = Curve(bench, channel)
    try:
        candidate = bench.build(hp, order.seed)
        targets_hash = bench.data.targets_hash("validation")
        if not _fits_itself(candidate):
            identity = {"seed": order.seed, "parameters": dict(hp.values), "targets": targets_hash}
            curve.go_on(candidate, identity, checkpoint_path(bench.weights, order.number))
        channel.send(
            CandidateBuilt(
                parameters=dict(hp.values),
                parameter_count=candidate.model.count_params(),
                targets_hash=targets_hash,
                notes=candidate.notes,
                epochs=curve.epochs,
            )
        )
        curve.candidate = candidate
        with candidate_errors():
            plan = Plan(
                seed=order.seed,
                epochs=bench.config.training.max_epochs,
                begin=curve.epochs,
                callbacks=[curve],
            )
            fit_candidate(bench, candidate, hp, plan)
    except CandidateError as exc:
        return curve.ended(hp, OUTCOMES[type(exc)], str(exc), trace=traceback.format_exc())
    if not curve.best_weights:
        raise ConfigError(
            f"space must train with the callbacks that its fit is given: no epoch was reported. "
            f"Received: space={bench.config.space!r}. Hand **kwargs on to model.fit."
        )
    if curve.verdict.outcome is not None:
        return curve.ended(hp, curve.verdict.outcome, curve.verdict.reason)
    path = bench.weights / f"trial_{order.number:05d}.npz"
    candidate.model.set_weights(curve.best_weights)
    keep(lambda: save_weights(candidate.model, path), path, channel)
    return curve.ended(hp, Outcome.COMPLETE, curve.reason, weights=str(path))


def keep(write: Callable[[], None], path: Path, channel: Channel) -> None:
    """Write a file; while the disk is full, tell the driver and wait."""
    wait_for_room(write, place=path, say=lambda text: channel.send(DiskNews(text=text)))


class Curve(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Scores and reports every epoch, keeps the best one, and stops ``fit`` when told to.

    Where ``chooses`` is false the last epoch is kept, whatever it scores, and patience never ends it.
    """

    def __init__(self, bench: Workbench, channel: Channel, *, chooses: bool = True) -> None:
        super().__init__()
        self._chooses = chooses
        self.candidate: Candidate
        self.verdict = Verdict()
        self.best_weights: list[Array] = []
        self.reason = ""
        self._bench = bench
        self._channel = channel
        self._start = time.monotonic()
        self._epoch_start = self._start
        self._values: list[float] = []
        self._metrics: list[Mapping[str, float]] = []
        self._identity: Mapping[str, Any] = {}
        self._checkpoint: Path | None = None

    def go_on(self, candidate: Candidate, identity: Mapping[str, Any], path: Path) -> None:
        """Keep checkpoints, and take up the one that is there, if it is of this trial.

        Args:
            candidate: Built as the trial's was.
            identity: What the trial is.
            path: Where its checkpoint lies.
        """
        self._identity, self._checkpoint = identity, path
        found = load_checkpoint(path, identity)
        if found is None:
            return
        set_state(candidate.model, found)
        self._values, self._metrics = list(found.values), list(found.metrics)
        self.best_weights = list(found.best)
        self._start -= found.seconds

    @property
    def epochs(self) -> int:
        """How many epochs have ended."""
        return len(self._values)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the time."""
        self._epoch_start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Score the validation side, report, and hear the verdict."""
        if self.verdict.outcome is not None:  # a loop of a person's own that trains on
            return
        train = {f"train_{k}": float(v) for k, v in (logs or {}).items() if "val_" not in k}
        if not math.isfinite(train.get("train_loss", 0.0)):
            raise DivergedTraining(f"The loss must stay finite. Received: {train['train_loss']}.")
        try:
            scores = self._bench.score(self.candidate, "validation")
        except ValueError as exc:  # ours: the candidate was tried before it was trained
            raise RuntimeError("The validation targets could not be scored.") from exc
        metrics = train | {f"val_{name}": value for name, value in scores.items()}
        value = scores[self._bench.config.objective.metric]
        if not math.isfinite(value):
            raise DivergedTraining(f"The objective must stay finite. Received: {value}.")
        self._values.append(value)
        self._metrics.append(metrics)
        if self.best_epoch == len(self._values) - 1:
            self.best_weights = self.model.get_weights()
        self._channel.send(
            EpochReport(
                epoch=len(self._values) - 1,
                metrics=metrics,
                objective=value,
                best=self._values[self.best_epoch],
                seconds=time.monotonic() - self._epoch_start,
            )
        )
        self.verdict = self._channel.recv()
        waited = len(self._values) - 1 - self.best_epoch
        if waited >= self._bench.config.training.patience:
            self.reason = f"no better epoch in {waited}"
        goes_on = not self.reason and self.verdict.outcome in (None, Outcome.INTERRUPTED)
        if goes_on and self._checkpoint is not None:
            state, path = self._state(), self._checkpoint
            keep(lambda: save_checkpoint(state, path), path, self._channel)
        if self.verdict.outcome is not None or self.reason:
            self.model.stop_training = True

    def _state(self) -> Checkpoint:
        return Checkpoint(
            identity=self._identity,
            values=self._values,
            metrics=self._metrics,
            seconds=time.monotonic() - self._start,
            best=self.best_weights,
            **get_state(self.model),
        )

    @property
    def best_epoch(self) -> int:
        """The epoch with the best objective, from 0, or the last one where none is chosen.

        Of equals, the one that ``break_tie`` prefers, else the earliest.
        """
        if not self._chooses:
            return len(self._values) - 1
        sign = -1.0 if self._bench.direction == "maximize" else 1.0
        ranks = [
            (sign * value, break_tie(metrics))
            for value, metrics in zip(self._values, self._metrics, strict=True)
        ]
        return ranks.index(min(ranks))

    def ended(
        self,
        hp: AskingHyperParameters,
        outcome: Outcome,
        reason: str,
        *,
        trace: str = "",
        weights: str = "",
    ) -> TrialEnded:
        """Sum the trial up."""
        best = self.best_epoch if self._values else None
        return TrialEnded(
            outcome=outcome,
            value=None if best is None else self._values[best],
            best_epoch=best,
            epochs=len(self._values),
            parameters=dict(hp.values),
            metrics={} if best is None else self._metrics[best],
            seconds=time.monotonic() - self._start,
            reason=reason,
            traceback=trace,
            weights=weights,
            memory_mb=own_memory_mb(),
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and with what a candidate is trained: from epoch ``begin`` up to ``epochs``."""

    seed: int
    epochs: int
    begin: int = 0
    sides: Sequence[Side] = ("train",)
    callbacks: Sequence[keras.callbacks.Callback] = ()


def fit_candidate(
    bench: Workbench, candidate: Candidate, hp: AskingHyperParameters, plan: Plan
) -> None:
    """Train, by the hypermodel's own ``fit`` where it has one.

    Raises:
        OutOfMemory: If it is known beforehand that a step does not fit; a ``fit`` of the
            hypermodel's own chooses its batches, so that nothing is known of it.
    """
    data, model = bench.data, candidate.model
    ends = np.concatenate([data.ends[side] for side in plan.sides])
    known = {"epochs": plan.epochs, "callbacks": list(plan.callbacks), "verbose": 0}
    known |= _weigh_classes(bench, plan.sides)
    if _fits_itself(candidate):
        held = data.ends["validation"]
        known["validation_data"] = (candidate.inputs.gather(held), candidate.taught.gather(held))
        windows, taught = candidate.inputs.gather(ends), candidate.taught.gather(ends)
        candidate.hypermodel.fit(hp, model, windows, taught, **known)
        return
    asked = int(hp.values.get("batch_size", bench.config.training.batch_size))
    batch_size = min(asked, len(ends))
    check_memory(model, batch_size, bench.config.workers.max_memory_mb)
    steps = -(-len(ends) // batch_size)
    epochs = range(plan.begin, plan.epochs)
    if not epochs:  # the trial had only its end to tell
        return
    orders = (epoch_order(len(ends), batch_size, plan.seed, epoch) for epoch in epochs)
    batches = make_batches(candidate.inputs, candidate.taught, ends, orders=orders, steps=steps)
    known["initial_epoch"] = plan.begin
    model.fit(batches, steps_per_epoch=steps, shuffle=False, **known)


def _fits_itself(candidate: Candidate) -> bool:
    """Tell whether a hypermodel has a ``fit`` of its own."""
    return type(candidate.hypermodel).fit is not keras_tuner.HyperModel.fit


def _weigh_classes(bench: Workbench, sides: Sequence[Side]) -> dict[str, dict[int, float]]:
    """Let rare classes weigh more where the study asks for it, as scikit-learn's "balanced"."""
    if bench.config.task.class_weights == "none" or bench.config.task.kind != "classification":
        return {}
    labels = np.concatenate([bench.data.labels(side) for side in sides])
    counts = np.bincount(labels, minlength=len(bench.data.card.classes))
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return {"class_weight": dict(enumerate(weights.tolist()))}
