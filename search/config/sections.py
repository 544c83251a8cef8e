"""The sections of a study file but for its data: what each setting means, and what it may be."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Section(BaseModel):
    """Settings that belong together: frozen, none but those that are named, each described by its docstring."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


Border: TypeAlias = Annotated[
    int | str | None,
    BeforeValidator(lambda value: str(value) if isinstance(value, date) else value),
]
"""A row number or a time stamp; TOML has dates of its own."""


class SplitConfig(Section):
    """Which targets train, which choose, which are looked at once. What a source calls an official side stays there."""

    method: Literal["groups", "blocks", "time", "stratified"] = "groups"
    """groups: whole groups on one side; blocks: stretches of neighbouring targets (clips, or places in a recording) on one side, with a gap between the sides; time: in each recording first training, then validation, then test; stratified: single targets, only where clips are independent."""
    validation: float = Field(0.2, gt=0, lt=0.9)
    """Share of the training targets held out to compare candidates."""
    test: float = Field(0.2, gt=0, lt=0.9)
    """Share of all targets held out for the one look at the end; unused with an official test set."""
    blocks: int = Field(5, ge=1)
    """For blocks: stretches that the targets are cut into, each giving its share to every side; the fewer, the longer are those that are held out."""
    gap: int = Field(1, ge=0)
    """For blocks: targets dropped at every border between two sides, beside those whose windows would reach over it."""
    validation_from: Border = None
    """For time: where validation begins, in place of its share: a row of each recording, or a time stamp as '2013-01-01' (in UTC where the data's stamps have an offset)."""
    test_from: Border = None
    """For time: where the test side begins, likewise."""
    until: Border = None
    """For time: where the test side ends; by default with the recording."""
    test_fold: int | None = Field(None, ge=0)
    """With data.folds: the fold that is the test side."""

    @model_validator(mode="after")
    def _check_method(self) -> "SplitConfig":
        """Refuse what another method reads: it would do nothing."""
        of_time = ("time", ("validation_from", "test_from", "until"))
        for method, fields in (of_time, ("blocks", ("blocks", "gap"))):
            for field in fields:
                value = getattr(self, field)
                if self.method != method and value != type(self).model_fields[field].default:
                    raise ValueError(
                        f"split.{field} must come with split.method={method!r}, which alone reads it. "
                        f"Received: {field}={value!r}, method={self.method!r}. Leave it out, or write "
                        f"split.method={method!r}."
                    )
        return self


Kind: TypeAlias = Literal["classification", "regression", "forecasting", "anomaly", "frames"]
METRICS: Mapping[str, str] = {
    "classification": "macro_f1",
    "regression": "rmse",
    "forecasting": "mae",
    "anomaly": "error",
    "frames": "mse",
}
"""The objective where a study names none."""


class TaskConfig(Section):
    """What is predicted."""

    kind: Kind = "classification"
    """classification: the label of the window's last step, or of the clip; regression: values there; forecasting: the rows that follow; anomaly: whether the last step is unlike the normal data; frames: the frames that follow."""
    class_weights: Literal["none", "balanced"] = "none"
    """For classification: whether rare classes weigh more in training."""
    horizon: int = Field(1, ge=1)
    """For forecasting and frames: how many steps ahead are predicted."""
    season: int | None = Field(None, ge=2)
    """For forecasting: rows in one season, as 24 for hourly data with a daily cycle."""
    scores: Literal["original", "scaled"] = "original"
    """For regression and forecasting: whether errors are in the data's own units, or in standard deviations of training."""
    quantile: float = Field(0.999, gt=0, lt=1)
    """For anomaly: the threshold is this quantile of the errors of validation windows without an anomalous row, times the margin."""
    margin: float = Field(1.0, gt=0)
    """For anomaly: see quantile."""
    threshold_by: Literal["all", "recording"] = "all"
    """For anomaly: one threshold from all recordings, or, where split.method is 'time', each recording's own where its validation shows 20 normal targets or more."""
    errors: Literal["squared", "absolute"] = "squared"
    """For anomaly: what is averaged over a window's rows and channels into its score; absolute errors let one channel that drifts weigh less."""
    rule: Literal["window", "covering"] = "window"
    """For anomaly: a target is called anomalous if the window that ends there is over the threshold, or, looking back, if all windows that show its row are."""


class SequenceLengthConfig(Section):
    """The range of the hyperparameter sequence_length: time steps, or frames, that one window shows."""

    low: int | None = Field(None, ge=1)
    """Shortest sequence; by default an eighth of the longest."""
    high: int | None = Field(None, ge=1)
    """Longest sequence; by default as long as the shortest recording (where short ones are left out: as four fifths of them allow), and at most 96 rows but for clips. Every clip must have room for it."""
    step: int = Field(1, ge=1)
    """Distance between one length and the next."""
    max_stride: int = Field(1, ge=1)
    """Above 1, the distance between two steps of a window is searched too, as frame_stride, up to this; what does not fit into the longest sequence is cut down."""

    @model_validator(mode="after")
    def _check_order(self) -> "SequenceLengthConfig":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(
                f"sequence_length.low must not exceed sequence_length.high. "
                f"Received: low={self.low}, high={self.high}."
            )
        return self


