"""The study file and the command line become one frozen, checked StudyConfig."""

import argparse
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict, SettingsError

from search.errors import ConfigError, nearest

PATHS = {"path", "sheet"}
"""Settings of a data source that name files."""
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class MachineData(_Section):
    """Simulated multi-sensor machines with known faults; needs no file."""

    source: Literal["machine"] = "machine"
    """Where the data come from: 'machine', 'arrays', 'table', 'video' or 'digits', each with settings of its own."""
    machines: int = Field(24, ge=6, le=10_000)
    """Simulated machines, each with offsets of its own."""
    rows: int = Field(3_000, ge=600, le=1_000_000)
    """Time steps recorded from each machine."""
    stride: int = Field(12, ge=1)
    """Time steps between one target and the next."""
    simulation_seed: int = Field(0, ge=0)
    """Seed of the simulation, apart from the study's."""


Names: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
"""One name or several, as a study file may write them."""


class ArraysData(_Section):
    """Clips in a NumPy file, with a label, values or frames for each."""

    source: Literal["arrays"] = "arrays"
    """Where the data come from: 'machine', 'arrays', 'table', 'video' or 'digits', each with settings of its own."""
    path: Path
    """An .npz file, or a folder of .npy files, one an array; a relative path in a study file starts at that file's folder."""
    sheet: Path | None = None
    """A CSV file with one line a clip, in the clips' order, whose columns can be named like arrays of the file."""
    x: str = "x"
    """Name of the clips in the file, of shape (clips, steps, channels), (clips, steps, bands, channels), for a space of your own, or (clips, frames, height, width, channels)."""
    y: str | None = None
    """Name of the labels (words or whole numbers), of shape (clips,), of the values, of shape (clips,) or (clips, values), of the flags (1 anomalous, 0 normal), of shape (clips,) or (clips, steps), or of the frames to predict, of shape (clips, frames, height, width, channels); by default 'y' where the task needs it."""
    x_test: str | None = None
    """Name of the official test clips, where there are any."""
    y_test: str | None = None
    """Name of what is right for the official test clips."""
    lengths: str | None = None
    """Name of how many steps of each clip are real, of shape (clips,), where clips are padded at their end."""
    groups: str | None = None
    """Name of the group of each clip (subject, machine, source video), of shape (clips,)."""
    sides: str | None = None
    """Name of an official split: 'train', 'validation' or 'test' for each clip, of shape (clips,)."""
    folds: str | None = None
    """Name of the fold of each clip, of shape (clips,): split.test_fold says which one is the test side."""
    channels: str | None = None
    """Name of the channel names, of shape (channels,)."""
    classes: str | None = None
    """Name of the class names, of shape (classes,): label 0 means the first of them."""
    targets: Names = ()
    """For forecasting: the channels to predict; by default all."""
    stride: int = Field(1, ge=1)
    """For forecasting, frames and anomaly: steps between one target of a clip and the next."""


class TableData(_Section):
    """CSV or Parquet: one file, or a folder of recordings."""

    source: Literal["table"] = "table"
    """Where the data come from: 'machine', 'arrays', 'table', 'video' or 'digits', each with settings of its own."""
    path: Path
    """A .csv or .parquet file, or a folder of them, each file a recording of its own; a relative path in a study file starts at that file's folder."""
    pattern: str = "**/*"
    """For a folder: which files, for example 'valve*/*.csv'."""
    separator: str = ","
    """What separates the columns of a CSV file."""
    time: Names = ()
    """The column of time stamps, or several, as ['year', 'month', 'day', 'hour']; numbers are seconds; without one the rows are taken as evenly spaced."""
    unit: str | None = None
    """The column that says which recording a row belongs to (engine, machine, session); windows never cross from one to the next."""
    group: str | None = None
    """The column whose values must not stand on two sides (subject, engine); by default the unit, or the file."""
    sides: str | None = None
    """The column of an official split: 'train', 'validation' or 'test' in each row."""
    channels: Names = ()
    """The columns that the model sees; by default every number column that has no other part."""
    categories: Names = ()
    """Columns of words: each word becomes a channel of zeros and ones."""
    calendar: tuple[Literal["hour", "weekday", "yearday"], ...] = ()
    """What the time stamps tell, each as a sine and a cosine channel."""
    targets: Names = ()
    """The column of the label (an empty cell or nan is none; None and NA are words) or of the flag 'anomalous', the columns of the values, or for forecasting the columns to predict (by default all channels)."""
    stride: int = Field(1, ge=1)
    """Rows between one target and the next."""
    step: str | None = None
    """The time from one row to the next, as '1h' or '10s'; by default the most frequent one."""
    gaps: Literal["refuse", "split", "fill", "ignore"] = "refuse"
    """Where a stamp does not follow the last one by a step: refuse the table, begin a new recording, fill in the missing rows (see missing), or take rows as they come."""
    missing: Literal["refuse", "forward", "drop"] = "refuse"
    """Where a channel has no value: refuse the table, carry the last known value forward (at a recording's start: the next), or drop the targets whose longest window would show it. Targets without a true value are always dropped."""
    short: Literal["refuse", "drop"] = "refuse"
    """Where a recording has no room for the longest sequence and its target: refuse the data, or leave it out. Where gaps = 'split' has cut the data, short ones are always left out."""
    scaling: Literal["all", "recording"] = "all"
    """all: one mean and spread from all training rows; recording: each recording by its own training rows."""


