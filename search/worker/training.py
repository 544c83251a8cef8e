"""One suggestion becomes a trained candidate: build, fit, epoch reports, best-epoch weights."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from search.data.sequences import Array, Side
from search.errors import (
    CandidateError,
    ConfigError,
    DivergedTraining,
    InvalidArchitecture,
    OutOfMemory,
    OversizedModel,
    OvertimeTraining,
)
from search.messages import (
    CandidateBuilt,
    Cost,
    Outcome,
    Rates,
    TrainTrial,
    TrialEnded,
    checkpoint_path,
)
from search.worker.batches import epoch_order, make_batches
from search.worker.costs import count_cost
from search.worker.curve import Channel, Curve, keep
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.memory import check_memory
from search.worker.own_fit import fits_itself, watch_fit
from search.worker.weights import save_weights
from search.worker.workbench import Candidate, Workbench, candidate_errors, memory_errors

OUTCOMES: Mapping[type[CandidateError], Outcome] = {
    InvalidArchitecture: Outcome.INVALID,
    OversizedModel: Outcome.OVERSIZED,
    DivergedTraining: Outcome.DIVERGED,
    OutOfMemory: Outcome.OUT_OF_MEMORY,
    OvertimeTraining: Outcome.OVERTIME,
}
SURELY = 2.0
"""An epoch is predicted to take too long only if it is so many times as long as it may be."""


def run_trial(
    bench: Workbench, order: TrainTrial, channel: Channel, hp: AskingHyperParameters
) -> TrialEnded:
    """Build and train one candidate, reporting every epoch.

    After each epoch that the driver has heard of and let pass, the whole state is written to the
    trial's checkpoint; where there is one, training goes on from it and ends as if it had never
    stopped. So it does where a hypermodel's own ``fit`` has Keras train once, on the given data with
    the given callbacks alone, but for the order of its rows, which Keras draws anew; any other
    begins again.

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
        with memory_errors():
            return _run(bench, order, channel, hp, curve)
    except CandidateError as exc:
        return curve.ended(hp, OUTCOMES[type(exc)], str(exc), trace=traceback.format_exc())


def _run(
    bench: Workbench,
    order: TrainTrial,
    channel: Channel,
    hp: AskingHyperParameters,
    curve: Curve,
) -> TrialEnded:
    """Build, train and keep the candidate; what makes it unusable is raised."""
    with curve.spending.on("building"):
        candidate = bench.build(hp, order.seed)
    targets_hash = bench.data.targets_hash("validation")
    cost = None if fits_itself(candidate.hypermodel) else _count_cost(bench, candidate, hp)
    if bench.config.limits.latency_ms is not None or "latency_ms" in bench.config.objective.also:
        _time_window(bench, candidate, curve, exported=True)

    def announce(epochs: int) -> None:
        channel.send(
            CandidateBuilt(
                parameters=dict(hp.values),
                parameter_count=candidate.model.count_params(),
                targets_hash=targets_hash,
                notes=candidate.notes,
                epochs=epochs,
                cost=cost,
                latency_ms=curve.latency_ms,
            )
        )
        if epochs == 0:
            _check_latency(curve.latency_ms, bench.config.limits.latency_ms)
            _check_time(cost, order.rates, bench.config.training.max_seconds)

    identity = {"seed": order.seed, "parameters": dict(hp.values), "targets": targets_hash}
    curve.candidate = candidate
    curve.go_on(identity, checkpoint_path(bench.weights, order.number), announce)
    hp.values.update(curve.answers or {})
    if curve.answers is None:
        with candidate_errors():
            plan = Plan(
                seed=order.seed,
                epochs=bench.config.training.max_epochs,
                begin=curve.epochs,
                callbacks=[curve],
            )
            fit_candidate(bench, candidate, hp, plan, curve.begin_own)
        if fits_itself(candidate.hypermodel):
            curve.end_own(hp.values)
    if not curve.best_weights:
        raise ConfigError(
            f"space must train with the callbacks that its fit is given: no epoch was reported. "
            f"Received: space={bench.config.space!r}. Hand **kwargs on to model.fit."
        )
    if curve.verdict.outcome is not None:
        return curve.ended(hp, curve.verdict.outcome, curve.verdict.reason)
    path = bench.weights / f"trial_{order.number:05d}.npz"
    candidate.model.set_weights(curve.best_weights)
    with curve.spending.on("keeping"):
        keep(lambda: save_weights(candidate.model, path), path, channel)
    if curve.latency_ms is None:
        _time_window(bench, candidate, curve, exported=False)
    return curve.ended(hp, Outcome.COMPLETE, curve.reason, weights=str(path))


