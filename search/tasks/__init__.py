"""One module a kind of task: its metrics, its scores and its naive baselines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from search.config import ObjectiveConfig, StudyConfig
from search.data.sequences import Array, SequenceCard, SequenceData, Side
from search.errors import ConfigError, nearest

Direction: TypeAlias = Literal["maximize", "minimize"]


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

    def score(self, labels: Array, predictions: Array, card: SequenceCard) -> dict[str, float]:
        """Score predictions by every metric of the task.

        Args:
            labels: What is right, of shape (targets,).
            predictions: What a candidate put out, of shape (targets, ...).
            card: What is known of the data, for example the classes.

        Returns:
            Metric names and values.

        Raises:
            InvalidArchitecture: If the predictions have another form than the task's.
            DivergedTraining: If a prediction is not a finite number.
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
    from search.tasks.classification import Classification  # noqa: PLC0415

    match config.task.kind:
        case "classification":
            return Classification()


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
