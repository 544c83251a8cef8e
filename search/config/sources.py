"""The data sources of a study file, each with settings of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field

from search.config.sections import Section

PATHS = {"path", "sheet"}
"""Settings of a data source that name files."""


class MachineData(Section):
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


class ArraysData(Section):
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


class TableData(Section):
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
    """The column of time stamps, or several, as ['year', 'month', 'day', 'hour']; numbers are seconds, stamps with an offset become UTC; without one the rows are taken as evenly spaced."""
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
    """What the time stamps tell, each as a sine and a cosine channel; of stamps with an offset in UTC."""
    targets: Names = ()
    """The column of the label (an empty cell or nan is none; None and NA are words) or of the flag 'anomalous', the columns of the values, or for forecasting the columns to predict (by default all channels)."""
    stride: int = Field(1, ge=1)
    """Rows between one target and the next."""
    step: str | None = None
    """The time from one row to the next, as '1h' or '10s'; by default the most frequent one."""
    gaps: Literal["refuse", "split", "fill", "ignore"] = "refuse"
    """Where a stamp does not follow the last one by a step: refuse the table, begin a new recording (split.method 'time', scaling and task.threshold_by still take all pieces of one together), fill in the missing rows (see missing), or take rows as they come."""
    missing: Literal["refuse", "forward", "drop"] = "refuse"
    """Where a channel has no value: refuse the table, carry the last known value forward (at a recording's start: the next), or drop the targets whose longest window would show it. Targets without a true value are always dropped."""
    short: Literal["refuse", "drop"] = "refuse"
    """Where a recording has no room for the longest sequence and its target: refuse the data, or leave it out. Where gaps = 'split' has cut the data, short ones are always left out."""
    scaling: Literal["all", "recording"] = "all"
    """all: one mean and spread from all training rows; recording: each recording by its own training rows."""


class VideoData(Section):
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


class DigitsData(Section):
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


SOURCES: Mapping[str, type[BaseModel]] = {
    "machine": MachineData,
    "arrays": ArraysData,
    "table": TableData,
    "video": VideoData,
    "digits": DigitsData,
}
"""What ``data.source`` may name."""
