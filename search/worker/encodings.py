"""A KerasTuner hyperparameter becomes a domain that Optuna can express, and answers come back."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from keras_tuner.engine import hyperparameters as kinds

from search.errors import ConfigError
from search.messages import ChoiceDomain, Domain, FloatDomain, IntDomain, Scalar


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How one hyperparameter is asked for.

    Attributes:
        name: KerasTuner's name, with ``:index`` or ``:mirrored`` where the answer is not yet the
            value.
        domain: What may be answered.
        default: The hyperparameter's default, in that domain.
        decode: Turns the answer into the value in the space's own units.
    """

    name: str
    domain: Domain
    default: Scalar
    decode: Callable[[Any], Scalar]


class MixedChoice(kinds.Choice):  # type: ignore[misc]  # keras_tuner publishes no types
    """A choice between values of several types, or None, which KerasTuner refuses."""

    def __init__(
        self,
        name: str,
        values: Sequence[Scalar],
        ordered: bool | None = None,
        default: Scalar = None,
        **kwargs: Any,
    ) -> None:
        # Not the constructor of Choice: it is what refuses.
        kinds.HyperParameter.__init__(self, name=name, default=default, **kwargs)
        self._values = list(values)
        self.ordered = bool(ordered)

    @property
    def default(self) -> Scalar:
        """KerasTuner's rule: None where it is a choice, else the first value."""
        values: list[Scalar] = self._values
        given: Scalar = self._default
        return values[0] if given is None and None not in values else given


def check_choice(name: str, values: Sequence[Any], default: Any) -> None:
    """Check what a person wrote as ``hp.Choice``.

    Args:
        name: The hyperparameter's name.
        values: What it chooses from.
        default: Its default, or None.

    Raises:
        ConfigError: If there is no value, a value of a type that Optuna cannot store, two values
            that Python takes for equal, or a default that is none of the values.
    """
    field = f"hp.Choice({name!r})"
    if not values:
        raise ConfigError(f"{field} must have a value to choose. Received: values={values!r}.")
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise ConfigError(
                f"{field} must choose between None, bool, int, float and str. Received: "
                f"{value!r}. Write a string, for example '3x3', and take it apart in build."
            )
    if len(set(values)) < len({(type(value), value) for value in values}):
        raise ConfigError(
            f"{field} must not hold two values that Python takes for equal, as 1 and True. "
            f"Received: values={values!r}. Write strings."
        )
    if default is not None and default not in values:
        raise ConfigError(
            f"{field} must have one of its values as default. Received: default={default!r}, "
            f"values={values!r}."
        )


def encode(hyperparameter: kinds.HyperParameter) -> Encoding:
    """Express a hyperparameter as a domain.

    Args:
        hyperparameter: KerasTuner's Boolean, Choice, Int or Float.

    Returns:
        How it is asked for. A default beside the grid of a step moves to its nearest point.

    Raises:
        ConfigError: If Optuna cannot express it, or its default lies outside its range.
    """
    if isinstance(hyperparameter, kinds.Boolean):
        return _encode_choice(hyperparameter, (False, True), bool(hyperparameter.default))
    if isinstance(hyperparameter, kinds.Choice):
        # One of each: a value written twice is one category. float() turns NumPy's into Python's.
        values = [float(v) if isinstance(v, float) else v for v in hyperparameter.values]
        return _encode_choice(hyperparameter, tuple(dict.fromkeys(values)), hyperparameter.default)
    _check_range(hyperparameter)
    if hyperparameter.sampling != "linear" and hyperparameter.step is not None:
        return _encode_geometric_grid(hyperparameter)
    if hyperparameter.sampling == "reverse_log":
        return _encode_mirrored(hyperparameter)
    if isinstance(hyperparameter, kinds.Int):
        return _encode_int(hyperparameter)
    return _encode_float(hyperparameter)


def _encode_choice(hp: Any, values: tuple[Scalar, ...], default: Scalar) -> Encoding:
    return Encoding(
        name=hp.name,
        domain=ChoiceDomain(values=values),
        default=values[values.index(default)],
        decode=lambda value: value,
    )


def _encode_int(hp: Any) -> Encoding:
    low, high, step = hp.min_value, hp.max_value, hp.step or 1
    domain = IntDomain(
        low=low, high=low + (high - low) // step * step, step=step, log=hp.sampling == "log"
    )
    default = min(low + round((hp.default - low) / step) * step, domain.high)
    return Encoding(name=hp.name, domain=domain, default=default, decode=int)


def _encode_float(hp: Any) -> Encoding:
    low, high = hp.min_value, hp.max_value
    if hp.step is None:
        domain = FloatDomain(low=low, high=high, log=hp.sampling == "log")
        return Encoding(name=hp.name, domain=domain, default=float(hp.default), decode=float)
    # KerasTuner divides floats and loses the last value of 0.0 to 1.0 by 0.2; decimals keep it.
    first, step = Decimal(str(low)), Decimal(str(hp.step))
    last = int((Decimal(str(high)) - first) // step)

    def snap(value: float) -> float:
        index = round((Decimal(str(value)) - first) / step)
        return float(first + min(index, last) * step)

    domain = FloatDomain(low=low, high=float(first + last * step), step=float(step))
    return Encoding(name=hp.name, domain=domain, default=snap(hp.default), decode=snap)


def _encode_geometric_grid(hp: Any) -> Encoding:
    """Ask for the place in a grid that is multiplied out: Optuna has no step on a log scale."""
    number = round if isinstance(hp, kinds.Int) else float
    values: list[Scalar] = [number(value) for value in hp.values]
    default = min(range(len(values)), key=lambda index: abs(values[index] - hp.default))
    domain = IntDomain(low=0, high=len(values) - 1)
    return Encoding(
        name=f"{hp.name}:index", domain=domain, default=default, decode=values.__getitem__
    )


def _encode_mirrored(hp: Any) -> Encoding:
    """Ask on a log scale that starts at the other end: Optuna has no reverse_log."""
    low: float = hp.min_value
    high: float = hp.max_value

    def mirror(value: float) -> float:
        return min(max(low + high - value, low), high)

    name, default = f"{hp.name}:mirrored", mirror(hp.default)
    if isinstance(hp, kinds.Int):
        ints = IntDomain(low=hp.min_value, high=hp.max_value, log=True)
        return Encoding(name=name, domain=ints, default=round(default), decode=mirror)
    floats = FloatDomain(low=low, high=high, log=True)
    return Encoding(name=name, domain=floats, default=default, decode=mirror)


def _check_range(hp: Any) -> None:
    field = f"hp.{type(hp).__name__}({hp.name!r})"
    low, high, step = hp.min_value, hp.max_value, hp.step
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(
            f"{field} must have finite ends. Received: min_value={low}, max_value={high}."
        )
    if step is not None and step <= 0:
        raise ConfigError(f"{field} must have a step above 0. Received: step={step}.")
    if not low <= hp.default <= high:
        raise ConfigError(
            f"{field} must have its default in its range. Received: default={hp.default}, "
            f"min_value={low}, max_value={high}."
        )
