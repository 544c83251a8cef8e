"""A candidate's curve: every epoch is scored, reported, judged and kept."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras

from search.data.sequences import Array
from search.disk import wait_for_room
from search.errors import DivergedTraining
from search.messages import DiskNews, EpochReport, Outcome, Scalar, TrialEnded, Verdict
from search.tasks import break_tie
from search.worker.checkpoints import (
    Checkpoint,
    get_state,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
    set_state,
)
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.memory import own_memory_mb
from search.worker.own_fit import fits_itself
from search.worker.spending import Spending
from search.worker.workbench import Candidate, Workbench


class Channel(Protocol):
    """A worker's line to the driver."""

    def send(self, message: Any) -> None:
        """Hand over one message."""

    def recv(self) -> Any:
        """Wait for one message.

        Raises:
            EOFError: If the driver is gone.
        """


def keep(write: Callable[[], None], path: Path, channel: Channel) -> None:
    """Write a file; while the disk is full, tell the driver and wait."""
    turns = iter((True, False))
    wait_for_room(
        write,
        place=path,
        say=lambda text: channel.send(DiskNews(text=text, waiting=next(turns))),
    )


def name_training(logs: Mapping[str, float]) -> dict[str, float]:
    """Name what Keras measured on training batches as it is recorded."""
    return {f"train_{name}": float(value) for name, value in logs.items() if "val_" not in name}


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
        self.latency_ms: float | None = None
        self._bench = bench
        self._channel = channel
        self._start = time.monotonic()
        self._epoch_start = self._start
        self.spending = Spending()
        self._values: list[float] = []
        self._metrics: list[Mapping[str, float]] = []
        self._identity: Mapping[str, Any] = {}
        self._checkpoint: Path | None = None
        self._own: tuple[Path, Checkpoint | None] | None = None
        self._announce: Callable[[int], None] | None = None
        self.answers: Mapping[str, Scalar] | None = None

    def go_on(
        self, identity: Mapping[str, Any], path: Path, announce: Callable[[int], None]
    ) -> None:
        """Keep checkpoints, and take up the one that is there, if it is of this trial.

        A hypermodel's own ``fit`` may do anything before Keras trains: then ``begin_own`` does it.

        Args:
            identity: What the trial is.
            path: Where its checkpoint lies.
            announce: Hears once how many epochs are trained already, when that is known.
        """
        self._identity, self._announce = identity, announce
        found = load_checkpoint(path, identity)
        if fits_itself(self.candidate.hypermodel) and not (found and found.answers is not None):
            self._own = path, found
            return
        self._checkpoint = path
        self._take_up(found)
        self._say_built()

    def begin_own(self, plain: bool) -> int:
        """Take up the checkpoint as Keras begins to train for a hypermodel's own ``fit``.

        Args:
            plain: Whether it trains in a way that can be taken up.

        Returns:
            How many epochs are trained already.
        """
        if self._own is not None:
            path, found = self._own
            if plain:
                self._checkpoint = path
                self._take_up(found)
            else:
                remove_checkpoint(path)
                self._checkpoint = None
        self._say_built()
        return self.epochs if plain else 0

    def end_own(self, answers: Mapping[str, Scalar]) -> None:
        """Keep that a hypermodel's own ``fit`` has ended, and what it had asked for."""
        if self._checkpoint is not None and self.verdict.outcome is None:
            self._save(self._checkpoint, answers)

    def _take_up(self, found: Checkpoint | None) -> None:
        if found is None or not set_state(self.candidate.model, found):
            return
        self._values, self._metrics = list(found.values), list(found.metrics)
        self.best_weights = list(found.best)
        self._start -= found.seconds
        self.answers = found.answers

    def _say_built(self) -> None:
        if self._announce is not None:
            self._announce(self.epochs)
            self._announce = None

    @property
    def epochs(self) -> int:
        """How many epochs have ended."""
        return len(self._values)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Count the first step apart: it compiles the candidate."""
        self.spending.watch_first_step(self.model)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the time."""
        self._epoch_start = time.monotonic()
        if "first_step" in self.spending.seconds:
            self.spending.mark()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Score the validation side, report, and hear the verdict."""
        if self.verdict.outcome is not None:  # a loop of a person's own that trains on
            return
        self._say_built()  # a loop of a person's own: Keras never began to train
        self.spending.since("training")
        train = name_training(logs or {})
        if not math.isfinite(train.get("train_loss", 0.0)):
            raise DivergedTraining(f"The loss must stay finite. Received: {train['train_loss']}.")
        try:
            with self.spending.on("scoring"):
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
        with self.spending.on("waiting"):
            self.verdict = self._channel.recv()
        waited = len(self._values) - 1 - self.best_epoch
        if waited >= self._bench.config.training.patience:
            self.reason = f"no better epoch in {waited}"
        kept = {None, Outcome.INTERRUPTED}
        if self._bench.config.pruner.second_chances:
            kept.add(Outcome.PRUNED)
        goes_on = not self.reason and self.verdict.outcome in kept
        # An own fit may do more after its last epoch: ``end_own`` says when it is through.
        if (
            goes_on
            and self._checkpoint is not None
            and (self._own is None or epoch + 1 < self.params["epochs"])
        ):
            self._save(self._checkpoint)
        if self.verdict.outcome is not None or self.reason:
            self.model.stop_training = True

    def _save(self, path: Path, answers: Mapping[str, Scalar] | None = None) -> None:
        state = Checkpoint(
            identity=self._identity,
            answers=answers,
            values=self._values,
            metrics=self._metrics,
            seconds=time.monotonic() - self._start,
            best=self.best_weights,
            **get_state(self.candidate.model),
        )
        with self.spending.on("keeping"):
            keep(lambda: save_checkpoint(state, path), path, self._channel)

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
            spent=self.spending.seconds,
            memory_mb=own_memory_mb(),
            latency_ms=self.latency_ms,
        )
