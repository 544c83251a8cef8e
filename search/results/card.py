"""What a person needs to know to use an exported model without this project: the model card."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.driver.leaderboard import write_parameters
from search.driver.provenance import find_commit
from search.results.answering import PREPROCESSING
from search.results.comparison import BATCHES, TIMED
from search.results.formats import (
    EXAMPLE,
    KERAS,
    LITERT,
    ONNX,
    SAVED_MODEL,
    TOLERANCES,
    Built,
    Checked,
)
from search.results.winner import Scores, Winner

USE = """\
import json

import keras
import numpy as np
{module}
with open("{preprocessing}", encoding="utf-8") as file:
    preprocessing = json.load(file)
model = keras.saving.load_model("{keras}", compile=False)

# of shape {shape}, in the data's own units
windows = np.load("{example}")["windows"]
scaled = (windows - np.array(preprocessing["mean"])) / np.array(preprocessing["scale"])
outputs = model.predict(scaled.astype("float32"), verbose=0)
{read}
"""
READ: Mapping[str, str] = {
    "classification": """\
numbers = {numbers}
print([preprocessing["classes"][number] for number in numbers])""",
    "regression": """\
values = outputs * np.array(preprocessing["truth_scale"]) + np.array(preprocessing["truth_mean"])
print(preprocessing["variables"], values)""",
    "forecasting": """\
outputs = outputs.reshape(len(windows), -1, len(preprocessing["variables"]))  # steps ahead
values = outputs * np.array(preprocessing["truth_scale"]) + np.array(preprocessing["truth_mean"])
print(preprocessing["variables"], values)""",
    "anomaly": """\
errors = abs(scaled[:, -outputs.shape[1] :] - outputs) ** {power}
errors = errors.reshape(len(windows), -1).mean(axis=1)
print(errors, errors > preprocessing["threshold"])  # {rule}""",
    "frames": """\
frames = np.clip(outputs, 0, 1) * preprocessing["scale"][0] + preprocessing["mean"][0]
print(frames.shape)  # windows, frames ahead, height, width, channels""",
}
"""How an output is read, by kind of task."""
ANSWERS: Mapping[str, str] = {
    "classification": "the class and the probability of each",
    "regression": "values",
    "forecasting": "values by steps ahead",
    "anomaly": "the error of each window, the threshold, and whether it is above",
    "frames": "frames",
}
RULE: Mapping[str, str] = {
    "window": "whether the last row of each window is anomalous",
    "covering": "a row is anomalous where this holds of every window that shows it",
}
OTHERS: Mapping[str, str] = {
    SAVED_MODEL: """\
import tensorflow as tf

served = tf.saved_model.load("{place}")
print(served.serve(tf.constant(scaled, "float32")).numpy())
""",
    ONNX: """\
import onnxruntime

session = onnxruntime.InferenceSession("{place}")
print(session.run(None, {{"windows": scaled.astype("float32")}})[0])
""",
    LITERT: """\
from ai_edge_litert.interpreter import Interpreter

runner = Interpreter("{place}").get_signature_runner()
print(next(iter(runner(windows=scaled.astype("float32")).values())))
""",
}
"""How the formats are used that need no Keras."""
REGISTRY = """\
import mlflow

mlflow.set_tracking_uri("{address}")
model = mlflow.pyfunc.load_model("models:/{model}@{alias}")
print(model.predict(np.load("example.npz")["raw"]))
"""


