"""All that passes between the driver and a worker: a handful of frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

from search.config import StudyConfig

Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[str | int | float]]]
"""The heads of the columns, and the lines."""
Scalar: TypeAlias = bool | int | float | str | None
Parameters: TypeAlias = Mapping[str, Scalar]


class Outcome(StrEnum):
    """What became of a trial."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    OVERSIZED = "oversized"
    INVALID = "invalid"
    OVERTIME = "overtime"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Ctrl-C came: the trial stays open and the same command continues it."""


@dataclass(frozen=True, kw_only=True)
class IntDomain:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class FloatDomain:
    """Real numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class ChoiceDomain:
    """One of some values that have no order."""

    values: tuple[Scalar, ...]


Domain: TypeAlias = IntDomain | FloatDomain | ChoiceDomain


# Driver to worker.


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker is started with.

    Attributes:
        config: The study.
        data: Folder of the prepared data.
        weights: Folder that checkpoints and the best epoch's weights of each trial go to.
        log: File that the worker's own output goes to.
        cores: The CPU cores that it may use; empty for all.
        gpu: The GPU that it may use, as CUDA names it; empty for none to choose.
        gpu_sharers: How many workers train on that GPU.
        gpu_memory_mb: This worker's part of what that GPU has, in MiB; ``None`` where nobody knows.
    """

    config: StudyConfig
    data: Path
    weights: Path
    log: Path
    cores: tuple[int, ...] = ()
    gpu: str = ""
    gpu_sharers: int = 1
    gpu_memory_mb: int | None = None


def checkpoint_path(folder: Path, number: int) -> Path:
    """Name the file that a trial's state is written to after each epoch, until it has ended.

    Args:
        folder: The study's ``WorkerSetup.weights``.
        number: The trial's number.

    Returns:
        The file; the state of the epoch before lies beside it, under a longer name.
    """
    return folder / f"trial_{number:05d}.checkpoint"


@dataclass(frozen=True, kw_only=True)
class ListSpace:
    """Build the default candidate once, without training, and list what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one epoch of a candidate consists of.

    Attributes:
        steps: Steps of training.
        waits: Steps that its recurrent layers take one after another, in all of those.
        work: Multiplications of a weight, in all of those.
    """

    steps: int
    waits: int
    work: float


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How long the parts of an epoch take here, in seconds, as earlier trials have shown."""

    epoch: float
    step: float
    wait: float
    work: float

    def predict(self, cost: Cost) -> float:
        """Predict how long one epoch takes, scored and reported, in seconds."""
        steps = self.step * cost.steps + self.wait * cost.waits
        return self.epoch + steps + self.work * cost.work


@dataclass(frozen=True, kw_only=True)
class TrainTrial:
    """Build and train the candidate of one trial.

    Attributes:
        number: The trial's number in its study.
        seed: Seeds the weights, the order of batches and dropout.
        rates: How long things take here; ``None`` while too little is known.
    """

    number: int
    seed: int
    rates: Rates | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The value that a worker asked for, in the domain that it named."""

    value: Scalar


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether training goes on after a reported epoch.

    Attributes:
        outcome: ``None`` to go on, else how the trial ends.
        reason: One sentence for the person who reads the trial.
    """

    outcome: Outcome | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RefitTrial:
    """Train a complete trial's candidate once more, on training and validation targets together.

    Epochs are reported, without a score, and ``TrialEnded`` follows.

    Attributes:
        number: The trial's number.
        parameters: The hyperparameters that rebuild it, as the trial recorded them.
        seed: The trial's seed.
        epochs: How many epochs to train: up to the trial's best one in the search.
    """

    number: int
    parameters: Parameters
    seed: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class RepeatTrial:
    """Train a complete trial's candidate again and score it, with a fresh seed.

    Epochs are reported and ``TrialEnded`` follows, as for a trial.

    Attributes:
        number: The trial's number.
        parameters: The hyperparameters that rebuild it, as the trial recorded them.
        seed: The fresh seed.
        data: Folder of the prepared data, whose validation side may be another than the study's.
        epochs: For how many epochs: the last one counts, so that nothing is chosen by the targets
            that score it. ``None`` to train as in the search, where the best epoch counts.
        weights: Where the weights of the epoch that counts go; ``None`` to keep none.
    """

    number: int
    parameters: Parameters
    seed: int
    data: Path
    epochs: int | None = None
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A trained candidate: the model that is scored and exported, or one of those it is the mean of.

    Attributes:
        number: The trial's number.
        parameters: The hyperparameters that rebuild it, as the trial recorded them.
        seed: The trial's seed.
        weights: Path of the weights file.
        epochs: How long it was trained.
    """

    number: int
    parameters: Parameters
    seed: int
    weights: str
    epochs: int


@dataclass(frozen=True, kw_only=True)
class ScoreMembers:
    """Score the mean prediction of trained candidates.

    Attributes:
        members: One or more.
        side: Whose targets.
        data: Folder of the prepared data; ``None`` for the study's own.
    """

    members: tuple[Member, ...]
    side: Literal["validation", "test"] = "test"
    data: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Leave: no more work comes."""