class VideoData(_Section):
    """A folder with one folder of video files a class."""

    source: Literal["video"] = "video"
    """Where the data come from: 'machine', 'arrays', 'table', 'video' or 'digits', each with settings of its own."""
    path: Path
    """The folder; a relative path in a study file starts at that file's folder."""
    height: int = Field(64, ge=1, le=4096)
    """Lines of a frame after decoding."""
    width: int = Field(64, ge=1, le=4096)
    """Pixels in a line after decoding."""
    colour: Literal["grey", "rgb"] = "grey"
    """What is kept of the colours."""
    frame_rate: float = Field(8.0, gt=0, le=240)
    """Frames kept for each second of video."""
    clip_seconds: float | None = Field(None, gt=0)
    """Length of the clips that a video is cut into, each with the video's class; by default one clip a video, as long as the shortest."""
    max_broken: float = Field(0.1, ge=0, lt=1)
    """Share of the files that may fail to decode or be too short; they are named and left out."""
    sheet: Path | None = None
    """A CSV file with one line a video, whose column 'file' holds the path under the folder."""
    groups: str | None = None
    """The sheet's column of groups (scene, camera, source); by default each video is its own."""
    folds: str | None = None
    """The sheet's column of folds: split.test_fold says which one is the test side."""
    sides: str | None = None
    """The sheet's column of an official split: 'train', 'validation' or 'test'."""


class DigitsData(_Section):
    """Real handwritten digits that move over a canvas; scikit-learn's need no file."""

    source: Literal["digits"] = "digits"
    """Where the data come from: 'machine', 'arrays', 'table', 'video' or 'digits', each with settings of its own."""
    path: Path | None = None
    """An .npz file of larger digits, of shape (images, height, width); by default scikit-learn's, of 8 x 8 pixels."""
    images: str = "x_train"
    """Name of the images in that file."""
    shrink: int = Field(1, ge=1, le=16)
    """Pixels of a digit, along each axis, that become one: 2 makes 28 x 28 digits 14 x 14."""
    sequences: int = Field(1_000, ge=30, le=1_000_000)
    """Sequences to make."""
    frames: int = Field(10, ge=2, le=1_000)
    """Frames in a sequence, those to predict included."""
    canvas: int = Field(16, ge=8, le=512)
    """Height and width of a frame."""
    digits: int = Field(1, ge=1, le=9)
    """Digits in a sequence."""
    simulation_seed: int = Field(0, ge=0)
    """Seed of the movements, apart from the study's."""


Border: TypeAlias = Annotated[
    int | str | None,
    BeforeValidator(lambda value: str(value) if isinstance(value, date) else value),
]
"""A row number or a time stamp; TOML has dates of its own."""


class SplitConfig(_Section):
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
    """For time: where validation begins, in place of its share: a row of each recording, or a time stamp as '2013-01-01'."""
    test_from: Border = None
    """For time: where the test side begins, likewise."""
    until: Border = None
    """For time: where the test side ends; by default with the recording."""
    test_fold: int | None = Field(None, ge=0)
    """With data.folds: the fold that is the test side."""


Kind: TypeAlias = Literal["classification", "regression", "forecasting", "anomaly", "frames"]
METRICS: Mapping[str, str] = {
    "classification": "macro_f1",
    "regression": "rmse",
    "forecasting": "mae",
    "anomaly": "error",
    "frames": "mse",
}
"""The objective where a study names none."""


