"""A split by time: in each recording as read first training, then validation, then test."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from search.config import SplitConfig
from search.data.recordings import Recordings, Targets
from search.data.sequences import SIDES, Array
from search.errors import ConfigError, DataError

BORDERS = ("validation_from", "test_from", "until")
YEAR = re.compile(r"(19|20)\d\d")


def split_by_time(
    recordings: Recordings,
    targets: Targets,
    pool: Array,
    shares: Mapping[str, float],
    config: SplitConfig,
) -> Array:
    """Name the side of each target by where the rows that it predicts lie in their recording.

    Earlier sides give way: a target whose rows to predict reach a border, or lie among those
    that the longest window of the next side's first target shows, has no side. So the purge is
    the longest sequence and the horizon, and the later side stays whole.

    Args:
        recordings: What the source read.
        targets: All targets.
        pool: The numbers of the targets to split, of shape (targets,).
        shares: The share of all rows that each held-out side has where no border is given.
        config: The borders.

    Returns:
        Side names of shape (targets,); '' where a target has none.

    Raises:
        ConfigError: If a border is a time stamp and the data have none, or cannot be read as one.
        DataError: If the borders are out of order, one lies beside every recording, or official
            training rows come after official test rows.
    """
    used = np.unique(recordings.origins[targets.recordings[pool]])
    starts = _find_borders(recordings, used, shares, config)
    first = targets.ends[pool] + (1 if targets.horizon else 0)
    last = targets.ends[pool] + targets.horizon
    which = targets.recordings[pool]
    validation, test, until = (border[which] for border in starts)
    names = np.full(len(pool), "", dtype="<U10")
    tested = (first >= test) & (last < until)
    if not shares["test"] and tested.any():
        _refuse_late(recordings, which[tested])
    names[tested] = "test"
    reach = _first_shown(targets, pool, names == "test", starts[1])
    names[(first >= validation) & (last < np.minimum(reach, test))] = "validation"
    reach = np.minimum(reach, _first_shown(targets, pool, names == "validation", starts[0]))
    names[last < np.minimum(reach, validation)] = "train"
    return names


def _refuse_late(recordings: Recordings, late: Array) -> None:
    """Refuse to take for training what follows the official test rows of a recording."""
    raise DataError(
        f"data.sides must name no training rows after the test rows of their recording for "
        f"split.method='time'. Received: {len(late):,} training targets after them, the first in "
        f"{recordings.names[late[0]]!r}. Name validation rows too, which leaves nothing to be split, "
        f"or write split.method='blocks'."
    )


def _first_shown(targets: Targets, pool: Array, chosen: Array, border: Array) -> Array:
    """Find the first row that a side's windows show in each target's recording.

    Args:
        targets: All targets.
        pool: The numbers of the targets to split.
        chosen: Which of them the side has.
        border: The row that the side begins at in each recording, of shape (recordings,).

    Returns:
        Row numbers of shape (targets,): where the recording has no target of the side, the
        border itself.
    """
    shown = border.copy()
    ends, which = targets.ends[pool][chosen], targets.recordings[pool][chosen]
    np.minimum.at(shown, which, ends + 1 - targets.longest)
    return np.asarray(shown[targets.recordings[pool]])


def _find_borders(
    recordings: Recordings, used: Array, shares: Mapping[str, float], config: SplitConfig
) -> tuple[Array, Array, Array]:
    """Find the rows that validation, test and nothing begin at, each of shape (recordings,).

    They are found in the recordings as read: of pieces that gaps cut one from, each by itself, the
    first ones' test rows would come before the last ones' training rows.

    Args:
        recordings: What the source read.
        used: The recordings, as read, that have targets to split.
        shares: As for ``split_by_time``.
        config: Likewise.

    Returns:
        Rows of shape (recordings,), one array a border.
    """
    starts, lengths = recordings.wholes[:-1], _count_rows(recordings)
    kept = 1 - shares["test"]
    defaults = {
        "validation_from": np.round(lengths * (kept - shares["validation"])),
        "test_from": np.round(lengths * kept),
        "until": np.diff(recordings.wholes),
    }
    borders = []
    for field in BORDERS:
        border = getattr(config, field)
        if border is None:
            borders.append(starts + defaults[field].astype(np.int64))
        else:
            borders.append(_find_border(recordings, used, field, border))
    validation, test, until = borders
    if (validation > test)[used].any() or (test > until)[used].any():
        raise DataError(
            f"split.validation_from must come before split.test_from, and that before "
            f"split.until. Received: validation_from={config.validation_from!r}, "
            f"test_from={config.test_from!r}, until={config.until!r}. Give both borders, or neither."
        )
    low, high = recordings.starts[:-1], recordings.starts[1:]
    validation, test, until = (
        np.clip(border[recordings.origins], low, high) for border in (validation, test, until)
    )
    return validation, test, until


def _count_rows(recordings: Recordings) -> Array:
    """Count the rows of each recording as read before its official test rows."""
    lengths: Array = np.diff(recordings.wholes)
    if recordings.sides is None:
        return lengths
    tested = recordings.sides == SIDES.index("test")
    parts = np.split(tested, recordings.wholes[1:-1])
    return np.array([np.argmax(part) if part.any() else len(part) for part in parts])


def _find_border(recordings: Recordings, used: Array, field: str, border: int | str) -> Array:
    """Find the row that one border names in each recording as read."""
    starts, stops = recordings.wholes[:-1], recordings.wholes[1:]
    if isinstance(border, str) and recordings.stamps is not None and YEAR.fullmatch(border):
        raise ConfigError(
            f"split.{field} must say whether it is a year or a row. Received: {field}={border!r}. "
            f"Write '{border}-01-01', or in the study file the row's number without quotes."
        )
    if isinstance(border, int) or re.fullmatch(r"\d+", border):
        rows = np.minimum(starts + int(border), stops)
    else:
        rows = np.array(
            [
                start + np.searchsorted(stamps, _read_stamp(field, border))
                for start, stamps in zip(starts, _cut_stamps(recordings, field), strict=True)
            ]
        )
    inside = (rows > starts) & (rows < stops)
    if field != "until" and not inside[used].any():
        longest = int(np.diff(recordings.wholes)[used].max())
        raise DataError(
            f"split.{field} must lie in a recording. Received: {field}={border!r}, and the "
            f"recordings have up to {longest} rows{_say_span(recordings)}."
        )
    return np.asarray(rows)


def _cut_stamps(recordings: Recordings, field: str) -> list[Array]:
    if recordings.stamps is None:
        raise ConfigError(
            f"split.{field} must be a row number, since the data have no time stamps. Name their "
            f"column in data.time."
        )
    return np.split(recordings.stamps, recordings.wholes[1:-1])


def _read_stamp(field: str, border: str) -> np.datetime64:
    try:
        stamp = pd.Timestamp(border).to_datetime64()
        if np.isnat(stamp):
            raise ValueError("it names no time")
        return stamp
    except ValueError as exc:
        raise ConfigError(
            f"split.{field} must be a row number or a time stamp, as '2013-01-01 12:00': {exc}. "
            f"Received: {field}={border!r}."
        ) from None


def _say_span(recordings: Recordings) -> str:
    if recordings.stamps is None:
        return ""
    return f", from {recordings.stamps.min()} to {recordings.stamps.max()}"
