"""What turns a recording into a model's input, and its output into an answer, is written down."""

import json
from collections.abc import Mapping
from typing import Any

from search.config import StudyConfig
from search.data.sequences import SequenceCard
from search.results.answering import FORMAT
from search.results.formats import Built

ELSEWHERE = {"path", "sheet"}
"""Settings of ``data`` that say where the study's own data were: new data are elsewhere."""
JUDGING = ("errors", "rule", "quantile", "margin", "threshold_by")
"""Settings of ``task`` that say how an anomaly study judges errors."""


def write_preprocessing(config: StudyConfig, card: SequenceCard, built: Built, trial: int) -> str:
    """Write what a model is used with.

    Args:
        config: The study.
        card: What is known of its data.
        built: The model.
        trial: The trial's number.

    Returns:
        JSON.
    """
    task = config.task.model_dump(mode="json")
    judging = {}
    if config.task.kind == "anomaly":
        judging = {name: task[name] for name in JUDGING} | {"recordings": card.recordings}
    data = config.data.model_dump(mode="json", exclude=ELSEWHERE)
    if card.step is not None:  # else the most frequent step of new data would pass for the model's
        data["step"] = f"{card.step}ns"
    facts: Mapping[str, Any] = {
        "format": FORMAT,
        "study": config.name,
        "trial": trial,
        "space": config.space,
        "task": config.task.kind,
        "sequence_length": built.inputs[0],
        "rows_between_steps": built.stride,
        "row_shape": built.inputs[1:],
        "output_shape": built.outputs,
        "horizon": card.horizon,
        "channels": card.channels,
        "classes": card.classes,
        "variables": card.variables,
        "mean": card.mean,
        "scale": card.scale,
        "truth_mean": card.truth_mean,
        "truth_scale": card.truth_scale,
        "scaled_apart": card.scaled_apart,
        **judging,
        **built.reading,
        "dtype": "float32",
        "data": data,
        "data_fingerprint": card.fingerprint,
        "versions": built.versions,
    }
    return json.dumps(facts, indent=2) + "\n"