class TaskConfig(_Section):
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
    """For anomaly: one threshold from all recordings, or each recording's own where its validation shows 20 normal targets or more."""
    errors: Literal["squared", "absolute"] = "squared"
    """For anomaly: what is averaged over a window's rows and channels into its score; absolute errors let one channel that drifts weigh less."""
    rule: Literal["window", "covering"] = "window"
    """For anomaly: a target is called anomalous if the window that ends there is over the threshold, or, looking back, if all windows that show its row are."""


class SequenceLengthConfig(_Section):
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


class ObjectiveConfig(_Section):
    """The one number that is optimised, measured on validation."""

    metric: str = ""
    """classification: accuracy, macro_f1 (default), auroc or log_loss; regression: rmse (default), mae or r2; forecasting: mae (default), mse, rmse or mase; anomaly: error (default), average_precision, auroc, f1, far or mar; frames: mse (default), mae, frame_squared_error, ssim or psnr."""
    direction: Literal["maximize", "minimize"] | None = None
    """Which way is better: the metric's own, and no other; for whoever wants it written down."""


class TrainingConfig(_Section):
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
    max_parameters: int = Field(5_000_000, ge=1)
    """Weights that a candidate may have at most."""


class SamplerConfig(_Section):
    """Who suggests the next trial."""

    name: Literal["tpe", "random"] = "tpe"
    """Optuna's sampler."""


class PrunerConfig(_Section):
    """Who ends a trial early."""

    name: Literal["quarter", "median", "none"] = "quarter"
    """quarter: at one early epoch only the best quarter goes on; median: Optuna's; none: all run to the end."""
    epoch: int = Field(3, ge=1)
    """The epoch, counted from 1, at which the quarter is kept, or after which the median is asked for."""
    keep: float = Field(0.25, gt=0, le=1)
    """For quarter: the share of all trials seen so far that goes on."""


class BudgetConfig(_Section):
    """When the study stops asking for trials."""

    trials: int = Field(20, ge=1)
    """Trials in the whole study, earlier launches included; candidates that cannot be built are not counted."""
    max_seconds: float | None = Field(None, gt=0)
    """Wall time of the search in this launch, in seconds; running trials end at their next epoch, and the winner waits for the search's end."""
    max_consecutive_failures: int = Field(10, ge=1)
    """Trials in a row that are neither complete nor pruned (failed, diverged, out of memory, oversized, overtime, invalid) after which the study stops."""


class WinnerConfig(_Section):
    """How the winner is chosen when the budget is spent: the best validation score of many trials is luck to a part."""

    candidates: int = Field(3, ge=1)
    """Best trials of the search that are trained again, beside the default hyperparameters."""
    repeats: int = Field(3, ge=0)
    """Trainings of each, with fresh seeds and, where the split draws its sides at random, a fresh validation side, for as many epochs as its best one in the search was; the best mean wins. 0: the best trial of the search wins."""
    members: int = Field(1, ge=1)
    """Finalists whose mean prediction is scored on the test set and exported as one model, the best first: more than 1 where data are few and candidates differ. Not for anomaly."""


class WorkersConfig(_Section):
    """Who trains."""

    executor: Literal["processes", "inline"] = "processes"
    """processes: warm worker processes; inline: in the driver's own process, one at a time, for debugging."""
    count: int | None = Field(None, ge=1)
    """Trials trained at once; by default one a GPU, or one a core (at most 8)."""
    trials_each: int = Field(20, ge=1)
    """Trials after which a worker process is replaced, since TensorFlow's memory grows with each."""
    recycle_mb: int = Field(4096, ge=1)
    """Memory of a worker's own, in MiB, beyond which it is replaced after the trial."""
    max_memory_mb: int | None = Field(None, ge=256)
    """Memory that a worker may ask the system for, in MiB: a candidate that needs more ends as out_of_memory, untrained where that is known beforehand. By default no limit but the machine's. Not for GPUs, whose libraries reserve far more than they use."""
    max_silent_seconds: float = Field(3600, gt=0)
    """Time without an epoch's end after which a worker is taken for hung, in seconds: it is ended, and its trial taken up again."""
    max_restarts: int = Field(2, ge=0)
    """Times that a trial is taken up again after its worker died, from its last epoch."""


class TrackingConfig(_Section):
    """Where MLflow keeps the runs."""

    uri: str | None = None
    """Address of an MLflow server or store; by default the embedded one under the storage folder."""
    project: str = Field("lookback", pattern=NAME_PATTERN)
    """The MLflow experiment that holds the runs of this and related studies."""
    max_spool_mb: int = Field(256, ge=1)
    """How much may wait under the storage folder for a tracking store that is away, in MiB; what comes after is named at the end."""
    report_seconds: float = Field(300, gt=0)
    """Time between one report of the running study and the next, in seconds."""