def _time_window(bench: Workbench, candidate: Candidate, curve: Curve, *, exported: bool) -> None:
    with curve.spending.on("latency"):
        curve.latency_ms = bench.time_window(candidate, exported=exported)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and with what a candidate is trained: from epoch ``begin`` up to ``epochs``."""

    seed: int
    epochs: int
    begin: int = 0
    sides: Sequence[Side] = ("train",)
    callbacks: Sequence[keras.callbacks.Callback] = ()


def fit_candidate(
    bench: Workbench,
    candidate: Candidate,
    hp: AskingHyperParameters,
    plan: Plan,
    begin_own: Callable[[bool], int] = lambda plain: 0,
) -> None:
    """Train, by the hypermodel's own ``fit`` where it has one.

    Args:
        bench: The worker's data and task.
        candidate: Built, and restored where training goes on.
        hp: Answers what an own ``fit`` asks for.
        plan: How long and with what.
        begin_own: See ``watch_fit``.

    Raises:
        OutOfMemory: If it is known beforehand that a step does not fit; a ``fit`` of the
            hypermodel's own chooses its batches, so that nothing is known of it.
    """
    data, model = bench.data, candidate.model
    ends = np.concatenate([data.ends[side] for side in plan.sides])
    known = {"epochs": plan.epochs, "callbacks": list(plan.callbacks), "verbose": 0}
    known |= _weigh_classes(bench, plan.sides)
    if fits_itself(candidate.hypermodel):
        held = data.ends["validation"]
        known["validation_data"] = (candidate.inputs.gather(held), candidate.taught.gather(held))
        windows, taught = candidate.inputs.gather(ends), candidate.taught.gather(ends)
        with watch_fit(model, (windows, taught), plan.callbacks, begin_own):
            candidate.hypermodel.fit(hp, model, windows, taught, **known)
        return
    _make_variables(candidate, ends[:1])
    batch_size, steps = count_steps(bench, hp, len(ends))
    check_memory(
        model,
        batch_size,
        limit_mb=bench.config.workers.max_memory_mb,
        gpu_memory_mb=bench.gpu_memory_mb,
    )
    epochs = range(plan.begin, plan.epochs)
    if not epochs:  # the trial had only its end to tell
        return
    orders = (epoch_order(len(ends), batch_size, plan.seed, epoch) for epoch in epochs)
    batches = make_batches(candidate.inputs, candidate.taught, ends, orders=orders, steps=steps)
    known["initial_epoch"] = plan.begin
    asked = max(model.steps_per_execution, bench.config.training.steps_per_execution)
    model.steps_per_execution = _divide(steps, asked)
    model.fit(batches, steps_per_epoch=steps, shuffle=False, **known)


def count_steps(bench: Workbench, hp: AskingHyperParameters, targets: int) -> tuple[int, int]:
    """Say how many targets make a batch, and how many batches an epoch."""
    asked = int(hp.values.get("batch_size", bench.config.training.batch_size))
    batch_size = min(asked, targets)
    return batch_size, -(-targets // batch_size)


def _divide(steps: int, most: int) -> int:
    """Find the greatest divisor up to a limit: what is left over would be taken from the next epoch."""
    return max(one for one in range(1, min(steps, most) + 1) if steps % one == 0)


def _count_cost(bench: Workbench, candidate: Candidate, hp: AskingHyperParameters) -> Cost | None:
    return count_cost(candidate.model, *count_steps(bench, hp, bench.count_targets(["train"])))


def _check_latency(latency_ms: float | None, limit: float | None) -> None:
    """Refuse a candidate that takes too long for a prediction.

    Raises:
        OversizedModel: If it does.
    """
    if latency_ms is not None and limit is not None and latency_ms > limit:
        raise OversizedModel(
            f"limits.latency_ms allows {limit:g} ms for a prediction. Received: a candidate that "
            f"took {latency_ms:.3g} ms; it was not trained."
        )


def _check_time(cost: Cost | None, rates: Rates | None, limit: float | None) -> None:
    """Refuse a candidate of which not even one epoch can be trained in the time there is.

    Raises:
        OvertimeTraining: If an epoch surely takes longer than a trial may.
    """
    if cost is None or rates is None or limit is None:
        return
    seconds = rates.predict(cost)
    if seconds > SURELY * limit:
        raise OvertimeTraining(
            f"training.max_seconds allows {limit:g} s. Received: a candidate of which one epoch "
            f"alone would take about {seconds:.0f} s, as earlier trials show; it was not trained."
        )


def _make_variables(candidate: Candidate, ends: Array) -> None:
    """Make the variables of optimizer and metrics before Keras traces the first step.

    TensorFlow traces twice whatever makes a variable while it is traced.
    """
    model = candidate.model
    model.optimizer.build(model.trainable_variables)
    shape = getattr(model, "output_shape", None)
    if shape is None:  # a subclassed model knows none
        return
    windows, taught = candidate.inputs.gather(ends), candidate.taught.gather(ends)
    model.compute_metrics(windows, taught, keras.ops.zeros((len(ends), *shape[1:])))
    model.reset_metrics()


def _weigh_classes(bench: Workbench, sides: Sequence[Side]) -> dict[str, dict[int, float]]:
    """Let rare classes weigh more where the study asks for it, as scikit-learn's "balanced"."""
    if bench.config.task.class_weights == "none" or bench.config.task.kind != "classification":
        return {}
    labels = np.concatenate([bench.data.labels(side) for side in sides])
    counts = np.bincount(labels, minlength=len(bench.data.card.classes))
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return {"class_weight": dict(enumerate(weights.tolist()))}
