"""Names and values as MLflow takes them."""

import hashlib
import json
import math
import posixpath
import re
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from search.messages import Parameters

_LONGEST_KEY = 250
_LONGEST_DIGEST = 36
_ESCAPE = re.compile(r":[0-9a-f]*:")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def make_key(name: str) -> str:
    """Write a name as MLflow takes it: no two names become one.

    What MLflow refuses is written as its code point, ``units[0]`` as ``units:5b:0:5d:``; a name
    that MLflow takes, and that does not look like that, stays as it is.

    Args:
        name: The name of a hyperparameter or metric.

    Returns:
        A key of at most 250 characters.
    """
    key = name
    if re.search(r"[^\w/. :-]", name) or _ESCAPE.search(name) or not _is_plain_path(name):
        refused = r"[^\w/. -]" if _is_plain_path(name) else r"[^\w -]"
        key = re.sub(refused, lambda match: f":{ord(match[0]):x}:", name) or "::"
    if len(key) > _LONGEST_KEY:
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        key = f"{key[:200]}:{digest}:"
    return key


def _is_plain_path(name: str) -> bool:
    """Tell whether a name, read as a path, leads where it says: MLflow refuses the others."""
    return posixpath.normpath(name) == name and not name.startswith(("/", "..")) and name != "."


def as_params(parameters: Parameters) -> list[Param]:
    """Write hyperparameters as MLflow's parameters, which are strings."""
    return [Param(make_key(name), str(value)) for name, value in parameters.items()]


def as_metrics(values: Mapping[str, float], time_ms: int, step: int = 0) -> list[Metric]:
    """Write the finite ones of some values as MLflow's metrics.

    Args:
        values: Name to value.
        time_ms: When they were measured, in milliseconds.
        step: The epoch.

    Returns:
        One point for each finite value: MLflow would show an infinite one as 1.8e308.
    """
    return [
        Metric(make_key(name), float(value), time_ms, step)
        for name, value in values.items()
        if math.isfinite(value)
    ]


def as_tags(words: Mapping[str, str]) -> list[RunTag]:
    """Write words as MLflow's tags, without the colours that Keras writes into its messages."""
    return [RunTag(name, strip_colours(value)) for name, value in words.items()]


def strip_colours(text: str) -> str:
    """Take a terminal's colours out of a text."""
    return _COLOUR.sub("", text)


def now_ms() -> int:
    """Return the time in milliseconds, as MLflow counts it."""
    return time.time_ns() // 1_000_000


def choose_environment(tags: Mapping[str, str]) -> dict[str, str]:
    """Choose those of a study's tags that say what a training runs on: commit, versions, device.

    Args:
        tags: Tags of the study's run, as this launch found them.

    Returns:
        Theirs, which each run of a training has too: a later launch may find others.
    """
    return {
        name: value
        for name, value in tags.items()
        if name in ("device", "git.commit") or name.startswith("version.")
    }


def list_datasets(tags: Mapping[str, str], params: Mapping[str, str]) -> list[DatasetInput]:
    """Write a study's data as MLflow shows the data sets of a run.

    Args:
        tags: Tags of the study's run, with the data's fingerprint and description.
        params: The study's settings by dotted names.

    Returns:
        The data set, with as much of the fingerprint as MLflow takes for a digest; nothing if
        there is no fingerprint.
    """
    fingerprint = tags.get("data.fingerprint")
    if fingerprint is None:
        return []
    path = params.get("data.path", "None")
    kind = params["data.source"]
    known = {name: tags[f"data.{name}"] for name in ("description", "audit", "fingerprint")}
    data = Dataset(
        name=kind if path == "None" else Path(path).name,
        digest=fingerprint[:_LONGEST_DIGEST],
        source_type=kind,
        source=json.dumps({"uri": path}),
        profile=json.dumps(known),
    )
    return [DatasetInput(data, tags=[InputTag("mlflow.data.context", "search")])]