class ExportConfig(_Section):
    """What the winner is exported as, beside .keras, SavedModel and the registered model."""

    formats: tuple[Literal["onnx", "litert"], ...] = ("onnx", "litert")
    """Formats of other runtimes, which need the extra 'export' and some seconds each; [] for none."""


class StorageConfig(_Section):
    """Where studies, checkpoints and the embedded MLflow store are kept."""

    folder: Path = Path("mlflow_runs")
    """A folder on a local disk; a relative path starts at the working directory."""
    kept_models: int = Field(3, ge=1)
    """Best trials whose weights are kept."""


class StudyConfig(_Section):
    """Everything needed to repeat a study, and nothing computed."""

    name: str = Field(pattern=NAME_PATTERN)
    """The study's name: launching the same name again continues it."""
    space: str = "sensor"
    """The search space: 'sensor', 'video', 'seq2seq', or 'package.module:Name' of a KerasTuner HyperModel or build(hp) function."""
    space_arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments for the constructor of a HyperModel class, beside those that the task gives."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Every trial's seed derives from this and the trial's number."""
    data: Annotated[
        MachineData | ArraysData | TableData | VideoData | DigitsData,
        Field(discriminator="source"),
    ] = MachineData()
    """The data set."""
    split: SplitConfig = SplitConfig()
    task: TaskConfig = TaskConfig()
    sequence_length: SequenceLengthConfig = SequenceLengthConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    budget: BudgetConfig = BudgetConfig()
    winner: WinnerConfig = WinnerConfig()
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()
    export: ExportConfig = ExportConfig()
    storage: StorageConfig = StorageConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_objective(cls, settings: Any) -> Any:
        """Write the task's own metric where the study names none."""
        if not isinstance(settings, Mapping):
            return settings
        kind = _look_up(settings, "task", "kind") or "classification"
        named = _look_up(settings, "objective", "metric")
        if named or kind not in METRICS:
            return settings
        objective = settings.get("objective")
        given = objective if isinstance(objective, Mapping) else {}
        return {**settings, "objective": {**given, "metric": METRICS[kind]}}

    @model_validator(mode="after")
    def _check_members(self) -> "StudyConfig":
        if self.winner.members > 1 and self.task.kind == "anomaly":
            raise ValueError(
                f"winner.members must be 1 for anomaly: errors and thresholds of several models are "
                f"no one model's. Received: members={self.winner.members}."
            )
        if self.winner.members > 1 and self.winner.repeats == 0:
            raise ValueError(
                f"winner.members above 1 must come with winner.repeats, which say who the best "
                f"are. Received: members={self.winner.members}, repeats=0."
            )
        return self

    @model_validator(mode="after")
    def _check_stride(self) -> "StudyConfig":
        if self.task.kind == "anomaly" and self.sequence_length.max_stride > 1:
            raise ValueError(
                f"sequence_length.max_stride must be 1 for anomaly: a window is compared with all "
                f"of its rows. Received: max_stride={self.sequence_length.max_stride}."
            )
        if self.task.season is not None and self.sequence_length.max_stride > 1:
            raise ValueError(
                f"sequence_length.max_stride must be 1 where task.season is given: a window with "
                f"rows left out does not show the season row by row. "
                f"Received: max_stride={self.sequence_length.max_stride}."
            )
        return self


def _look_up(settings: Mapping[str, Any], section: str, name: str) -> Any:
    found = settings.get(section)
    return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)


SOURCES: Mapping[str, type[BaseModel]] = {
    "machine": MachineData,
    "arrays": ArraysData,
    "table": TableData,
    "video": VideoData,
    "digits": DigitsData,
}
"""What ``data.source`` may name."""


class _Settings(StudyConfig, BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest setting when one is unknown."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (-\S+)", message)
        if unknown:
            word = unknown[1].split("=")[0]
            message = f"{word} is not a setting. {nearest(word, self._option_string_actions)}"
        raise ConfigError(message)


def load_config(path: Path | str, **overrides: Any) -> StudyConfig:
    """Read a study file.

    Args:
        path: A TOML file.
        **overrides: Settings that replace the file's, for example ``budget={"trials": 5}``.

    Returns:
        The checked study.

    Raises:
        ConfigError: If the file cannot be read, or a setting is unknown or wrong.
    """
    return make_config(_merge(_read_toml(Path(path)), overrides))


