"""How each recording of new data is scaled, and how the errors of its windows are judged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from search.data.recordings import Recordings
from search.data.scaling import fit_rows
from search.data.sequences import Array
from search.errors import DataError, StudyError
from search.results.answering import Answering, judge
from search.tasks.detections import least_covering


@dataclass(frozen=True, kw_only=True)
class Own:
    """How one recording is scaled and judged: as all, or by rows of its own.

    Attributes:
        name: A recording that the study knew, or an empty string.
        mean: Means of its own, of shape (channels,), or ``None``.
        scale: Scales likewise.
        normal: Before which row everything is known to be normal; 0 where nothing is.
    """

    name: str = ""
    mean: Array | None = None
    scale: Array | None = None
    normal: int = 0


def check_normal_rows(normal_rows: int | None, facts: Mapping[str, Any]) -> None:
    """Refuse normal rows that would say nothing.

    Args:
        normal_rows: Rows at the start of each recording that are known to be normal.
        facts: What ``preprocessing.json`` holds.

    Raises:
        StudyError: If the study scaled and judged all recordings alike, or there are too few rows.
    """
    if normal_rows is not None and facts["task"] != "anomaly" and not facts["scaled_apart"]:
        raise StudyError(
            f"--normal_rows must be left out unless the model finds anomalies or its study scaled each "
            f"recording apart. Received: {normal_rows} for task.kind={facts['task']!r}."
        )
    judged = facts.get("threshold_by") == "recording"
    if normal_rows is not None and not judged and not facts["scaled_apart"]:
        raise StudyError(
            f"--normal_rows must be left out: the study scaled and judged all recordings alike. "
            f"Received: {normal_rows}."
        )
    if normal_rows is not None and normal_rows < 2:  # noqa: PLR2004  # one row has no spread
        raise StudyError(f"--normal_rows must be 2 or more. Received: {normal_rows}.")


def group_answers(
    recordings: Recordings, owners: Array, normal_rows: int | None, answering: Answering
) -> Iterator[tuple[Own, Array]]:
    """Say how each recording's answers come about, and which they are; one group if all alike.

    Args:
        recordings: What was read.
        owners: The recording of each answer, of shape (answers,).
        normal_rows: As for ``check_normal_rows``.
        answering: The model.

    Yields:
        How a recording is scaled and judged, and the places of its answers, ascending.

    Raises:
        DataError: If a recording has no scale.
    """
    facts = answering.facts
    apart, judged = facts["scaled_apart"], facts.get("threshold_by") == "recording"
    if recordings.clips and normal_rows is not None:
        raise DataError(
            "--normal_rows must be left out for raw windows: none shows where its recording begins, "
            "and where the study scaled each apart they are scaled already. Name a table or "
            "recordings instead."
        )
    if recordings.clips or not (apart or judged):
        yield Own(), np.arange(len(owners))
        return
    # A clip of an array is named by its place, which says nothing of another array's.
    known = (apart or facts["recordings"]) if facts["data"]["source"] != "arrays" else ()
    wholes, names = recordings.origins[owners], recordings.whole_names
    for number in np.unique(wholes):
        some, name = np.flatnonzero(wholes == number), names[number]
        if normal_rows is not None:
            yield _know(recordings, int(number), normal_rows, bool(apart)), some
        elif name in known:
            yield Own(name=name), some
        elif not apart:
            yield Own(), some
        else:
            raise DataError(
                f"--normal_rows must be given for recordings that the study did not know: it "
                f"scaled each by normal rows of its own. Received: "
                f"{name!r}, and no --normal_rows."
            )


def _know(recordings: Recordings, number: int, normal_rows: int, apart: bool) -> Own:
    """Work out a recording's scale from its normal rows, where each has one of its own."""
    low, high = recordings.wholes[number : number + 2]
    if not apart:
        return Own(normal=low + normal_rows)
    numbers = np.arange(low, min(high, low + normal_rows))
    if recordings.usable is not None:
        numbers = numbers[recordings.usable[numbers]]
    if not len(numbers):
        raise DataError(
            f"--normal_rows must hold rows without a missing value. Received: none among the first "
            f"{normal_rows} of {recordings.whole_names[number]!r}."
        )
    mean, scale = fit_rows(recordings.rows, numbers)
    return Own(mean=mean, scale=scale, normal=low + normal_rows)


def judge_errors(
    answering: Answering, errors: Array, places: tuple[Array, Array], own: Own
) -> pd.DataFrame:
    """Compare errors with a threshold, by the study's rule.

    Args:
        answering: The model.
        errors: The error of each window, of shape (windows,).
        places: The last row of each window, and its recording, each of shape (windows,).
        own: How their recordings are judged.

    Returns:
        Error, threshold and whether each is anomalous.

    Raises:
        DataError: If a threshold is to rest on normal rows that hold no window.
    """
    ends, owners = places
    facts, limit = answering.facts, answering.threshold(own.name)
    normal = errors[ends < own.normal]
    if own.normal and facts["threshold_by"] == "recording":
        if not len(normal):
            raise DataError(
                f"--normal_rows must hold a window of {answering.reach} rows or more, so that a "
                f"threshold can rest on it. Received: too few rows."
            )
        limit = float(np.quantile(normal, facts["quantile"])) * facts["margin"]
    if facts["rule"] == "covering":
        errors = least_covering(errors, ends, owners, facts["output_shape"][0])
    return judge(errors, limit)
