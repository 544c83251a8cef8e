"""What one worker keeps from trial to trial, and how it builds and scores a candidate."""

import re
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from search.data.sequences import Array, SequenceData, Side, Windows
from search.data.targets import sequence_lengths
from search.errors import CandidateError, InvalidArchitecture, OutOfMemory, OversizedModel
from search.messages import Table, WorkerSetup
from search.tasks import Predict, Task, make_task, objective_direction
from search.tasks.detections import find_clean
from search.tasks.naive import is_seasonal
from search.worker.batches import predict
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.kernels import fuse_lstms, release_lstms
from search.worker.memory import limit_weights
from search.worker.spaces import make_hypermodel, takes_input_shape
from spaces.shapes import ShapeClipped

MEMORY_SIGNS = re.compile(
    r"resource.?exhausted|out of memory|OOM when allocating|Dst tensor is not initialized",
    re.IGNORECASE,
)
"""How TensorFlow and JAX say that memory ran out, in an exception's type or text.

The last is TensorFlow's of a GPU that has no room for what is copied to it (its issue 7025).
"""
FEW = 8
"""Targets that a candidate is tried on before it is trained."""
TIMED = 50
"""Predictions that a candidate's latency is the median of."""
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")
"""Keras prints parts of its messages in bold."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A built model, and how it is fed.

    Attributes:
        model: The compiled Keras model.
        hypermodel: What built it.
        inputs: The windows that it reads.
        taught: What its loss compares its predictions with.
        notes: What a person should know of its making, for example what was clipped.
    """

    model: Any
    hypermodel: keras_tuner.HyperModel
    inputs: Windows
    taught: Windows
    notes: tuple[str, ...]


