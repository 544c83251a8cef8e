"""Raw windows in, answers out: what is registered in MLflow, and what scores new data.

This file is copied into the registered model, where it works alone: it imports nothing of ours.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
MODEL = "model.keras"
PREPROCESSING = "preprocessing.json"
CHECKSUMS = "SHA256SUMS"
FORMAT = 1
"""What ``preprocessing.json`` holds, and how it is read; another number is another format."""
AT_ONCE = 64
"""Windows that are predicted at once, to bound memory."""
NAMED = 5
"""Recordings that a message names."""


class AnsweringError(ValueError):
    """Says what is wrong with an export, or with what it was asked."""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """A trained model with all that turns raw windows into answers.

    Attributes:
        model: The Keras model, from scaled windows.
        facts: What ``preprocessing.json`` holds.
    """

    model: Any
    facts: Mapping[str, Any]

    @property
    def reach(self) -> int:
        """Rows that a window must have: the sequence length, with the rows between its steps."""
        return int((self.facts["sequence_length"] - 1) * self.facts["rows_between_steps"] + 1)

    def predict(
        self, windows: Array, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame | Array:
        """Answer for the last row of each raw window, as MLflow calls it.

        Args:
            windows: Of shape (windows, rows, channels), or with a frame's axes before the
                channels, in the data's own units; of more rows than ``reach`` the last are read.
            params: "recording": the recording of the study that the windows are of, where each
                was scaled by its own rows or has its own threshold. Without it, the threshold is
                that of all, and windows of a study that scaled each recording apart must be
                scaled already.

        Returns:
            One line a window: the class and the probability of each, values, values by steps
            ahead, or error, threshold and whether the window is anomalous. Frames are of shape
            (windows, frames ahead, height, width, channels).

        Raises:
            AnsweringError: If the windows have another shape, a value that is no finite number,
                or the recording is not known.
        """
        recording = str((params or {}).get("recording", ""))
        scaled = self.scale(self.cut(windows), recording)
        return self.answer(scaled, self.run(scaled), recording)

    def cut(self, windows: Array) -> Array:
        """Take the rows of raw windows that the model reads.

        Args:
            windows: As for ``predict``.

        Returns:
            Windows of shape (windows, sequence length, ...), float32.

        Raises:
            AnsweringError: As ``predict`` does.
        """
        windows = np.asarray(windows, dtype=np.float32)
        row = tuple(self.facts["row_shape"])
        shown = ", ".join(map(str, row))
        if windows.shape[2:] != row or windows.shape[1] < self.reach:
            raise AnsweringError(
                f"windows must have the shape (windows, {self.reach} rows or more, {shown}), "
                f"whose channels are {', '.join(self.facts['channels'])}. "
                f"Received: shape={windows.shape}."
            )
        if not np.isfinite(windows).all():
            raise AnsweringError(
                "windows must hold finite numbers. Received: NaN or infinity. Leave these "
                "windows out, or fill their values in as the study's data.missing says."
            )
        return windows[:, -self.reach :: self.facts["rows_between_steps"]]

    def scale(self, windows: Array, recording: str = "") -> Array:
        """Scale windows as the training windows were scaled.

        Args:
            windows: Of shape (windows, sequence length, ...), in the data's own units.
            recording: As for ``predict``.

        Returns:
            An array of the same shape, float32.

        Raises:
            AnsweringError: If the recording is not known.
        """
        mean, scale = self.facts["mean"], self.facts["scale"]
        if recording and self.facts["scaled_apart"]:
            mean, scale = self.facts["scaled_apart"][self._known(recording)]
        return self.scale_by(windows, mean, scale)

    @staticmethod
    def scale_by(windows: Array, mean: Any, scale: Any) -> Array:
        """Scale windows by given means and scales, each of shape (channels,), as float32."""
        mean, scale = (np.asarray(values, dtype=np.float32) for values in (mean, scale))
        scaled: Array = (windows.astype(np.float32) - mean) / scale
        return scaled

    def run(self, scaled: Array) -> Array:
        """Predict from scaled windows, some at once.

        Args:
            scaled: Of shape (windows, sequence length, ...).

        Returns:
            What the model puts out, one a window.
        """
        parts = [
            np.asarray(self.model.predict_on_batch(scaled[low : low + AT_ONCE]))
            for low in range(0, len(scaled), AT_ONCE)
        ]
        return np.concatenate(parts)

    def answer(self, scaled: Array, outputs: Array, recording: str = "") -> pd.DataFrame | Array:
        """Read what the model put out.

        Args:
            scaled: The scaled windows.
            outputs: What the model put out for them.
            recording: As for ``predict``.

        Returns:
            As for ``predict``.

        Raises:
            AnsweringError: If the recording is not known.
        """
        facts = self.facts
        if facts["task"] == "frames":
            low, scale = (np.asarray(facts[name], np.float32) for name in ("mean", "scale"))
            frames = outputs.reshape(len(outputs), -1, *facts["row_shape"])
            return np.clip(frames, 0, 1) * scale + low
        if facts["task"] == "anomaly":
            errors = self.measure(scaled, outputs)
            limit = self.threshold(recording)
            return judge(errors, limit)
        if facts["task"] == "classification":
            return self._name_classes(outputs)
        mean, scale = (np.asarray(facts[f"truth_{name}"]) for name in ("mean", "scale"))
        values = outputs.reshape(len(outputs), -1, len(mean)) * scale + mean
        columns = {
            (f"{name} +{step + 1}" if facts["horizon"] else name): values[:, step, place]
            for step in range(values.shape[1])
            for place, name in enumerate(facts["variables"])
        }
        return pd.DataFrame(columns)

    def measure(self, scaled: Array, outputs: Array) -> Array:
        """Average the error of each window over the rows that the model puts out.

        Args:
            scaled: The scaled windows.
            outputs: The last rows of each as the model expects them.

        Returns:
            Errors of shape (windows,).
        """
        power = 1 if self.facts["errors"] == "absolute" else 2
        gaps = abs(outputs - scaled[:, -outputs.shape[1] :]) ** power
        errors: Array = gaps.reshape(len(gaps), -1).mean(axis=1, dtype=np.float64)
        return errors

    def threshold(self, recording: str = "") -> float:
        """Find the error above which a window is anomalous.

        Args:
            recording: As for ``predict``.

        Returns:
            The recording's own threshold where it has one, else that of all.

        Raises:
            AnsweringError: If the recording is not known.
        """
        general = self.facts["threshold"]
        if not recording:
            return float(general)
        number = self.facts["recordings"].index(self._known(recording))
        return float(self.facts.get(f"threshold_recording_{number}", general))

    def _known(self, recording: str) -> str:
        known = list(dict.fromkeys(self.facts["scaled_apart"] or self.facts["recordings"]))
        if recording not in known:
            names = [*map(repr, known[:NAMED]), *(["..."] if len(known) > NAMED else [])]
            raise AnsweringError(
                f"recording must be one that the study knew: {', '.join(names)}. "
                f"Received: recording={recording!r}. Leave it out for others."
            )
        return recording

    def _name_classes(self, outputs: Array) -> pd.DataFrame:
        names = self.facts["classes"]
        if outputs.size == len(outputs):  # one probability alone is the second class's
            outputs = np.stack([1 - outputs.ravel(), outputs.ravel()], axis=1)
        shares = {f"probability of {name}": outputs[:, at] for at, name in enumerate(names)}
        chosen = [names[number] for number in outputs.argmax(axis=1)]
        return pd.DataFrame({"class": chosen, **shares})


def read_numbers(answer: pd.DataFrame | Array) -> Array:
    """Take the numbers of an answer.

    Args:
        answer: What ``Answering.predict`` returned.

    Returns:
        Frames as they are, else the columns of numbers side by side.
    """
    if isinstance(answer, pd.DataFrame):
        numbers = [answer[name].to_numpy() for name in answer if answer[name].dtype.kind == "f"]
        return np.stack(numbers, axis=1)
    return answer


def judge(errors: Array, limit: float) -> pd.DataFrame:
    """Compare errors of shape (windows,) with a threshold; what is no number is anomalous."""
    return pd.DataFrame({"error": errors, "threshold": limit, "anomalous": ~(errors <= limit)})


def load_answering(folder: Path) -> Answering:
    """Load an export, or the files of a registered model, whose files may hold no code.

    Args:
        folder: Holds ``MODEL``, ``PREPROCESSING`` and ``CHECKSUMS``.

    Returns:
        What answers.

    Raises:
        AnsweringError: If a file is missing or another than was written, or Keras does not take
            it.
    """
    for name in (MODEL, PREPROCESSING):
        check_file(folder, name)
    try:
        facts = json.loads((folder / PREPROCESSING).read_text(encoding="utf-8"))
    except ValueError:
        facts = None
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise AnsweringError(
            f"An export must be of the format {FORMAT}, which this version writes. Received: "
            f"format={found!r} in {str(folder)!r}. Export again."
        )
    import keras  # noqa: PLC0415  # whoever only checks files does without

    try:
        model = keras.saving.load_model(folder / MODEL, compile=False, safe_mode=True)
    except (TypeError, ValueError) as exc:
        reason = str(exc).strip().splitlines()[0]
        module = facts["space"].partition(":")[0]
        advice = f" Import {module} first, where its layers are." if ":" in facts["space"] else ""
        raise AnsweringError(
            f"{MODEL} must be a model that Keras can load: {reason} "
            f"Received: {str(folder)!r}.{advice}"
        ) from exc
    return Answering(model=model, facts=facts)


def check_file(folder: Path, name: str) -> None:
    """Refuse a file of an export that is not the one that was written.

    Args:
        folder: The export.
        name: The file's name.

    Raises:
        AnsweringError: If it is missing, or has another checksum than ``CHECKSUMS`` says.
    """
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is no text"
        raise AnsweringError(
            f"An export must hold {MODEL}, {PREPROCESSING} and {CHECKSUMS}: {reason}. "
            f"Received: {str(folder)!r}. Name a folder that scripts/export_best.py wrote."
        ) from None
    if f"{found}  {name}" not in lines:
        raise AnsweringError(
            f"{name} must be the file that was exported. Received: one with another checksum "
            f"than {CHECKSUMS} says, in {str(folder)!r}. Export again."
        )


def _load_pyfunc(path: str) -> Answering:
    """Load what was registered, as MLflow calls it."""
    return load_answering(Path(path))
