"""Class probabilities are scored against class numbers."""

import warnings
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.data.sequences import Array, SequenceCard, SequenceData, Side, gather_windows
from search.errors import DivergedTraining, InvalidArchitecture
from search.tasks import Baseline, Direction

SMALLEST = 1e-7
"""Probabilities are kept this far from 0, as Keras keeps them, so that a logarithm is finite."""
TOLERANCE = 1e-3
"""How far from 0 to 1 a probability may lie by rounding, in half precision too."""
BINARY = 2
"""Classes that one probability can tell apart."""
GATHERED = 512
"""Windows that are summed up at once, to bound memory."""

Predictor: TypeAlias = Callable[[SequenceData, Side], Array]


class Classification:
    """One class out of several for each target."""

    kind: ClassVar[str] = "classification"
    directions: ClassVar[Mapping[str, Direction]] = {
        "accuracy": "maximize",
        "macro_f1": "maximize",
        "auroc": "maximize",
        "log_loss": "minimize",
    }

    def score(self, labels: Array, predictions: Array, card: SequenceCard) -> dict[str, float]:
        """Score class probabilities.

        Macro F1 and AUROC are averaged over the classes that the labels show, so that a side in
        which a class is missing can be scored, with the same average for every candidate.

        Args:
            labels: Class numbers of shape (targets,).
            predictions: Probabilities of shape (targets, classes); for two classes also the
                second one's alone, of shape (targets, 1) or (targets,).
            card: Names the classes.

        Returns:
            Accuracy, macro F1, AUROC (one class against the rest; NaN if the labels show one
            class only) and log loss.

        Raises:
            InvalidArchitecture: If the predictions have another shape or are no probabilities.
            DivergedTraining: If a prediction is not a finite number.
        """
        probabilities = _read(labels, np.asarray(predictions, dtype=np.float64), len(card.classes))
        chosen = probabilities.argmax(axis=1)
        shown = np.unique(labels)
        return {
            "accuracy": float(accuracy_score(labels, chosen)),
            "macro_f1": float(
                f1_score(labels, chosen, labels=shown, average="macro", zero_division=0)
            ),
            "auroc": _score_ranks(labels, probabilities, shown),
            "log_loss": float(log_loss(labels, probabilities, labels=np.arange(len(card.classes)))),
        }

    def baselines(self, data: SequenceData) -> list[Baseline]:
        """Fit the majority class, and logistic regression on each window's simple statistics.

        Args:
            data: The study's data.

        Returns:
            The two baselines.
        """
        predictors = {
            "majority class": _fit_shares(data),
            "logistic regression on window statistics": _fit_linear(data),
        }
        return [self._measure(name, predict, data) for name, predict in predictors.items()]

    def _measure(self, name: str, predict: Predictor, data: SequenceData) -> Baseline:
        def score(data: SequenceData, side: Side) -> dict[str, float]:
            return self.score(data.labels[side], predict(data, side), data.card)

        return Baseline(name=name, validation=score(data, "validation"), score=score)


def _read(labels: Array, predictions: Array, classes: int) -> Array:
    """Check predictions and write them as probabilities of shape (targets, classes)."""
    if predictions.ndim == 1:
        predictions = predictions[:, None]
    alone = classes == BINARY and predictions.shape == (len(labels), 1)
    if not alone and predictions.shape != (len(labels), classes):
        raise InvalidArchitecture(
            f"The model must put out one probability for each of {classes} classes, of shape "
            f"({len(labels)}, {classes}) for {len(labels)} targets. "
            f"Received: shape={predictions.shape}. "
            f"End it with Dense({classes}, activation='softmax')."
        )
    finite = np.isfinite(predictions)
    if not finite.all():
        raise DivergedTraining(
            f"Predictions must be finite numbers. Received: {np.count_nonzero(~finite)} of "
            f"{predictions.size} are not."
        )
    low, high = predictions.min(), predictions.max()
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise InvalidArchitecture(
            f"The model must put out probabilities, from 0 to 1. Received: values from {low:.3g} "
            f"to {high:.3g}. End it with activation='softmax'."
        )
    if alone:
        predictions = np.concatenate([1 - predictions, predictions], axis=1)
    clipped = np.clip(predictions, SMALLEST, 1)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def _fit_shares(data: SequenceData) -> Predictor:
    """Predict each class by its share of the training targets."""
    counts = np.bincount(data.labels["train"], minlength=len(data.card.classes))
    return lambda data, side: np.tile(counts / counts.sum(), (len(data.ends[side]), 1))


def _fit_linear(data: SequenceData) -> Predictor:
    """Fit logistic regression on the statistics of training windows."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        # A linear model that has not quite converged is still a fair baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(summarize_windows(data, "train"), data.labels["train"])

    def predict(data: SequenceData, side: Side) -> Array:
        predictions = np.zeros((len(data.ends[side]), len(data.card.classes)))
        predictions[:, model.classes_] = model.predict_proba(summarize_windows(data, side))
        return predictions

    return predict


def summarize_windows(data: SequenceData, side: Side) -> Array:
    """Compute each longest window's mean, spread, minimum, maximum and last value.

    Args:
        data: The study's data; of frames, the mean of each channel over the frame is taken.
        side: Whose targets.

    Returns:
        Statistics of shape (targets, 5 * channels).
    """
    rows = data.rows.mean(axis=tuple(range(1, data.rows.ndim - 1)))
    ends = data.ends[side]
    parts = [
        _summarize(gather_windows(rows, ends[low : low + GATHERED], data.card.longest))
        for low in range(0, len(ends), GATHERED)
    ]
    return np.concatenate(parts)


def _summarize(windows: Array) -> Array:
    """Compute the statistics of windows of shape (windows, steps, channels)."""
    statistics = [windows.mean(1), windows.std(1), windows.min(1), windows.max(1), windows[:, -1]]
    return np.concatenate(statistics, axis=1)


def _score_ranks(labels: Array, probabilities: Array, shown: Array) -> float:
    """Average the AUROC of each class that the labels show against the rest."""
    if len(shown) == 1:
        return float("nan")
    positives = shown if probabilities.shape[1] > BINARY else [1]
    scores = [roc_auc_score(labels == label, probabilities[:, label]) for label in positives]
    return float(np.mean(scores))