class ObjectiveConfig(Section):
    """What is optimised: a metric on validation, and what a candidate costs beside it, if that is asked for."""

    metric: str = ""
    """classification: accuracy, macro_f1 (default), auroc or log_loss; regression: rmse (default), mae or r2; forecasting: mae (default), mse, rmse or mase; anomaly: error (default), average_precision, auroc, f1, far or mar; frames: mse (default), mae, frame_squared_error, ssim or psnr."""
    direction: Literal["maximize", "minimize"] | None = None
    """Which way is better: the metric's own, and no other; for whoever wants it written down."""
    also: tuple[Literal["latency_ms", "parameters"], ...] = ()
    """What is to be small beside it: latency_ms, the time of a prediction as in limits, or parameters, the weights. The study then ends with a front: trials none of which another one beats in everything. The metric alone decides who is pruned, and who wins."""


class TrainingConfig(Section):
    """How long and how large one candidate may be."""

    max_epochs: int = Field(20, ge=1)
    """Epochs of a candidate that is neither pruned nor stopped."""
    patience: int = Field(10, ge=1)
    """Epochs without a better objective after which a candidate is stopped."""
    batch_size: int = Field(64, ge=1)
    """Targets in one step, for a space that does not ask for a hyperparameter batch_size; the built-in spaces do."""
    refit: bool = True
    """Whether the winner, with winner.members each member, is trained once more, on training and validation targets together and for as many epochs as its best one in the search was, before the one look at the test set. Never for anomaly, whose threshold rests on validation targets that were not learned."""
    max_seconds: float | None = Field(None, gt=0)
    """Time that one trial may take in one go, in seconds; then it ends as overtime, and the sampler learns from it."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """What candidates compute with while they are trained and scored: Keras's policies. The mixed ones are faster on GPUs that have such units, and cost some of the score's last digits; weights, and what is exported, stay float32."""
    jit_compile: bool | Literal["auto"] = "auto"
    """Whether XLA compiles candidates. auto: as Keras and the space have it, which is no on a CPU, where compiling takes longer than it saves."""
    steps_per_execution: int = Field(1, ge=1)
    """Training steps that the backend takes at once, or the most below that go into an epoch without a rest; a space that asks for more in compile gets them. It saves the work between steps, which only the shortest feel."""


class LimitsConfig(Section):
    """What a candidate may be at most: one that is more is not trained, and the sampler learns from it. Memory has its limit in workers.max_memory_mb."""

    parameters: int = Field(5_000_000, ge=1)
    """Weights."""
    size_mb: float | None = Field(None, gt=0)
    """What its weights take as they are exported, 4 bytes each, in MiB; what a format adds is not counted."""
    latency_ms: float | None = Field(None, gt=0)
    """The median time of a prediction for one window by Keras, as from an export, in milliseconds, measured before it is trained, by its worker, while the others train. Formats of other runtimes have times of their own, which an export measures."""

    def most_weights(self) -> tuple[int, str]:
        """Say how many weights a candidate may have, and the setting that says so."""
        if self.size_mb is not None and self.size_mb * 2**20 / 4 < self.parameters:
            return int(self.size_mb * 2**20 / 4), "limits.size_mb"
        return self.parameters, "limits.parameters"


class SamplerConfig(Section):
    """Who suggests the next trial."""

    name: Literal["tpe", "gp", "cmaes", "random", "grid"] = "tpe"
    """Optuna's sampler. tpe: tree-structured Parzen estimators, for every space; gp: a Gaussian process, for few trials of numbers (extra gp); cmaes: an evolution strategy, for many trials of numbers; random; grid: every combination of sampler.grid."""
    settings: dict[str, bool | int | float | str | None] = {}
    """What the sampler is told beside its seed, in the words of Optuna's class: n_startup_trials, for example."""
    grid: dict[str, tuple[bool | int | float | str, ...]] = {}
    """For grid: values by hyperparameter. After the defaults and the queue every combination is tried, then the study ends, whatever its budget; what is not named keeps its default."""
    queue: tuple[dict[str, bool | int | float | str], ...] = ()
    """Hyperparameters known to be good, tried first: trial 0 has the defaults, then come these in their order, each in the words of the trials' pages. What one leaves out is suggested."""
    warm_start: tuple[str, ...] = ()
    """Where good candidates are known from, which are tried next: names of studies in the same storage folder, and folders of KerasTuner projects."""
    warm_candidates: int = Field(3, ge=1)
    """Best candidates of each source of sampler.warm_start."""

    @model_validator(mode="after")
    def _check_grid(self) -> "SamplerConfig":
        if (self.name == "grid") != bool(self.grid):
            raise ValueError(
                f"sampler.grid must have values where sampler.name is 'grid', and only there. "
                f"Received: name={self.name!r}, grid={self.grid}."
            )
        empty = [name for name, values in self.grid.items() if not values]
        if empty:
            raise ValueError(
                f"sampler.grid.{empty[0]} must list one value at least. Received: an empty list."
            )
        return self