ToWorker: TypeAlias = (
    ListSpace | TrainTrial | Answer | Verdict | RepeatTrial | RefitTrial | ScoreMembers | Stop
)


# Worker to driver.


@dataclass(frozen=True, kw_only=True)
class WorkerReady:
    """The worker has loaded its libraries and the data.

    Attributes:
        pid: Its process id.
        versions: Name and version of the libraries that train.
        device: What it trains on, as the backend names it.
    """

    pid: int
    versions: Mapping[str, str]
    device: str


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One hyperparameter that the default candidate asked for.

    Attributes:
        name: The name under which it is asked for.
        domain: What may be answered.
        default: The answer of the first trial.
    """

    name: str
    domain: Domain
    default: Scalar


@dataclass(frozen=True, kw_only=True)
class SpaceListed:
    """The answer to ``ListSpace``.

    Attributes:
        listing: The hyperparameters, in the order asked for.
        error: Why the default candidate cannot be built, or empty.
        notes: What a person should know, for example a name asked for twice.
        memory_mb: What training the default candidate will take, beside what a worker holds
            anyway, in MiB, as a guess.
    """

    listing: tuple[Listed, ...]
    error: str = ""
    notes: tuple[str, ...] = ()
    memory_mb: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A hyperparameter that ``build`` asks for.

    Attributes:
        name: The hyperparameter's name.
        domain: What may be answered.
        default: The space's own default, in that domain.
    """

    name: str
    domain: Domain
    default: Scalar


@dataclass(frozen=True, kw_only=True)
class CandidateBuilt:
    """The candidate exists and is about to be trained.

    Attributes:
        parameters: Every hyperparameter's value, in the space's own units.
        parameter_count: Trainable and other weights, counted as numbers.
        targets_hash: Hash of the validation targets that it will be scored on: the same for
            every trial of a study, whatever its sequence length.
        notes: What the space clipped, one sentence each.
        epochs: Epochs that it was trained before its worker died: it goes on after them.
        cost: What an epoch consists of; ``None`` where nobody can say: of a ``fit`` of the
            hypermodel's own, or a model whose layers cannot be listed.
        latency_ms: The median time of a prediction for one window, in milliseconds, where the study
            has a limit for it or wants it small.
    """

    parameters: Parameters
    parameter_count: int
    targets_hash: str = ""
    notes: tuple[str, ...] = ()
    epochs: int = 0
    cost: Cost | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """One epoch's end.

    Attributes:
        epoch: From 0.
        metrics: Name to value: ``val_...`` on validation, ``train_...`` on training batches.
        objective: The objective's value at this epoch.
        best: The best value of the objective so far: what the pruner sees.
        seconds: Training and validation time of the epoch.
    """

    epoch: int
    metrics: Mapping[str, float]
    objective: float
    best: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DiskNews:
    """The worker waits for room on a disk, or there is room again.

    Attributes:
        text: One sentence for the person who can make room.
        waiting: Whether it waits from now on.
    """

    text: str
    waiting: bool


@dataclass(frozen=True, kw_only=True)
class TrialEnded:
    """How a trial ended.

    Attributes:
        outcome: What became of it.
        value: The objective at the epoch that counts, the best one but for a repeat of given
            length; ``None`` if no epoch ended.
        best_epoch: From 0, or ``None`` if no epoch ended.
        epochs: How many epochs ended.
        parameters: Every hyperparameter's value, in the space's own units.
        metrics: The metrics of the best epoch.
        seconds: From the order to the end, in seconds.
        spent: What they went to, in seconds, of the worker that ended it: see ``Spending`` there.
        reason: One sentence, where the outcome needs one.
        traceback: Where a candidate failed, else empty.
        weights: Path of the best epoch's weights, or empty.
        memory_mb: Memory of its worker's own afterwards, in MiB; 0 where the system does not say.
        latency_ms: The median time of a prediction for one window, in milliseconds, beside whatever
            else ran then; ``None`` where it was not measured. As Keras computes it from an export where
            the study has a limit for it or wants it small, else by the worker's own faster kernels.
    """

    outcome: Outcome
    value: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    parameters: Parameters = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    spent: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    traceback: str = ""
    weights: str = ""
    memory_mb: float = 0.0
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrialScored:
    """The answer to ``ScoreMembers``.

    Attributes:
        metrics: Metrics on the side's targets, without prefix.
        tables: What the metrics do not say, by name: a confusion matrix, errors by step ahead.
    """

    metrics: Mapping[str, float]
    tables: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkerFailed:
    """Anything but a candidate's own error: the study stops.

    Attributes:
        traceback: The worker's traceback.
        mistake: One sentence, if the person who runs the study can mend it; else empty.
    """

    traceback: str
    mistake: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """Said by an executor: the worker of a slot is gone and another is on its way.

    Attributes:
        reason: What is known of the cause, for example "killed by signal 9".
        out_of_memory: Whether memory ran out: another worker would end as this one did.
    """

    reason: str
    out_of_memory: bool = False


FromWorker: TypeAlias = (
    WorkerReady
    | SpaceListed
    | Question
    | CandidateBuilt
    | EpochReport
    | DiskNews
    | TrialEnded
    | TrialScored
    | WorkerFailed
    | WorkerDied
)
