"""The study file and the command line become one frozen, checked StudyConfig."""

import argparse
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict, SettingsError

from search.errors import ConfigError, nearest

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class MachineData(_Section):
    """Simulated multi-sensor machines with known faults; needs no file."""

    source: Literal["machine"] = "machine"
    """Where the data come from."""
    machines: int = Field(24, ge=6, le=10_000)
    """Simulated machines, each with offsets of its own."""
    rows: int = Field(3_000, ge=600, le=1_000_000)
    """Time steps recorded from each machine."""
    stride: int = Field(12, ge=1)
    """Time steps between one target and the next."""
    simulation_seed: int = Field(0, ge=0)
    """Seed of the simulation, apart from the study's."""


class ArraysData(_Section):
    """Clips in a NumPy .npz file, with labels."""

    source: Literal["arrays"] = "arrays"
    """Where the data come from."""
    path: Path
    """The .npz file; a relative path in a study file starts at that file's folder."""
    x: str = "x"
    """Name of the clips in the file, of shape (clips, steps, channels), (clips, steps, bands, channels) or (clips, frames, height, width, channels)."""
    y: str = "y"
    """Name of the labels in the file, of shape (clips,)."""
    x_test: str | None = None
    """Name of the official test clips, where there are any."""
    y_test: str | None = None
    """Name of the official test labels."""
    groups: str | None = None
    """Name of the group of each clip (subject, machine, source video), of shape (clips,)."""
    channels: str | None = None
    """Name of the channel names, of shape (channels,)."""
    classes: str | None = None
    """Name of the class names, of shape (classes,), in the order of the labels' numbers."""


class SplitConfig(_Section):
    """Which targets train, which choose, which are looked at once."""

    method: Literal["groups", "blocks", "stratified"] = "groups"
    """groups: whole groups on one side; blocks: stretches of neighbouring clips on one side, with a gap between the sides; stratified: single clips, only where clips are independent."""
    validation: float = Field(0.2, gt=0, lt=0.9)
    """Share of the training targets held out to compare candidates."""
    test: float = Field(0.2, gt=0, lt=0.9)
    """Share of all targets held out for the one look at the end; unused with an official test set."""
    blocks: int = Field(5, ge=1)
    """For blocks: stretches that the clips are cut into, each giving its share to every side."""
    gap: int = Field(1, ge=0)
    """For blocks: clips dropped at every border between two sides."""


class TaskConfig(_Section):
    """What is predicted."""

    kind: Literal["classification"] = "classification"
    """classification: the label of the window's last step, or of the clip."""


class SequenceLengthConfig(_Section):
    """The range of the hyperparameter sequence_length, in time steps."""

    low: int | None = Field(None, ge=1)
    """Shortest sequence; by default an eighth of the longest."""
    high: int | None = Field(None, ge=1)
    """Longest sequence; by default all that the data admit."""
    step: int = Field(1, ge=1)
    """Distance between one length and the next."""

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

    metric: str = "macro_f1"
    """A metric of the task."""
    direction: Literal["maximize", "minimize"] | None = None
    """Which way is better; by default the metric's own."""


class TrainingConfig(_Section):
    """How long and how large one candidate may be."""

    max_epochs: int = Field(20, ge=1)
    """Epochs of a candidate that is neither pruned nor stopped."""
    patience: int = Field(10, ge=1)
    """Epochs without a better objective after which a candidate is stopped."""
    batch_size: int = Field(64, ge=1)
    """Targets in one step, where the space does not ask for a batch_size of its own."""
    refit: bool = True
    """Whether the best trial is trained once more, on training and validation targets together and up to its best epoch, before the one look at the test set."""
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
    """Trials in the whole study, earlier launches included."""
    max_seconds: float | None = Field(None, gt=0)
    """Wall time of this launch, in seconds; running trials end at their next epoch."""
    max_consecutive_failures: int = Field(10, ge=1)
    """Failed trials in a row after which the study stops."""


class WorkersConfig(_Section):
    """Who trains."""

    executor: Literal["processes", "inline"] = "processes"
    """processes: warm worker processes; inline: in the driver's own process, one at a time, for debugging."""
    count: int | None = Field(None, ge=1)
    """Trials trained at once; by default one a GPU, or one a core (at most 8)."""
    trials_each: int = Field(20, ge=1)
    """Trials after which a worker process is replaced, since TensorFlow's memory grows with each."""
    max_restarts: int = Field(2, ge=0)
    """Times that a trial is begun again after its worker died."""


class TrackingConfig(_Section):
    """Where MLflow keeps the runs."""

    uri: str | None = None
    """Address of an MLflow server or store; by default the embedded one under the storage folder."""
    project: str = Field("lookback", pattern=NAME_PATTERN)
    """The MLflow experiment that holds the runs of this and related studies."""


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
    """The search space: 'sensor', or 'package.module:Name' of a KerasTuner HyperModel or build(hp) function."""
    space_arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Arguments for the constructor of a HyperModel class, beside those that the task gives."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Every trial's seed derives from this and the trial's number."""
    data: Annotated[MachineData | ArraysData, Field(discriminator="source")] = MachineData()
    """The data set."""
    split: SplitConfig = SplitConfig()
    task: TaskConfig = TaskConfig()
    sequence_length: SequenceLengthConfig = SequenceLengthConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    budget: BudgetConfig = BudgetConfig()
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()
    storage: StorageConfig = StorageConfig()


SOURCES: Mapping[str, type[BaseModel]] = {"machine": MachineData, "arrays": ArraysData}
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
        epilog="Every setting can stand in the study file, under its section, as well.",
        allow_abbrev=False,
    )
    parser.add_argument("study", nargs="?", default=default, metavar="STUDY.toml", type=Path)
    source: CliSettingsSource[argparse.ArgumentParser] = CliSettingsSource(
        _Settings,
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


def make_config(settings: Mapping[str, Any]) -> StudyConfig:
    """Check settings and freeze them.

    Args:
        settings: Nested settings, as a study file holds them.

    Returns:
        The checked study.

    Raises:
        ConfigError: If a setting is missing, unknown or wrong; it names the first one.
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"The study file {str(path)!r} is not TOML: {exc}.") from None
    data = settings.get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        data["path"] = str(path.parent / data["path"])
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