class PrunerConfig(Section):
    """Who ends a trial early."""

    name: Literal["median", "early", "percentile", "successive_halving", "hyperband", "none"] = (
        "median"
    )
    """median: after every epoch who is worse than the median of the completed trials then ends; early: at one early epoch only the best share goes on; Optuna's percentile, successive_halving and hyperband; none: all run to the end."""
    epoch: int | None = Field(None, ge=1)
    """The epoch, counted from 1, at which it is first decided who goes on. By default 3 for early and 1 for successive_halving and hyperband; median and percentile decide after every epoch from there, by default from the first whose ranks are about those of the end, among the trials that no pruner could end: the first five complete ones and those that are immune."""
    keep: float | None = Field(None, gt=0, le=1)
    """The share that goes on, by default 0.1 for early and 0.25 for others: of all trials seen so far; of completed ones for percentile, and at every rung for successive_halving and hyperband, as a part of 2, 3, 4 or more. median ignores it."""
    settings: dict[str, bool | int | float | str | None] = {}
    """What the pruner is told beside its epoch and share, in the words of Optuna's class: n_startup_trials, for example."""
    immune: float = Field(0.0, ge=0, le=1)
    """The share of trials that run to the end whatever the pruner says, drawn by their numbers: what it costs to know how good pruned ones would have become."""
    second_chances: bool = False
    """For early: whether a trial that was pruned, and would go on if it were judged now, is continued from where it stopped, before another is begun. The budget's trials do not count it, its epochs do."""
    kept: int = Field(10, ge=1)
    """Pruned trials, the best ones, of which is kept what it takes to continue them."""
    patience: int = Field(0, ge=0)
    """Epochs without a better value that a trial may have before the pruner is asked; 0: it is always asked."""

    @model_validator(mode="after")
    def _check_second_chances(self) -> "PrunerConfig":
        if self.second_chances and self.name != "early":
            raise ValueError(
                f"pruner.second_chances must come with pruner.name 'early': only its bar can be passed "
                f"later. Received: name={self.name!r}."
            )
        return self

    @model_validator(mode="after")
    def _check_patience(self) -> "PrunerConfig":
        if self.name == "early" and self.patience >= self.first:
            raise ValueError(
                f"pruner.patience must be below pruner.epoch for 'early', which judges at that epoch "
                f"alone and would end nobody. Received: patience={self.patience}, epoch={self.first}."
            )
        return self

    @property
    def first(self) -> int:
        """The epoch, counted from 1, at which it is first decided who goes on."""
        return self.epoch or (3 if self.name == "early" else 1)

    @property
    def share(self) -> float:
        """The share that goes on."""
        return self.keep or (0.1 if self.name == "early" else 0.25)


class BudgetConfig(Section):
    """When the study stops asking for trials."""

    trials: int = Field(20, ge=1)
    """Trials in the whole study, earlier launches included; candidates that cannot be built are not counted."""
    max_epochs: int | None = Field(None, ge=1)
    """Epochs of all trials together, earlier launches included, after which no further trial is begun; those that run go on to their end."""
    plateau: int | None = Field(None, ge=1)
    """Trials without a better one after which the study ends, and a third of all trials at least: better by more than what two trainings of the default hyperparameters differ by, which are trained three times for this."""
    max_seconds: float | None = Field(None, gt=0)
    """Wall time of the search in this launch, in seconds; running trials end at their next epoch, and the winner waits for the search's end."""
    max_consecutive_failures: int = Field(10, ge=1)
    """Trials in a row that are neither complete nor pruned (failed, diverged, out of memory, oversized, overtime, invalid) after which the study stops."""


class WinnerConfig(Section):
    """How the winner is chosen when the budget is spent: the best validation score of many trials is luck to a part."""

    candidates: int = Field(3, ge=1)
    """Best trials of the search that are trained again, beside the default hyperparameters."""
    repeats: int = Field(3, ge=0)
    """Trainings of each, with fresh seeds and, where the split draws its sides at random, a fresh validation side, for as many epochs as its best one in the search was; the best mean wins. 0: the best trial of the search wins."""
    members: int = Field(1, ge=1)
    """Finalists whose mean prediction is scored on the test set and exported as one model, the best first: more than 1 where data are few and candidates differ. Not for anomaly."""


