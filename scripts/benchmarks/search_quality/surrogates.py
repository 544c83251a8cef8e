"""A table of learning curves, and a surrogate that answers for hyperparameters between its lines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

from search.messages import ChoiceDomain, Domain, FloatDomain, IntDomain, Listed

HERE = Path(__file__).parent
TREES = 100
ALIKE = 10
"""Candidates that were trained twice, the nearest in their last error, of which one lends its noise."""
Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Learning curves of one task.

    Attributes:
        direction: "maximize" or "minimize".
        distributions: What each hyperparameter may be, by name.
        defaults: The space's own values.
        parameters: Hyperparameters of each curve.
        curves: The objective's running best, of shape (curves, epochs).
        pairs: Of each candidate that was trained twice: its line, and its second curve.
    """

    direction: str
    distributions: Mapping[str, BaseDistribution]
    defaults: Values
    parameters: Sequence[Values]
    curves: Any
    pairs: Sequence[tuple[int, Any]]

    @property
    def epochs(self) -> int:
        """The epochs of a whole training."""
        return int(self.curves.shape[1])

    @property
    def listing(self) -> tuple[Listed, ...]:
        """What a candidate asks for, in order."""
        return tuple(
            Listed(name=name, domain=as_domain(one), default=self.defaults[name])
            for name, one in self.distributions.items()
        )


def load_table(task: str) -> Table:
    """Read a table that curves.py wrote.

    Args:
        task: Its name.

    Returns:
        The table.
    """
    facts = json.loads((HERE / f"{task}.json").read_text())
    distributions = {
        name: json_to_distribution(text) for name, text in facts["distributions"].items()
    }
    lines = pd.read_csv(HERE / f"{task}.csv.gz")
    epochs = [name for name in lines.columns if name.startswith("epoch ")]
    first = lines[lines["repeats"].isna()]
    again = lines[lines["repeats"].notna()]
    parameters = [
        {name: as_asked(one, row[name]) for name, one in distributions.items()}
        for row in first.to_dict("records")
    ]
    pairs = zip(again["repeats"].astype(int), again[epochs].to_numpy(), strict=True)
    return Table(
        direction=facts["direction"],
        distributions=distributions,
        defaults=facts["defaults"],
        parameters=parameters,
        curves=first[epochs].to_numpy(),
        pairs=list(pairs),
    )


def as_asked(distribution: BaseDistribution, value: Any) -> Any:
    """Write a value of a table as a sampler answers it."""
    if isinstance(distribution, IntDistribution):
        return int(value)
    if isinstance(distribution, FloatDistribution):
        return float(value)
    assert isinstance(distribution, CategoricalDistribution)  # noqa: S101  # Optuna has no fourth
    return next(one for one in distribution.choices if str(one) == str(value))


def as_domain(distribution: BaseDistribution) -> Domain:
    """Write what Optuna keeps as what a space asks for."""
    match distribution:
        case IntDistribution(low=low, high=high, step=step, log=log):
            return IntDomain(low=low, high=high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return FloatDomain(low=low, high=high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return ChoiceDomain(values=tuple(choices))
    raise TypeError(f"A domain must be one of Optuna's three. Received: {distribution!r}.")


class Surrogate:
    """Learning curves for any hyperparameters, learned from a table.

    Extremely randomised trees (Geurts et al. 2006) learn the logarithm of the error after every epoch; what two
    trainings of one candidate differ by, from its second training, is what a seed adds: of one of the candidates that
    are about as good, since bad ones scatter more.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._sign = 1.0 if table.direction == "minimize" else -1.0
        errors = self._as_errors(table.curves)
        self._trees = self._make().fit(self._encode(table.parameters), errors)
        self._levels = errors[[line for line, _ in table.pairs], -1]
        self._noise = np.array(
            [(self._as_errors(curve) - errors[line]) / np.sqrt(2) for line, curve in table.pairs]
        )

    def quality(self, values: Values) -> float:
        """Say what a candidate's whole training reaches, without a seed's luck."""
        return float(self._as_values(self._predict(values))[-1])

    def curve(self, values: Values, seed: int) -> list[float]:
        """Draw the running best of a training, of shape (epochs,)."""
        rng = np.random.default_rng(seed)
        expected = self._predict(values)
        alike = np.argsort(np.abs(self._levels - expected[-1]), kind="stable")[:ALIKE]
        noise = self._noise[rng.choice(alike)] * rng.choice((-1.0, 1.0))
        found = np.minimum.accumulate(expected + noise)
        return [float(value) for value in self._as_values(found)]

    def describe(self) -> str:
        """Say how well lines are predicted that were left out, and how loud a seed is."""
        errors = self._as_errors(self.table.curves)
        inputs = self._encode(self.table.parameters)
        guessed = cross_val_predict(
            self._make(), inputs, errors, cv=KFold(5, shuffle=True, random_state=0)
        )
        rank = spearmanr(errors[:, -1], guessed[:, -1]).statistic
        left = 1 - np.var(errors[:, -1] - guessed[:, -1]) / np.var(errors[:, -1])
        early = spearmanr(errors[:, 2], errors[:, -1]).statistic
        return (
            f"{len(errors)} curves of {self.table.epochs} epochs; of left-out lines' last errors the ranks "
            f"correlate by {rank:.2f} with those predicted (R2 {left:.2f}); a seed moves the logarithm of "
            f"the error by {self._noise[:, -1].std():.3f}, candidates by {errors[:, -1].std():.3f}; after "
            f"epoch 3 and at the end the ranks correlate by {early:.2f}"
        )

    def _make(self) -> ExtraTreesRegressor:
        return ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0)

    def _predict(self, values: Values) -> Any:
        inputs = self._encode([values]).astype(np.float32)
        # As scikit-learn's own predict, without what it checks of each of many thousand calls.
        return np.mean([tree.tree_.predict(inputs)[0, :, 0] for tree in self._trees], axis=0)

    def _as_errors(self, values: Any) -> Any:
        return np.log(values) if self._sign > 0 else np.log(1 - np.minimum(values, 1 - 1e-6))

    def _as_values(self, errors: Any) -> Any:
        return np.exp(errors) if self._sign > 0 else 1 - np.exp(errors)

    def _encode(self, lines: Sequence[Values]) -> Any:
        columns = []
        for name, one in self.table.distributions.items():
            given = [line[name] for line in lines]
            if isinstance(one, CategoricalDistribution):
                columns += [[float(value == choice) for value in given] for choice in one.choices]
            else:
                logs = getattr(one, "log", False)
                columns.append([np.log(value) if logs else float(value) for value in given])
        return np.array(columns).T
