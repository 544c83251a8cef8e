"""What every source of data returns: rows in time, and the targets that lie on them."""

from dataclasses import dataclass

from search.data.sequences import Array


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """One neutral value for every source, before any split.

    Attributes:
        description: One sentence for the person who browses the study.
        rows: Unscaled float32 rows of shape (rows, channels), (rows, width, channels) or
            (rows, height, width, channels), recordings one after the other.
        ends: The row that each target's window ends at, of shape (targets,).
        labels: The class number of each target, of shape (targets,).
        groups: The group number of each target, of shape (targets,), or ``None`` where the
            source knows of no groups.
        official_test: Whether each target belongs to the source's own test set, of shape
            (targets,); all false where it has none.
        longest: The longest sequence that every target leaves room for, in rows.
        channels: Names along the last axis of a row.
        classes: Class names, in the order of the labels' numbers.
    """

    description: str
    rows: Array
    ends: Array
    labels: Array
    groups: Array | None
    official_test: Array
    longest: int
    channels: tuple[str, ...]
    classes: tuple[str, ...]
