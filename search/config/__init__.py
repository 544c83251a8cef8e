"""The study file and the command line become one frozen, checked StudyConfig."""

from search.config.reading import load_config, make_config, parse_config
from search.config.sections import (
    ClusterConfig,
    Kind,
    LimitsConfig,
    ObjectiveConfig,
    PrunerConfig,
    SamplerConfig,
    SequenceLengthConfig,
    SplitConfig,
    TaskConfig,
    TrackingConfig,
)
from search.config.sources import (
    PATHS,
    SOURCES,
    ArraysData,
    DigitsData,
    MachineData,
    TableData,
    VideoData,
)
from search.config.study import StudyConfig

__all__ = [
    "PATHS",
    "SOURCES",
    "ArraysData",
    "ClusterConfig",
    "DigitsData",
    "Kind",
    "LimitsConfig",
    "MachineData",
    "ObjectiveConfig",
    "PrunerConfig",
    "SamplerConfig",
    "SequenceLengthConfig",
    "SplitConfig",
    "StudyConfig",
    "TableData",
    "TaskConfig",
    "TrackingConfig",
    "VideoData",
    "load_config",
    "make_config",
    "parse_config",
]
