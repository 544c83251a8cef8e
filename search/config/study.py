"""A whole study, as its file and its command line describe it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, JsonValue, model_validator

from search.config.sections import (
    METRICS,
    NAME_PATTERN,
    BudgetConfig,
    ClusterConfig,
    ExportConfig,
    LimitsConfig,
    ObjectiveConfig,
    PrunerConfig,
    SamplerConfig,
    Section,
    SequenceLengthConfig,
    SplitConfig,
    StorageConfig,
    TaskConfig,
    TrackingConfig,
    TrainingConfig,
    WinnerConfig,
    WorkersConfig,
)
from search.config.sources import ArraysData, DigitsData, MachineData, TableData, VideoData


class StudyConfig(Section):
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
    limits: LimitsConfig = LimitsConfig()
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    budget: BudgetConfig = BudgetConfig()
    winner: WinnerConfig = WinnerConfig()
    workers: WorkersConfig = WorkersConfig()
    cluster: ClusterConfig = ClusterConfig()
    tracking: TrackingConfig = TrackingConfig()
    export: ExportConfig = ExportConfig()
    storage: StorageConfig = StorageConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_objective(cls, settings: Any) -> Any:
        """Write the task's own metric where the study names none."""
        if not isinstance(settings, Mapping):
            return settings
        kind = look_up(settings, "task", "kind") or "classification"
        named = look_up(settings, "objective", "metric")
        if named or not isinstance(kind, str) or kind not in METRICS:
            return settings
        given = settings.get("objective") or {}
        if isinstance(given, ObjectiveConfig):
            given = given.model_dump(exclude_unset=True)
        if not isinstance(given, Mapping):
            return settings
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
    def _check_objectives(self) -> "StudyConfig":
        if self.objective.also and self.sampler.name == "cmaes":
            raise ValueError(
                "sampler.name must be another than 'cmaes' where objective.also is given: it knows one "
                f"objective. Received: also={list(self.objective.also)}. Write 'tpe'."
            )
        if self.objective.also and self.pruner.name == "hyperband":
            raise ValueError(
                "pruner.name must be another than 'hyperband' where objective.also is given: its "
                f"brackets know one objective. Received: also={list(self.objective.also)}. Write "
                f"'successive_halving'."
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


def look_up(settings: Mapping[str, Any], section: str, name: str) -> Any:
    """Read one setting of a section that is not checked yet; ``None`` where there is none."""
    found = settings.get(section)
    return found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