class WorkersConfig(Section):
    """Who trains."""

    executor: Literal["processes", "ray", "inline"] = "processes"
    """processes: warm worker processes; ray: workers on the machines of a Ray cluster (extra cluster); inline: in the driver's own process, one at a time, for debugging."""
    count: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Trials trained at once. auto: one a GPU, or one a core (at most 8), as far as there is memory for so many of the default candidate; with ray, as many as the cluster has room for at the start. A number that a cluster has no room for yet has its workers once machines come. More than there are GPUs share them, each with its part of the memory and no more."""
    trials_each: int = Field(20, ge=1)
    """Trials after which a worker process is replaced, since TensorFlow's memory grows with each."""
    recycle_mb: int = Field(4096, ge=1)
    """Memory of a worker's own, in MiB, beyond which it is replaced after the trial."""
    max_memory_mb: int | None = Field(None, ge=256)
    """Memory that a worker may ask the system for, in MiB: a candidate that needs more ends as out_of_memory, untrained where that is known beforehand. By default no limit but the machine's, or its GPU's. Not for GPUs, whose libraries reserve far more than they use."""
    max_silent_seconds: float = Field(3600, gt=0)
    """Time without an epoch's end after which a worker is taken for hung, in seconds: it is ended, and its trial taken up again."""
    max_restarts: int = Field(2, ge=0)
    """Times that a trial is taken up again after its worker died, from its last epoch; each new epoch sets them back. As often may a slot's worker die before it is up."""


class ClusterConfig(Section):
    """The Ray cluster of workers.executor 'ray', and what each of its workers gets."""

    address: str = "auto"
    """auto: the cluster that this machine belongs to, or that RAY_ADDRESS names; host:port of its head; ray://host:10001 from outside; local: one on this machine alone, for the time of the launch."""
    cpus: float = Field(1, ge=0)
    """Cores of a worker: a whole number of them is its alone on its machine, unless it has a GPU."""
    gpus: float = Field(0, ge=0)
    """GPUs of a worker: a whole number, or a part of one that it shares, each with its part of the memory."""
    memory_mb: int | None = Field(None, ge=1)
    """Memory that Ray puts aside for a worker as it places it, in MiB; what it may take at most is workers.max_memory_mb."""

    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(
                f"cluster.gpus must be a whole number, or below 1 for a part of one GPU. "
                f"Received: gpus={gpus:g}."
            )
        return gpus

    @model_validator(mode="after")
    def _check_room(self) -> "ClusterConfig":
        if not (self.cpus or self.gpus or self.memory_mb):
            raise ValueError(
                "cluster.cpus must be above 0 where neither cluster.gpus nor cluster.memory_mb is: Ray "
                "would place all workers on one machine. Received: cpus=0."
            )
        return self


class TrackingConfig(Section):
    """Where MLflow keeps the runs."""

    uri: str | None = None
    """Address of an MLflow server or store; by default the embedded one under the storage folder."""
    project: str = Field("lookback", pattern=NAME_PATTERN)
    """The MLflow experiment that holds the runs of this and related studies."""
    max_spool_mb: int = Field(256, ge=1)
    """How much may wait under the storage folder for a tracking store that is away, in MiB; what comes after is named at the end."""
    report_seconds: float = Field(300, gt=0)
    """Time between one report of the running study and the next, in seconds."""


class ExportConfig(Section):
    """What the winner is exported as, beside .keras, SavedModel and the registered model."""

    formats: tuple[Literal["onnx", "litert"], ...] = ("onnx", "litert")
    """Formats of other runtimes, which need the extra 'export' and some seconds each; [] for none."""


class StorageConfig(Section):
    """Where studies, checkpoints and the embedded MLflow store are kept."""

    folder: Path = Path("mlflow_runs")
    """A folder on a local disk; a relative path starts at the working directory. With workers on other machines, one that all of them see under the same path."""
    uri: str | None = Field(None, pattern=r"^postgresql://\S+$")
    """Address of a PostgreSQL database that holds the studies of drivers on many machines, as postgresql://user@host/name (extra cluster); by default a file in the storage folder. libpq finds the password in PGPASSWORD or ~/.pgpass."""
    max_away_seconds: float = Field(300, ge=0)
    """How long the driver waits for a database that is away before it ends, so that the same command goes on, in seconds."""
    kept_models: int = Field(3, ge=1)
    """Best trials whose weights are kept."""

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str | None) -> str | None:
        if uri is not None and (urlsplit(uri).password or "password=" in uri):
            raise ValueError(
                "storage.uri must hold no password, which would be kept with the study: libpq finds "
                "one in PGPASSWORD or ~/.pgpass. Received: a password."
            )
        return uri