def parse_config(arguments: Sequence[str], default: Path) -> StudyConfig:
    """Read a study file and the settings that replace its own, from a command line.

    Args:
        arguments: The command line without the program: ``[STUDY.toml] [--section.field VALUE ...]``.
        default: The study file where the command line names none.

    Returns:
        The checked study.

    Raises:
        ConfigError: If the file cannot be read, or a setting is unknown or wrong.
        SystemExit: After ``--help`` was printed.
    """
    parser = _Parser(
        description="Launch a study, or continue it.",
        epilog="Every setting can stand in the study file, under its section, as well. None takes "
        "back what the file sets.",
        allow_abbrev=False,
    )
    parser.add_argument("study", nargs="?", default=default, metavar="STUDY.toml", type=Path)
    source: CliSettingsSource[argparse.ArgumentParser] = CliSettingsSource(
        _make_settings(arguments, default),
        root_parser=parser,
        parse_args_method=lambda root, words: root.parse_args(words),
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )
    try:
        overrides = source(args=list(arguments))()
    except SettingsError as exc:
        raise ConfigError(
            f"The command line must give one value for each setting: {exc}. Write sections as "
            f"--budget.trials 20, and tables as JSON."
        ) from None
    path = parser.parse_args(list(arguments)).study
    return make_config(_merge(_read_toml(path), overrides))


def _make_settings(arguments: Sequence[str], default: Path) -> type[_Settings]:
    """Make what a command line may say: under ``data``, the settings of the source in use alone."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    named = [after for word, after in pairwise(words) if word == "--data.source"]
    if not named:
        files = [Path(word) for word in words if word.endswith(".toml")]
        if not files and arguments and not arguments[0].startswith("-"):
            return _Settings  # a study file of another name
        with suppress(ConfigError):  # told when the whole command line is read
            settings = _read_toml(files[0] if files else default)
            named.append(_look_up(settings, "data", "source") or MachineData().source)
    data = SOURCES.get(str(named[-1])) if named else None
    if data is None:
        return _Settings
    return create_model(
        "_Settings", __base__=_Settings, data=(data, Field(description="The data set."))
    )


def make_config(settings: Mapping[str, Any]) -> StudyConfig:
    """Check settings and freeze them.

    Args:
        settings: Nested settings, as a study file holds them.

    Returns:
        The checked study.

    Raises:
        ConfigError: If a setting is missing, unknown or wrong; it names each of them.
    """
    try:
        return StudyConfig.model_validate(dict(settings))
    except ValidationError as exc:
        raise ConfigError("\n".join(_explain(error) for error in exc.errors())) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"The study file must be a readable TOML file: {exc.strerror}. Received: {str(path)!r}."
        ) from None
    except (ValueError, RecursionError) as exc:  # numbers too long, lists in lists too deep
        raise ConfigError(f"The study file {str(path)!r} is not TOML: {exc}.") from None
    data = settings.get("data")
    if isinstance(data, dict):
        for field in PATHS & data.keys():
            if isinstance(data[field], str):
                data[field] = str(path.parent / data[field])
    return settings


def _merge(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for key, value in overrides.items():
        inner = merged.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            # Another source has settings of its own: the first one's mean nothing to it.
            other = value.get("source", inner.get("source")) != inner.get("source")
            merged[key] = dict(value) if other else _merge(inner, value)
        else:
            merged[key] = value
    return merged


def _explain(error: Mapping[str, Any]) -> str:
    """Write one validation error as a sentence that says what to write instead."""
    place = [str(part) for part in error["loc"] if part not in SOURCES]
    name = ".".join(place)
    received = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"{name} is not a setting. {nearest(place[-1], _fields_beside(error['loc']))}"
    if error["type"] == "missing":
        return f"{name} must be given. Add it to the study file or write --{name} VALUE."
    if error["type"] == "union_tag_invalid":
        tag = error["ctx"]["tag"]
        return f"{name}.source must be a source. Received: {tag!r}. {nearest(tag, SOURCES)}"
    if error["type"] == "union_tag_not_found":
        return f"{name}.source must be given. {nearest('', SOURCES)}"
    rule = error["msg"].removeprefix("Value error, ")
    if rule.startswith(name.split(".")[0] + "."):
        return str(rule)
    return f"{name or 'The study'}: {rule}. Received: {received!r}."


def _fields_beside(place: Sequence[str | int]) -> set[str]:
    """Name the settings that stand in the section where an unknown one was found."""
    if len(place) == 1:
        return set(StudyConfig.model_fields)
    section = StudyConfig.model_fields[str(place[0])].annotation
    return set(getattr(SOURCES.get(str(place[1]), section), "model_fields", ()))
