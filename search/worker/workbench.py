"""What one worker keeps from trial to trial, and how it builds and scores a candidate."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

from search.data.preparation import sequence_lengths
from search.data.sequences import Array, SequenceData, Side, gather_windows
from search.errors import InvalidArchitecture, OutOfMemory, OversizedModel
from search.messages import WorkerSetup
from search.tasks import Task, make_task, objective_direction
from search.worker.batches import predict
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.spaces import make_hypermodel, takes_input_shape
from spaces.shapes import ShapeClipped

MEMORY_SIGNS = re.compile(r"resource.?exhausted|out of memory|OOM when allocating", re.IGNORECASE)
"""How TensorFlow and JAX say that memory ran out, in an exception's type or text."""
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")
"""Keras prints parts of its messages in bold."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A built model, and how it is fed.

    Attributes:
        model: The compiled Keras model.
        hypermodel: What built it.
        length: Rows in the windows that it reads.
        notes: What a person should know of its making, for example what was clipped.
    """

    model: Any
    hypermodel: keras_tuner.HyperModel
    length: int
    notes: tuple[str, ...]


class Workbench:
    """The data and task of a study, in one worker."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.config = setup.config
        self.weights = setup.weights
        self.data = SequenceData.load(setup.data)
        self.task: Task = make_task(setup.config)
        self.direction = objective_direction(self.task, setup.config.objective)

    def count_targets(self, sides: Sequence[Side]) -> int:
        """Count the targets of some sides."""
        return sum(len(self.data.ends[side]) for side in sides)

    def build(
        self, hp: AskingHyperParameters, seed: int, sides: Sequence[Side] = ("train",)
    ) -> Candidate:
        """Build the candidate that ``hp`` answers for.

        Args:
            hp: Answers what the space asks for.
            seed: Seeds the weights.
            sides: Whose targets it will be trained on.

        Returns:
            The candidate, built and not trained.

        Raises:
            ConfigError: If the space cannot be found or asks for what cannot be answered.
            InvalidArchitecture: If Keras refuses the model.
            OversizedModel: If it has more weights than ``training.max_parameters``.
            OutOfMemory: If it does not fit.
        """
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)
        length = self._ask_length(hp)
        offered = {
            "input_shape": (length, *self.data.rows.shape[1:]),
            "classes": len(self.data.card.classes),
            "targets": self.count_targets(sides),
            "epochs": self.config.training.max_epochs,
        }
        hypermodel = make_hypermodel(self.config.space, self.config.space_arguments, offered)
        with candidate_errors(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ShapeClipped)
            model = hypermodel.build(hp)
            if not model.built:
                model(self.data.windows("validation", length)[:1])
        limit = self.config.training.max_parameters
        if model.count_params() > limit:
            raise OversizedModel(
                f"training.max_parameters allows {limit:,} weights. "
                f"Received: a model with {model.count_params():,}."
            )
        clipped = [str(w.message) for w in caught if issubclass(w.category, ShapeClipped)]
        notes = (*clipped, *hp.notes)
        return Candidate(model=model, hypermodel=hypermodel, length=length, notes=notes)

    def check(self, candidate: Candidate) -> None:
        """Try the candidate on two windows: score what comes out, and compute its loss.

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
        ends, labels = self.data.ends["validation"][:2], self.data.labels["validation"][:2]
        with candidate_errors():
            outputs = predict(model, self.data.rows, ends, candidate.length)
        self.task.score(labels, outputs, self.data.card)
        with candidate_errors():
            taught = encode_labels(model, labels, len(self.data.card.classes))
            windows = gather_windows(self.data.rows, ends, candidate.length)
            model.compute_loss(x=windows, y=taught, y_pred=model(windows))

    def score(self, candidate: Candidate, side: Side) -> dict[str, float]:
        """Score a candidate on one side's targets.

        Args:
            candidate: Built, and trained or loaded.
            side: Whose targets.

        Returns:
            Metric names and values.
        """
        ends = self.data.ends[side]
        outputs = predict(candidate.model, self.data.rows, ends, candidate.length)
        return dict(self.task.score(self.data.labels[side], outputs, self.data.card))

    def _ask_length(self, hp: AskingHyperParameters) -> int:
        low, high, step = sequence_lengths(self.config.sequence_length, self.data.card.longest)
        if low == high or not takes_input_shape(self.config.space, self.config.space_arguments):
            return int(hp.Fixed("sequence_length", high))
        if step == 1:
            return int(hp.Int("sequence_length", low, high, sampling="log", default=high))
        return int(hp.Int("sequence_length", low, high, step=step, default=high))


def encode_labels(model: Any, labels: Array, classes: int) -> Array:
    """Encode labels as the model's own loss reads them.

    Args:
        model: A compiled Keras model.
        labels: Class numbers of shape (targets,).
        classes: How many classes there are.

    Returns:
        The same numbers, or one column a class for ``categorical_crossentropy``.
    """
    loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "name", "")
    if loss == "categorical_crossentropy":
        return np.eye(classes, dtype="float32")[labels]
    return labels


@contextmanager
def candidate_errors() -> Iterator[None]:
    """Turn what Keras and its backends raise for an unusable candidate into candidate errors.

    Raises:
        InvalidArchitecture: For a ``ValueError``, which Keras raises for impossible shapes.
        OutOfMemory: If memory ran out.
    """
    try:
        yield
    except Exception as exc:
        text = TERMINAL_CODES.sub("", str(exc))
        if isinstance(exc, MemoryError) or MEMORY_SIGNS.search(f"{type(exc).__name__} {text}"):
            raise OutOfMemory(f"The candidate must fit in memory. Received: {text}") from exc
        if isinstance(exc, ValueError) or type(exc).__name__ == "InvalidArgumentError":
            raise InvalidArchitecture(f"The candidate must be buildable. Received: {text}") from exc
        raise
