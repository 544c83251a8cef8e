"""Errors and alarms of a side's targets become scores; undefined ones are NaN."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from search.data.sequences import Array, SequenceData, Side
from search.data.targets import any_within


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What was found on a side.

    Attributes:
        flags: Whether each target is anomalous in truth, of shape (targets,).
        clean: Whether no row of a target's longest window is, of shape (targets,).
        errors: The mean error at each target, of shape (targets,).
        scores: Anomaly scores as multiples of the threshold, of shape (targets,).
    """

    flags: Array
    clean: Array
    errors: Array
    scores: Array

    @property
    def alarms(self) -> Array:
        """Whether each target is called anomalous, of shape (targets,)."""
        return np.asarray(self.scores > 1)


def least_covering(errors: Array, ends: Array, recordings: Array, steps: int) -> Array:
    """Take for each target the least error among the windows of its side that show its row.

    Source: the convolutional autoencoder of the SKAB leaderboard, https://github.com/waico/SKAB.

    Args:
        errors: The error of the window that ends at each target, of shape (targets,).
        ends: Where the targets' windows end, of shape (targets,).
        recordings: The recording of each target, of shape (targets,).
        steps: Rows in a window.

    Returns:
        Errors of shape (targets,).
    """
    order = np.argsort(ends)
    errors, ends, recordings = errors[order], ends[order], recordings[order]
    least = errors.copy()
    for ahead in range(1, min(steps, len(ends))):
        covers = ends[ahead:] - ends[:-ahead] < steps
        covers &= recordings[ahead:] == recordings[:-ahead]
        later = np.where(covers, errors[ahead:], np.inf)
        least[:-ahead] = np.minimum(least[:-ahead], later)
    return least[np.argsort(order)]


def find_clean(data: SequenceData, side: Side) -> Array:
    """Say which targets have no anomalous row in their longest window.

    Args:
        data: The study's data.
        side: Whose targets.

    Returns:
        Flags of shape (targets,).
    """
    ends, flags = data.ends[side], np.asarray(data.truths == 1)
    return ~any_within(flags, ends + 1 - data.card.longest, ends + 1)


def score_detection(found: Detection) -> dict[str, float]:
    """Work out the metrics of anomaly detection.

    Args:
        found: What was found on a side.

    Returns:
        ``error``, ``average_precision``, ``auroc``, ``f1``, ``far`` and ``mar``; NaN where
        undefined.
    """
    normal = found.errors[found.clean]
    precision = auroc = float("nan")
    if 0 < np.count_nonzero(found.flags) < len(found.flags):
        precision = float(average_precision_score(found.flags, found.scores))
        auroc = float(roc_auc_score(found.flags, found.scores))
    return {
        "error": float(normal.mean()) if len(normal) else float("nan"),
        "average_precision": precision,
        "auroc": auroc,
        **work_out_rates(found.flags, found.alarms),
    }


def work_out_rates(flags: Array, alarms: Array) -> dict[str, float]:
    """Work out F1, and the shares of false and of missed alarms.

    Args:
        flags: Whether each target is anomalous in truth, of shape (targets,).
        alarms: Whether it is called so, of shape (targets,).

    Returns:
        ``f1``, ``far`` and ``mar``; NaN where undefined.
    """
    hits, false, missed, quiet = count_alarms(flags, alarms)
    undefined = float("nan")
    return {
        "f1": 2 * hits / (2 * hits + false + missed) if hits + missed else undefined,
        "far": false / (false + quiet) if false + quiet else undefined,
        "mar": missed / (hits + missed) if hits + missed else undefined,
    }


def count_alarms(flags: Array, alarms: Array) -> tuple[int, int, int, int]:
    """Count hits, false alarms, missed anomalies and quiet normal targets.

    Args:
        flags: Whether each target is anomalous in truth, of shape (targets,).
        alarms: Whether it is called so, of shape (targets,).

    Returns:
        The four counts, in that order.
    """
    pairs = (flags & alarms, ~flags & alarms, flags & ~alarms, ~flags & ~alarms)
    hits, false, missed, quiet = (int(np.count_nonzero(pair)) for pair in pairs)
    return hits, false, missed, quiet
