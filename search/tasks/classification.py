"""Class probabilities are scored against class numbers."""

import warnings
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.data.sequences import Array, SequenceData, Side, Windows
from search.errors import InvalidArchitecture
from search.messages import Table
from search.tasks import Baseline, Direction, Predict
from search.tasks.predictions import Predictor, check_finite, make_baseline
from search.tasks.summaries import summarize_windows

SMALLEST = 1e-7
"""Probabilities are kept this far from 0, as Keras keeps them, so that a logarithm is finite."""
TOLERANCE = 1e-3
"""How far from 0 to 1 a probability may lie by rounding, in half precision too."""
BINARY = 2
"""Classes that one probability can tell apart."""


class Classification:
    """One class out of several for each target."""

    kind: ClassVar[str] = "classification"
    directions: ClassVar[Mapping[str, Direction]] = {
        "accuracy": "maximize",
        "macro_f1": "maximize",
        "auroc": "maximize",
        "log_loss": "minimize",
    }

    def output_shape(self, data: SequenceData, length: int) -> tuple[int, ...]:
        """Say that one prediction is of shape (classes,)."""
        return (len(data.card.classes),)

    def taught(self, data: SequenceData, output_shape: tuple[int, ...]) -> Windows:
        """Say that a model is taught class numbers; its loss may ask for another encoding."""
        return data.answers()

    def score(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, float]:
        """Score class probabilities.

        Macro F1 and AUROC are averaged over the classes that the labels show, so that a side in
        which a class is missing can be scored, with the same average for every candidate.

        Args:
            data: The study's data.
            side: Whose targets are scored.
            predict: Gives probabilities of shape (targets, classes); for two classes also the
                second one's alone, of shape (targets, 1) or (targets,).

        Returns:
            Accuracy, macro F1, AUROC (one class against the rest; NaN if the labels show one
            class only) and log loss.

        Raises:
            InvalidArchitecture: If the predictions have another shape or are no probabilities.
            DivergedTraining: If a prediction is not a finite number.
        """
        labels, classes = data.labels(side), len(data.card.classes)
        probabilities = _read(labels, predict(side), classes)
        chosen = probabilities.argmax(axis=1)
        shown = np.unique(labels)
        return {
            "accuracy": float(accuracy_score(labels, chosen)),
            "macro_f1": float(
                f1_score(labels, chosen, labels=shown, average="macro", zero_division=0)
            ),
            "auroc": _score_ranks(labels, probabilities, shown),
            "log_loss": float(log_loss(labels, probabilities, labels=np.arange(classes))),
        }

    def tables(self, data: SequenceData, side: Side, predict: Predict) -> Mapping[str, Table]:
        """Count which class is taken for which.

        Args:
            data: The study's data.
            side: Whose targets.
            predict: As for ``score``.

        Returns:
            "confusion matrix": a line for each true class, a column for each predicted one.
        """
        labels, names = data.labels(side), data.card.classes
        chosen = _read(labels, predict(side), len(names)).argmax(axis=1)
        counts = confusion_matrix(labels, chosen, labels=np.arange(len(names))).tolist()
        lines = [(name, *line) for name, line in zip(names, counts, strict=True)]
        return {"confusion matrix": (("true class", *names), lines)}

    def reading(self, data: SequenceData, predict: Predict) -> Mapping[str, float]:
        """Say that a prediction needs no other number to be read."""
        return {}

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
        return [make_baseline(name, self, each, data) for name, each in predictors.items()]


def _read(labels: Array, predictions: Array, classes: int) -> Array:
    """Check predictions and write them as probabilities of shape (targets, classes)."""
    predictions = np.asarray(predictions, dtype=np.float64)
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
    check_finite(predictions)
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
    counts = np.bincount(data.labels("train"), minlength=len(data.card.classes))
    return lambda data, side: np.tile(counts / counts.sum(), (len(data.ends[side]), 1))


def _fit_linear(data: SequenceData) -> Predictor:
    """Fit logistic regression on the statistics of training windows."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        # A linear model that has not quite converged is still a fair baseline.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(summarize_windows(data, "train"), data.labels("train"))

    def predict(data: SequenceData, side: Side) -> Array:
        predictions = np.zeros((len(data.ends[side]), len(data.card.classes)))
        predictions[:, model.classes_] = model.predict_proba(summarize_windows(data, side))
        return predictions

    return predict


def _score_ranks(labels: Array, probabilities: Array, shown: Array) -> float:
    """Average the AUROC of each class that the labels show against the rest."""
    if len(shown) == 1:
        return float("nan")
    positives = shown if probabilities.shape[1] > BINARY else [1]
    scores = [roc_auc_score(labels == label, probabilities[:, label]) for label in positives]
    return float(np.mean(scores))
