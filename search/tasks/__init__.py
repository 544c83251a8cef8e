"""One module a kind of task: its metrics, its scores and its naive baselines."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from search.config import ObjectiveConfig, StudyConfig
from search.data.sequences import Array, SequenceData, Side, Windows
from search.errors import ConfigError, nearest
from search.messages import Table

Direction: TypeAlias = Literal["maximize", "minimize"]
Predict: TypeAlias = Callable[[Side], Array]
"""From a side to what a model puts out for its targets, of shape (targets, ...)."""


def break_tie(metrics: Mapping[str, float]) -> float:
    """Say how good an epoch is beside others of the same objective.

    Accuracy and macro F1 count targets, and good candidates tie on a few hundred of them; how sure
    they are of the right class still tells them apart.

    Args:
        metrics: Those of the epoch, on validation under the prefix ``val_``.

    Returns:
        The log loss, lower is better; infinity where the task has none.
    """
    value = metrics.get("val_log_loss", math.inf)
    return math.inf if math.isnan(value) else value


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A naive model, fitted once, that every candidate has to beat.

    Attributes:
        name: What it is, in a few words.
        validation: Its scores on the validation targets.
        score: Scores it on another side of the data, as the one look at the test targets does.
    """

    name: str
    validation: Mapping[str, float]
    score: Callable[[SequenceData, Side], dict[str, float]]


class Task(Protocol):
    """What is predicted, how it is scored, and what would do without learning sequences."""

    @property
    def kind(self) -> str:
        """The name of the kind, as the study file writes it."""

    @property
    def directions(self) -> Mapping[str, Direction]:
        """The task's metrics, and which way each is better."""

    def output_shape(self, data: SequenceData, length: int) -> tuple[int, ...]:
        """Say what shape one prediction has.

        Args:
            data: The study's data.
            length: Steps in the windows that the model reads.

        Returns:
            The shape that a space is asked for, without the batch axis.
        """

    def taught(self, data: SequenceData, output_shape: tuple[int, ...]) -> Windows:
        """Say what a model is taught for each target.

        Args:
            data: The study's data.
            output_shape: The shape of one prediction of the model.

        Returns:
            What its loss compares the prediction with.

        Raises:
            InvalidArchitecture: If such a prediction has nothing to be compared with.
        """

    def score(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, float]:
        """Score a model by every metric of the task.

        Args:
            data: The study's data.
            side: Whose targets are scored.
            predict: Gives the model's output for that side, and for others where a threshold
                rests on them.

        Returns:
            Metric names and values.

        Raises:
            InvalidArchitecture: If the predictions have another form than the task's.
            DivergedTraining: If a prediction is not a finite number.
        """

    def tables(self, data: SequenceData, side: Side, predict: Predict) -> Mapping[str, Table]:
        """Say in tables what the metrics do not: where and how predictions are wrong.

        Args:
            data: The study's data.
            side: Whose targets.
            predict: As for ``score``.

        Returns:
            Tables by name, for example "confusion matrix".
        """

    def reading(self, data: SequenceData, predict: Predict) -> Mapping[str, float]:
        """Name the numbers that a prediction is read with, beside the model itself.

        Args:
            data: The study's data.
            predict: As for ``score``.

        Returns:
            For example a threshold; nothing where a prediction speaks for itself.
        """

    def baselines(self, data: SequenceData) -> list[Baseline]:
        """Fit naive models on the training side and score them on validation.

        Args:
            data: The study's data.

        Returns:
            The baselines, the most naive first.
        """


def make_task(config: StudyConfig) -> Task:
    """Make the task that a study names.

    Args:
        config: The study.

    Returns:
        The task; it needs no data until it scores.
    """
    # Imported here because the kinds use this module's words, and scikit-learn is slow to load.
    match config.task.kind:
        case "classification":
            from search.tasks.classification import Classification  # noqa: PLC0415

            return Classification()
        case "regression":
            from search.tasks.regression import Regression  # noqa: PLC0415

            return Regression(config.task)
        case "forecasting":
            from search.tasks.forecasting import Forecasting  # noqa: PLC0415

            return Forecasting(config.task)
        case "anomaly":
            from search.tasks.anomaly import Anomaly  # noqa: PLC0415

            return Anomaly(config.task)
        case "frames":
            from search.tasks.frames import Frames  # noqa: PLC0415

            return Frames()


def objective_direction(task: Task, config: ObjectiveConfig) -> Direction:
    """Say which way the study's objective is better.

    Args:
        task: The task that is scored.
        config: The metric, and a direction where the study gives one.

    Returns:
        The metric's own direction.

    Raises:
        ConfigError: If the task has no such metric, or the direction contradicts it.
    """
    if config.metric not in task.directions:
        raise ConfigError(
            f"objective.metric must be a metric of {task.kind}. "
            f"Received: metric={config.metric!r}. {nearest(config.metric, task.directions)}"
        )
    own = task.directions[config.metric]
    if config.direction not in (None, own):
        raise ConfigError(
            f"objective.direction must be {own!r} for {config.metric}. Received: "
            f"direction={config.direction!r}. Leave it out, or choose another metric."
        )
    return own
