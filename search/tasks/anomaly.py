"""What a model expects of a target's rows is compared with what they are, and judged by a threshold."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from sklearn.decomposition import PCA

from search.config import TaskConfig
from search.data.sequences import Array, SequenceData, Side, Windows
from search.errors import DataError, InvalidArchitecture
from search.messages import Table
from search.tasks import Baseline, Direction, Predict
from search.tasks.detections import (
    Detection,
    count_alarms,
    find_clean,
    least_covering,
    score_detection,
    work_out_rates,
)
from search.tasks.predictions import (
    Predictor,
    bounded_slices,
    check_finite,
    make_baseline,
)

MOST_VALUES = 2**22
"""Numbers that are compared at once, to bound memory."""
LEAST_OWN = 20
"""Normal validation targets that a recording needs for a threshold of its own."""
SMALLEST = 1e-12
"""The least threshold, so that scores can be divided by it."""
MOST_SHOWN = 1000
"""Targets whose scores are shown; of more, the highest score of each stretch."""
KEPT_VARIANCE = 0.95
"""The share of the training variance that the PCA baseline explains."""
PCA_WINDOWS, PCA_VALUES = 1000, 1024
"""Windows that PCA is fitted on, and numbers in one of them, to bound its time."""


class Anomaly:
    """Whether a target is unlike the normal data.

    A model puts out the last k rows of each target's window: all of it if it is an autoencoder,
    the last one if it predicts that row from those before. The anomaly score is the mean error
    over these rows; the threshold rests on the normal validation targets alone.

    Args:
        config: Says how errors become scores, and scores alarms.
    """

    kind: ClassVar[str] = "anomaly"
    directions: ClassVar[Mapping[str, Direction]] = {
        "error": "minimize",
        "average_precision": "maximize",
        "auroc": "maximize",
        "f1": "maximize",
        "far": "minimize",
        "mar": "minimize",
    }

    def __init__(self, config: TaskConfig) -> None:
        self._config = config

    def output_shape(self, data: SequenceData, length: int) -> tuple[int, ...]:
        """Say what shape a reconstruction has; a model may also put out fewer of the last rows.

        Args:
            data: The study's data.
            length: Steps in the windows that the model reads.

        Returns:
            (length, channels), or with a frame's axes in place of the channels.
        """
        return (length, *data.rows.shape[1:])

    def taught(self, data: SequenceData, output_shape: tuple[int, ...]) -> Windows:
        """Say which rows a model is taught to put out: the last ones up to the target.

        Args:
            data: The study's data.
            output_shape: The shape of one prediction: (k, channels).

        Returns:
            The last k rows.

        Raises:
            InvalidArchitecture: If the shape is not that of rows that a window can show.
        """
        row, longest = data.rows.shape[1:], data.card.longest
        if output_shape[1:] != row or not 1 <= output_shape[0] <= longest:
            raise InvalidArchitecture(
                f"The model must put out the last k rows of its window, of shape "
                f"(k, {', '.join(map(str, row))}) with k from 1 to {longest}. "
                f"Received: output_shape={tuple(output_shape)}. Take the window's length as k "
                f"for an autoencoder, 1 for a prediction of the last row."
            )
        return data.inputs(output_shape[0])

    def score(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, float]:
        """Score a model by its errors, and by the alarms that its threshold gives.

        Args:
            data: The study's data.
            side: Whose targets are scored.
            predict: Gives rows of shape (targets, k, channels), scaled, for that side and for
                validation.

        Returns:
            ``error``, the mean error over targets whose longest window shows no anomalous row
            (NaN if the side has none). Average
            precision and AUROC (NaN if the side shows normal or anomalous targets alone). F1 and
            ``mar``, the share of anomalous targets without an alarm (NaN without anomalous
            targets). ``far``, the share of normal targets with one (NaN without normal targets).

        Raises:
            DataError: If no validation target is normal.
            InvalidArchitecture: If the predictions are no rows of the window.
            DivergedTraining: If a prediction is not a finite number.
        """
        return score_detection(self._detect(data, side, predict))

    def tables(self, data: SequenceData, side: Side, predict: Predict) -> Mapping[str, Table]:
        """Count hits and false alarms, on the whole and in each recording.

        Args:
            data: The study's data.
            side: Whose targets.
            predict: As for ``score``.

        Returns:
            "confusion" and "detection by recording"; what is undefined there is NaN. And "score
            over time" in the recording with most anomalous targets, in multiples of the threshold.

        Raises:
            DataError: As ``score`` does.
            InvalidArchitecture: As ``score`` does.
            DivergedTraining: As ``score`` does.
        """
        found, recordings = self._detect(data, side, predict), data.recordings[side]
        hits, false, missed, quiet = count_alarms(found.flags, found.alarms)
        confusion = [("normal", quiet, false), ("anomalous", missed, hits)]
        lines = []
        for number in np.unique(recordings):
            flags, alarms = (v[recordings == number] for v in (found.flags, found.alarms))
            rates = work_out_rates(flags, alarms)
            lines.append((int(number), len(flags), int(flags.sum()), *rates.values()))
        heads = ("recording", "targets", "anomalous", "F1", "FAR", "MAR")
        return {
            "confusion": (("truth", "called normal", "called anomalous"), confusion),
            "detection by recording": (heads, lines),
            "score over time": _show_scores(found, data.ends[side], recordings),
        }

    def reading(self, data: SequenceData, predict: Predict) -> Mapping[str, float]:
        """Name the error above which the window of a target is anomalous.

        Args:
            data: The study's data.
            predict: As for ``score``; it is asked for validation alone.

        Returns:
            ``threshold``, for recordings without one of their own, and ``threshold_recording_<n>``
            for those with one; in the error of scaled rows.

        Raises:
            DataError: As ``score`` does.
            InvalidArchitecture: As ``score`` does.
            DivergedTraining: As ``score`` does.
        """
        errors, _ = self._measure(data, "validation", predict)
        general, own = self._find_thresholds(data, errors)
        return {"threshold": general, **{f"threshold_recording_{n}": t for n, t in own.items()}}

    def baselines(self, data: SequenceData) -> list[Baseline]:
        """Flag all, measure each row's distance from the training mean, and fit PCA.

        Args:
            data: The study's data.

        Returns:
            The three baselines; the last two have thresholds by the rule of the models.

        Raises:
            DataError: If no validation target is normal.
        """
        name = "everything is anomalous"
        return [
            Baseline(name=name, validation=_flag_all(data, "validation"), score=_flag_all),
            make_baseline("distance from the training mean", self, _fit_mean(data), data),
            make_baseline("PCA reconstruction of the window", self, _fit_pca(data), data),
        ]

    def _detect(self, data: SequenceData, side: Side, predict: Predict) -> Detection:
        """Divide each target's error by the threshold that normal validation targets give."""
        errors, steps = self._measure(data, side, predict)
        known = errors if side == "validation" else self._measure(data, "validation", predict)[0]
        scores = errors
        if self._config.rule == "covering":
            scores = least_covering(errors, data.ends[side], data.recordings[side], steps)
        return Detection(
            flags=data.labels(side) == 1,
            clean=find_clean(data, side),
            errors=errors,
            scores=scores / self._spread_thresholds(data, side, known),
        )

    def _measure(self, data: SequenceData, side: Side, predict: Predict) -> tuple[Array, int]:
        """Average each target's errors over rows and channels; also say over how many rows.

        Raises:
            InvalidArchitecture: If the predictions are no rows of the window.
            DivergedTraining: If a prediction is not a finite number.
        """
        outputs, ends = np.asarray(predict(side)), data.ends[side]
        if outputs.ndim == 0 or len(outputs) != len(ends):
            raise InvalidArchitecture(
                f"The model must put out rows for each of {len(ends)} targets. "
                f"Received: shape={outputs.shape}."
            )
        taught = self.taught(data, outputs.shape[1:])
        check_finite(outputs)
        power = 1 if self._config.errors == "absolute" else 2
        errors = np.zeros(len(ends))
        for part in bounded_slices(len(ends), math.prod(outputs.shape[1:]), MOST_VALUES):
            gaps = abs(outputs[part] - taught.gather(ends[part])) ** power
            errors[part] = gaps.reshape(len(gaps), -1).mean(axis=1, dtype=np.float64)
        return errors, outputs.shape[1]

    def _spread_thresholds(self, data: SequenceData, side: Side, validation: Array) -> Array:
        """Give each of a side's targets its threshold, of shape (targets,)."""
        general, own = self._find_thresholds(data, validation)
        thresholds = np.full(len(data.ends[side]), general)
        for number, threshold in own.items():
            thresholds[data.wholes(side) == number] = threshold
        return thresholds

    def _find_thresholds(
        self, data: SequenceData, validation: Array
    ) -> tuple[float, dict[int, float]]:
        """Work out thresholds from the errors of normal validation targets.

        Returns:
            The threshold from all recordings, and those of recordings that have their own.

        Raises:
            DataError: If no validation target is normal.
        """
        normal = find_clean(data, "validation")
        if not normal.any():
            raise DataError(
                "The validation side must show windows without an anomalous row: thresholds rest "
                "on them. Received: none. Change split.method or its borders."
            )
        errors, owners = validation[normal], data.wholes("validation")[normal]
        own = {}
        if self._config.threshold_by == "recording":
            numbers, counts = np.unique(owners, return_counts=True)
            for number in numbers[counts >= LEAST_OWN]:
                own[int(number)] = self._find_threshold(errors[owners == number])
        return self._find_threshold(errors), own

    def _find_threshold(self, errors: Array) -> float:
        quantile = float(np.quantile(errors, self._config.quantile))
        return max(quantile * self._config.margin, SMALLEST)