def write_card(
    winner: Winner,
    built: Built,
    checked: Checked,
    sizes: Mapping[str, int],
    alias: str,
    address: str,
) -> str:
    """Write the model card.

    Args:
        winner: The trial.
        built: Its model.
        checked: How far the loaded formats agree.
        sizes: Bytes of each file or folder of the export.
        alias: The registered model's alias.
        address: The MLflow store that it is registered in, without credentials.

    Returns:
        Markdown, whose first Python block runs in the export's folder.
    """
    name, row = winner.config.name, winner.row
    parts = [
        f"# {name}",
        f"{'Chosen by a person' if winner.chosen else 'The winner'} of {winner.trials} trials of study "
        f"`{name}`: {_name_members(winner)}, "
        f"{winner.parameter_count:,} weights, search space `{winner.config.space}`. Task: "
        f"{winner.config.task.kind}.",
        "## Use",
        _fence(_write_use(winner, built, checked)),
        *_write_serving(built),
        _write_registered(winner, built, alias, address),
        "## Scores",
        _write_scores(winner),
        *([winner.decision["sentence"]] if winner.decision else []),
        _write_looks(winner),
        "## Data",
        _write_data(winner),
        "## Hyperparameters",
        _table(("name", "value"), row.parameters.items()),
        *_write_other_members(winner),
        "## Files",
        _table(("file", "bytes"), ((f"`{k}`", f"{size:,}") for k, size in sizes.items())),
        f"`{PREPROCESSING}` holds sequence length, channels, classes, mean and scale; `{EXAMPLE}` "
        f"two validation windows, their predictions, and them as the registered model takes them (`raw`). `sha256sum -c SHA256SUMS` checks the files.",
        "## Agreement",
        f"Loaded in a fresh process, on the processor, the formats predicted {_name_samples(built)} "
        f"in batches of {', '.join(map(str, BATCHES))}. The difference is the greatest to the model "
        f"that was saved, over the greatest prediction where that is above 1; the time is the "
        f"median of {TIMED} predictions of one window.",
        _table(
            ("format", "difference", "allowed", "milliseconds"), _write_agreement(built, checked)
        ),
        "## Versions",
        _table(("library", "version"), {**built.versions, "git commit": find_commit()}.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _name_samples(built: Built) -> str:
    """Name what the formats were compared on; few windows were predicted more than once."""
    names = {"validation": "of validation", "train": "of training"}
    parts = [f"{count} {names[side]}" for side, count in built.samples.items() if count]
    return f"{sum(built.samples.values())} real windows ({' and '.join(parts)})"


def _write_use(winner: Winner, built: Built, checked: Checked) -> str:
    task, alone = winner.config.task, built.outputs in ((), (1,))
    numbers = "(outputs.ravel() > 0.5).astype(int)" if alone else "outputs.argmax(axis=1)"
    module = f"import {checked.module}  # registers the model's own layers\n"
    axes = ", ".join(str(size) for size in built.inputs)
    return USE.format(
        module=module if checked.module else "",
        preprocessing=PREPROCESSING,
        keras=KERAS,
        shape=f"(windows, {axes})",
        example=EXAMPLE,
        read=READ[task.kind].format(
            numbers=numbers, power=1 if task.errors == "absolute" else 2, rule=RULE[task.rule]
        ),
    )


def _write_data(winner: Winner) -> str:
    card = winner.card
    named = {"Channels": card.channels, "Classes": card.classes, "Predicted": card.variables}
    lists = [f"{head}: {', '.join(names)}." for head, names in named.items() if names]
    if card.scaled_apart:
        lists.append(
            f"Each recording is scaled by its own training rows (`scaled_apart` in "
            f"`{PREPROCESSING}`): scale a new one by rows of its own that are known to be normal. "
            f"The example is scaled already."
        )
    if winner.config.task.threshold_by == "recording":
        lists.append(
            f"`threshold_recording_<n>` in `{PREPROCESSING}` is the threshold that recording n of "
            f"the study had; for a new one, take the same quantile of its own normal rows' errors."
        )
    return (
        f"{card.description} {card.audit}\n\nFingerprint `{card.fingerprint}`.\n\n{' '.join(lists)}"
    )


def _write_serving(built: Built) -> list[str]:
    """Write how each format is used that needs neither Keras nor this project's code."""
    parts = []
    for name, code in OTHERS.items():
        if name in built.left_out:
            parts.append(f"There is no `{name}`: {built.left_out[name]}")
        else:
            block = _fence(code.format(place=name))
            parts.append(f"`{name}` needs neither Keras nor this project's code:\n\n{block}")
    return parts


def _write_registered(winner: Winner, built: Built, alias: str, address: str) -> str:
    """Write what the registered model takes and gives."""
    name, rows = winner.config.name, (built.inputs[0] - 1) * built.stride + 1
    apart = (
        " Windows of a recording of the study are scaled by it if it is named "
        '(`params={"recording": ...}`); others must be scaled already.'
        if winner.card.scaled_apart
        else ""
    )
    return (
        f"The registered model in MLflow, with the alias `{alias}`, takes raw windows of {rows} "
        f"rows in the data's own units, as float32, and answers by {ANSWERS[winner.config.task.kind]}."
        f"{apart}\n\n{_fence(REGISTRY.format(model=name, alias=alias, address=address))}\n\n`MLFLOW_TRACKING_URI={address} "
        f"mlflow models serve -m models:/{name}@{alias} --env-manager local` serves it on 127.0.0.1: "
        f'`{{"inputs": [[[...], ...], ...]}}` to `/invocations`.'
    )


def _write_scores(winner: Winner) -> str:
    """Write the trial's and the naive baselines' scores, on validation and test."""
    metric = winner.config.objective.metric
    own: Scores = {
        k.removeprefix("val_"): v for k, v in winner.row.metrics.items() if k[:4] == "val_"
    }
    names = [metric, *(name for name in own if name != metric)]
    numbers = [str(member.number) for member in winner.members]
    who = f"mean of trials {', '.join(numbers)}" if numbers[1:] else f"trial {numbers[0]}"
    rows = [(f"trial {winner.row.number}", "validation, in the search", own)]
    rows += [(name, "validation", scores) for name, scores in winner.baselines.items()]
    if winner.test:
        names = [name for name in names if name in winner.test]
        rows += [(who, "test", winner.test)]
        rows += [(name, "test", scores) for name, scores in winner.test_baselines.items()]
    table = [
        (who, side, *(f"{scores.get(name, math.nan):.4f}" for name in names))
        for who, side, scores in rows
    ]
    return _table(("model", "side", *names), table)


def _name_members(winner: Winner) -> str:
    named = [f"trial {member.number}, {member.epochs} epochs" for member in winner.members]
    return named[0] if not named[1:] else f"the mean prediction of {'; '.join(named)}"


def _write_other_members(winner: Winner) -> list[str]:
    """Write the hyperparameters of all members but the winner."""
    return [
        f"Trial {member.number}: {write_parameters(member.parameters)}."
        for member in winner.members[1:]
    ]


def _write_looks(winner: Winner) -> str:
    times = "once" if winner.looks == 1 else f"{winner.looks} times"
    metric = winner.config.objective.metric
    refit = (
        " What was chosen was then trained again on training and validation targets together: the "
        "weights here, and the test score, are those of that training."
    )
    if winner.test:
        return (
            f"The test targets were looked at {times} in this study, after {metric} on validation "
            f"had chosen.{refit if winner.refit else ''}"
        )
    return f"The test targets were not looked at for this trial, and {times} for others."


def _write_agreement(built: Built, checked: Checked) -> list[tuple[str, str, str, str]]:
    rows = [
        (name, f"{difference:.1e}", f"{TOLERANCES[name]:g}", f"{checked.milliseconds[name]:.3g}")
        for name, difference in checked.differences.items()
    ]
    return rows + [(name, f"not written: {why}", "", "") for name, why in built.left_out.items()]


def _fence(code: str) -> str:
    return f"```python\n{code}```"


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