class Workbench:
    """The data and task of a study, in one worker."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self.config = setup.config
        self.weights = setup.weights
        self.gpu_memory_mb = setup.gpu_memory_mb
        self.data = SequenceData.load(setup.data)
        self.task: Task = make_task(setup.config)
        self.direction = objective_direction(self.task, setup.config.objective)

    def on(self, data: Path) -> "Workbench":
        """Make the same for other prepared data.

        Args:
            data: Their folder.

        Returns:
            A workbench of its own.
        """
        return Workbench(replace(self._setup, data=data))

    @cached_property
    def _seasonal(self) -> bool:
        """Whether a season repeated forecasts training targets better than the last value."""
        task, longest = self.config.task, self.data.card.longest
        if task.kind != "forecasting" or task.season is None or task.season > longest:
            return False
        return is_seasonal(self.data, task.season)

    def count_targets(self, sides: Sequence[Side]) -> int:
        """Count the targets of some sides."""
        return sum(len(self.data.ends[side]) for side in sides)

    def build(
        self,
        hp: AskingHyperParameters,
        seed: int,
        sides: Sequence[Side] = ("train",),
        epochs: int | None = None,
    ) -> Candidate:
        """Build the candidate that ``hp`` answers for.

        Args:
            hp: Answers what the space asks for.
            seed: Seeds the weights.
            sides: Whose targets it will be trained on.
            epochs: For how many epochs at most; ``None`` for ``training.max_epochs``.

        Returns:
            The candidate, built and not trained.

        Raises:
            ConfigError: If the space cannot be found or asks for what cannot be answered.
            InvalidArchitecture: If Keras refuses the model.
            OversizedModel: If it has more weights than ``limits`` allows.
            OutOfMemory: If it does not fit.
        """
        keras.utils.clear_session(free_memory=False)
        keras.config.set_dtype_policy(self.config.training.precision)
        keras.utils.set_random_seed(seed)
        inputs, cut = self._ask_inputs(hp)
        card = self.data.card
        offered = {
            "input_shape": inputs.window_shape,
            "output_shape": self.task.output_shape(self.data, inputs.window_shape[0]),
            "task": self.task.kind,
            "classes": len(card.classes),
            "target_channels": card.target_channels,
            "season": self.config.task.season,
            "seasonal": self._seasonal,
            "channel_names": card.channels,
            # recordings that are scaled apart have no scale in common
            "channel_means": () if card.scaled_apart else card.mean,
            "channel_scales": () if card.scaled_apart else card.scale,
            "targets": self.count_targets(sides),
            "epochs": epochs or self.config.training.max_epochs,
            "metric": self.config.objective.metric,
        }
        hypermodel = make_hypermodel(self.config.space, self.config.space_arguments, offered)
        limit, setting = self.config.limits.most_weights()
        caught: list[warnings.WarningMessage]
        with (
            candidate_errors(),
            limit_weights(limit, setting),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always", ShapeClipped)
            model = hypermodel.build(hp)
            if not model.built:
                model(inputs.gather(self.data.ends["validation"][:1]))
        if model.count_params() > limit:
            raise OversizedModel(
                f"{setting} allows {limit:,} weights. "
                f"Received: a model with {model.count_params():,}."
            )
        jit_compile = self.config.training.jit_compile
        if jit_compile != "auto" and model.compiled:
            model.jit_compile = jit_compile
        fuse_lstms(model)
        clipped = [str(w.message) for w in caught if issubclass(w.category, ShapeClipped)]
        return Candidate(
            model=model,
            hypermodel=hypermodel,
            inputs=inputs,
            taught=self._find_taught(model, inputs),
            notes=(*cut, *clipped, *hp.notes),
        )

    def check(self, candidate: Candidate) -> None:
        """Try the candidate on a few windows: score what comes out, and compute its loss.

        Raises:
            InvalidArchitecture: If it is not compiled, cannot read the windows, or its output
                or loss does not fit the labels.
        """
        model = candidate.model
        if not model.compiled:
            raise InvalidArchitecture(
                "build must return a compiled model. Received: a model without optimizer and "
                "loss. Call model.compile(optimizer, loss) in build."
            )
        also: dict[Side, Array] = {}
        if (
            self.task.kind == "anomaly"
        ):  # thresholds rest on such windows: the first may all be others
            also["validation"] = np.flatnonzero(find_clean(self.data, "validation"))[:1]
        few = self.data.few(FEW, also)
        ends = few.ends["validation"]
        with candidate_errors():
            outputs = predict(model, candidate.inputs, ends)
        self.task.score(few, "validation", lambda side: outputs)
        with candidate_errors():
            windows, taught = candidate.inputs.gather(ends[:2]), candidate.taught.gather(ends[:2])
            model.compute_loss(x=windows, y=taught, y_pred=model(windows))

    def predict(self, candidate: Candidate) -> Predict:
        """Make what predicts for the targets of a side, once for each side.

        Args:
            candidate: Built, and trained or loaded.

        Returns:
            A function from a side to predictions of shape (targets, ...).
        """
        return cache(lambda side: predict(candidate.model, candidate.inputs, self.data.ends[side]))

    def time_window(self, candidate: Candidate, *, exported: bool) -> float:
        """Time a candidate's prediction for one window.

        Args:
            candidate: Built.
            exported: Whether as Keras computes it from an export, without the kernel that is fast in
                training; that takes a second more to trace.

        Returns:
            The median of some predictions, in milliseconds, without the first one, which compiles.
        """
        model = candidate.model
        if exported:
            release_lstms(model)
        window = candidate.inputs.gather(self.data.ends["validation"][:1])
        model.predict_on_batch(window)
        seconds = []
        for _ in range(TIMED):
            begin = time.perf_counter()
            model.predict_on_batch(window)
            seconds.append(time.perf_counter() - begin)
        if exported:
            model.predict_function = None  # what it has traced is without the kernel
            fuse_lstms(model)
        return 1e3 * statistics.median(seconds)

    def score(self, candidate: Candidate, side: Side) -> dict[str, float]:
        """Score a candidate on one side's targets.

        Args:
            candidate: Built, and trained or loaded.
            side: Whose targets.

        Returns:
            Metric names and values.
        """
        return dict(self.task.score(self.data, side, self.predict(candidate)))

    def examine(
        self, candidate: Candidate, side: Side
    ) -> tuple[dict[str, float], dict[str, Table]]:
        """Score a candidate on one side's targets, and say where it is wrong.

        Args:
            candidate: Built, and trained or loaded.
            side: Whose targets.

        Returns:
            Metric names and values, and tables by name.
        """
        predicted = self.predict(candidate)
        scores = dict(self.task.score(self.data, side, predicted))
        return scores, dict(self.task.tables(self.data, side, predicted))

    def _find_taught(self, model: Any, inputs: Windows) -> Windows:
        """Find what a model's predictions are compared with, by their shape and its loss."""
        try:
            shape = model.output_shape[1:]
        except AttributeError:  # a subclassed model knows no shape before it has put something out
            with candidate_errors():
                example = inputs.gather(self.data.ends["validation"][:1])
                shape = keras.ops.shape(model(example))[1:]
        taught = self.task.taught(self.data, tuple(shape))
        return encode_classes(model, taught, len(self.data.card.classes))

    def _ask_inputs(self, hp: AskingHyperParameters) -> tuple[Windows, list[str]]:
        """Ask for sequence length and frame stride; also say what was cut down."""
        config, longest = self.config.sequence_length, self.data.card.longest
        low, high, step = sequence_lengths(config, longest)
        if not takes_input_shape(self.config.space, self.config.space_arguments):
            return self.data.inputs(int(hp.Fixed("sequence_length", high))), []
        if low == high:
            length = int(hp.Fixed("sequence_length", high))
        elif step == 1:
            length = int(hp.Int("sequence_length", low, high, sampling="log", default=high))
        else:
            length = int(hp.Int("sequence_length", low, high, step=step, default=high))
        if config.max_stride == 1:
            return self.data.inputs(length), []
        asked = int(hp.Int("frame_stride", 1, config.max_stride, default=1))
        stride = max(1, min(asked, (longest - 1) // max(1, length - 1)))
        cut = (
            f"frame_stride={asked} became {stride}: {length} steps must lie within {longest} rows."
        )
        return self.data.inputs(length, stride), [cut] if stride != asked else []


def encode_classes(model: Any, taught: Windows, classes: int) -> Windows:
    """Encode class numbers as the model's own loss reads them.

    Args:
        model: A compiled Keras model.
        taught: What it is taught: class numbers, or whatever its task predicts.
        classes: How many classes there are.

    Returns:
        The same, or one column a class for ``categorical_crossentropy``.
    """
    loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "name", "")
    if loss == "categorical_crossentropy" and taught.rows.ndim == 1:
        return replace(taught, rows=np.eye(classes, dtype="float32")[taught.rows])
    return taught


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what is raised where memory runs out, whoever needed it, into a candidate error.

    Raises:
        OutOfMemory: If memory ran out.
    """
    try:
        yield
    except CandidateError:
        raise
    except Exception as exc:
        text = TERMINAL_CODES.sub("", str(exc))
        if isinstance(exc, MemoryError) or MEMORY_SIGNS.search(f"{type(exc).__name__} {text}"):
            raise OutOfMemory(f"The candidate must fit in memory. Received: {text}") from exc
        raise


@contextmanager
def candidate_errors() -> Iterator[None]:
    """Turn what Keras and its backends raise for an unusable candidate into candidate errors.

    Raises:
        InvalidArchitecture: For a ``ValueError``, which Keras raises for impossible shapes.
        OutOfMemory: If memory ran out.
    """
    try:
        with memory_errors():
            yield
    except CandidateError:
        raise
    except Exception as exc:
        text = TERMINAL_CODES.sub("", str(exc))
        if isinstance(exc, ValueError) or type(exc).__name__ == "InvalidArgumentError":
            raise InvalidArchitecture(f"The candidate must be buildable. Received: {text}") from exc
        raise