def _show_scores(found: Detection, ends: Array, recordings: Array) -> Table:
    """Write the scores of the recording with most anomalous targets, by row."""
    numbers, places = np.unique(recordings, return_inverse=True)
    flagged = np.bincount(places, weights=found.flags)
    own = np.flatnonzero(places == np.argmax(flagged))
    own = own[np.argsort(ends[own])]
    stretches = np.array_split(own, min(MOST_SHOWN, len(own)))
    highest = [stretch[np.argmax(found.scores[stretch])] for stretch in stretches]
    recording = int(numbers[np.argmax(flagged)])
    lines = [
        (recording, int(ends[at]), float(found.scores[at]), int(found.flags[at])) for at in highest
    ]
    return ("recording", "row", "score", "anomalous"), lines


def _flag_all(data: SequenceData, side: Side) -> dict[str, float]:
    """Score an alarm at every target; it makes no errors, so that ``error`` is NaN."""
    flags = data.labels(side) == 1
    nothing, alarms = np.full(len(flags), np.nan), np.full(len(flags), 2.0)
    return score_detection(Detection(flags=flags, clean=~flags, errors=nothing, scores=alarms))


def _fit_mean(data: SequenceData) -> Predictor:
    """Expect each channel's mean over the training targets' rows."""
    mean = data.windows("train", 1).mean(axis=0)
    return lambda data, side: np.broadcast_to(mean, (len(data.ends[side]), *mean.shape))


def _fit_pca(data: SequenceData) -> Predictor:
    """Expect of a window what the main components of training windows can say of it."""
    row = data.rows.shape[1:]
    steps = max(1, min(data.card.longest, PCA_VALUES // math.prod(row)))
    windows, ends = data.inputs(steps), data.ends["train"]
    chosen = ends[:: math.ceil(len(ends) / PCA_WINDOWS)]
    model = PCA(KEPT_VARIANCE, svd_solver="full")
    model.fit(windows.gather(chosen).reshape(len(chosen), -1))

    def predict(data: SequenceData, side: Side) -> Array:
        windows, ends = data.inputs(steps), data.ends[side]
        outputs = np.empty((len(ends), steps, *row), np.float32)
        for part in bounded_slices(len(ends), math.prod(outputs.shape[1:]), MOST_VALUES):
            flat = windows.gather(ends[part]).reshape(len(outputs[part]), -1)
            drawn = model.inverse_transform(model.transform(flat))
            outputs[part] = drawn.reshape(outputs[part].shape)
        return outputs

    return predict
