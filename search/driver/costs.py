"""What trials have cost teaches what others will: the rates of an epoch's parts, and the time left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from statistics import fmean, median

import numpy as np
from sklearn.linear_model import LinearRegression

from search.driver.leaderboard import TrialRow
from search.messages import Rates

LEAST = 5
"""Trials that rates are learned from at the least: one more than there are rates."""


def learn_rates(rows: Iterable[TrialRow]) -> Rates | None:
    """Fit how long an epoch's parts take to the epochs that trials have had.

    Least squares of relative errors, no rate below zero: a long epoch counts no more than a short one.

    Args:
        rows: Trials of any outcome.

    Returns:
        The rates; ``None`` while too few trials have had an epoch that did not compile.
    """
    known = [(row.cost, row.epoch_seconds) for row in rows if row.cost and row.epoch_seconds]
    if len(known) < LEAST:
        return None
    parts = np.array([(1.0, one.steps, one.waits, one.work) for one, _ in known])
    seconds = np.array([spent for _, spent in known])
    scales = parts.max(axis=0)
    scales[scales == 0] = 1.0
    model = LinearRegression(positive=True, fit_intercept=False)
    model.fit(parts / scales / seconds[:, None], np.ones(len(seconds)))
    epoch, step, wait, work = (model.coef_ / scales).tolist()
    return Rates(epoch=epoch, step=step, wait=wait, work=work)


def typical_epoch(seconds: Sequence[float]) -> float | None:
    """Find how long an epoch of a trial takes, without the first one, in which it is compiled.

    Args:
        seconds: Of each epoch, in seconds.

    Returns:
        Their median; ``None`` before the second one.
    """
    return median(seconds[1:]) if len(seconds) > 1 else None


def predict_search(
    running: Iterable[TrialRow], ended: Sequence[TrialRow], unbegun: int, rates: Rates | None
) -> float | None:
    """Predict how long the trials that have not ended will keep workers busy.

    Args:
        running: Trials that have begun.
        ended: Trials that have ended.
        unbegun: How many are still to be begun.
        rates: What is known of epochs; ``None`` while too little is.

    Returns:
        In seconds of one worker; ``None`` while nothing is known.
    """
    if not ended:
        return None
    usual = fmean(row.seconds for row in ended)
    # Of a thousand that run many stand alike: what others tell of them is reckoned once.
    find = cache(partial(find_rest, ended=ended))
    rests = (predict_rest(row, find(row.epochs), rates) for row in running)
    return sum(usual if rest is None else rest for rest in rests) + unbegun * usual


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What trials took after so many epochs, in the mean.

    Attributes:
        epochs: How many more they had.
        seconds: Their time for these.
        fixed: What they took beside all their epochs, in seconds.
    """

    epochs: float
    seconds: float
    fixed: float


def find_rest(epochs: int, ended: Sequence[TrialRow]) -> Rest | None:
    """Find what trials took that came further than so many epochs.

    Args:
        epochs: How many.
        ended: Trials that have ended, in any way.

    Returns:
        Their means; ``None`` if no trial came further.
    """
    further = [one for one in ended if one.epochs > epochs]
    if not further:
        return None
    return Rest(
        epochs=fmean(one.epochs - epochs for one in further),
        seconds=fmean(one.seconds * (1 - epochs / one.epochs) for one in further),
        fixed=fmean(fixed_seconds(one) for one in further),
    )


def predict_rest(row: TrialRow, rest: Rest | None, rates: Rates | None) -> float | None:
    """Predict how long a running trial still takes.

    Trials that have come further say how many epochs there will be; its own epochs, or else
    its cost, how long each takes.

    Args:
        row: A running trial.
        rest: What others took after as many epochs; ``None`` if no trial came further.
        rates: What is known of epochs; ``None`` while too little is.

    Returns:
        In seconds; ``None`` if no trial came further.
    """
    if rest is None:
        return None
    each = row.epoch_seconds
    if each is None and row.cost is not None and rates is not None:
        each = rates.predict(row.cost)
    if each is None:
        return rest.seconds
    return rest.epochs * each + (0.0 if row.epochs else rest.fixed)


def fixed_seconds(row: TrialRow) -> float:
    """Say what a trial took beside its epochs: building, compiling, the end."""
    return max(0.0, row.seconds - row.own_epochs * row.epoch_seconds) if row.epoch_seconds else 0.0


def predict_again(row: TrialRow, epochs: int) -> float:
    """Predict how long a trial that has ended takes when it is trained again.

    Args:
        row: The trial.
        epochs: For how many epochs.

    Returns:
        In seconds.
    """
    each = row.epoch_seconds or row.seconds / max(1, row.own_epochs)
    return fixed_seconds(row) + epochs * each
