"""What ``build(hp)`` asks for goes out as questions, and the answers are kept."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as kinds

from search.messages import Listed, Parameters, Question, Scalar
from search.worker.encodings import MixedChoice, check_choice, encode

CHOICE_ARGUMENTS = ("ordered", "default", "parent_name", "parent_values")
"""The arguments of KerasTuner's Choice after name and values, in its order."""


class AskingHyperParameters(keras_tuner.HyperParameters):  # type: ignore[misc]  # no types there
    """KerasTuner's hyperparameters, whose values are asked for while ``build`` runs.

    Conditions, scopes, names and Fixed are KerasTuner's own. ``values`` holds the values in the
    space's own units: recorded with a trial and given back, they rebuild the same candidate.
    """

    def __init__(self, ask: Callable[[Question], Scalar], recorded: Parameters | None = None):
        """Start with no value but the recorded ones.

        Args:
            ask: Answers a question with a value of its domain.
            recorded: Values that are never asked for.
        """
        super().__init__()
        self._ask = ask
        self._listing: list[Listed] = []
        self._given: set[str] = set()
        self._notes: dict[str, str] = {}
        self.values.update(recorded or {})

    @property
    def listing(self) -> tuple[Listed, ...]:
        """What was asked for, in that order."""
        return tuple(self._listing)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the questions, one sentence each."""
        return tuple(self._notes.values())

    def Choice(self, name: str, values: Sequence[Any], *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # KerasTuner's name
        """Choose between values, of several types if need be.

        Args:
            name: The hyperparameter's name.
            values: What it chooses from.
            *args: As KerasTuner's: ordered, default, parent_name, parent_values.
            **kwargs: The same, by name.

        Returns:
            The value, or None if the hyperparameter is not active.

        Raises:
            ConfigError: If Optuna cannot express the choice.
        """
        values = list(values)
        given = {**dict(zip(CHOICE_ARGUMENTS, args, strict=False)), **kwargs}
        check_choice(self._get_name(name), values, given.get("default"))
        if len({type(value) for value in values}) == 1 and None not in values:
            return super().Choice(name, values, **given)
        parent = given.pop("parent_name", None), given.pop("parent_values", None)
        with self._maybe_conditional_scope(*parent):
            return self._retrieve(
                MixedChoice(self._get_name(name), values, conditions=self._conditions, **given)
            )

    def copy(self) -> keras_tuner.HyperParameters:
        """Give a sub-model that is not tuned the values so far; whatever else it asks for has its default.

        Returns:
            KerasTuner's own hyperparameters.
        """
        # KerasTuner's copy goes through its list of classes, which lacks MixedChoice.
        plain = keras_tuner.HyperParameters()
        plain.merge(self.space)
        plain.values = dict(self.values)
        return plain

    def _retrieve(self, hyperparameter: kinds.HyperParameter) -> Any:
        name = hyperparameter.name
        if self.is_active(hyperparameter):
            if name in self._given:
                self._notes[name] = (
                    f"hp.{type(hyperparameter).__name__}({name!r}) is asked for more than once in "
                    f"one build, and each time the first value is given. Write another name "
                    f"where another value is meant, for example f'{name}_{{i}}' in a loop."
                )
            self._given.add(name)
        return super()._retrieve(hyperparameter)

    def _register(self, hyperparameter: kinds.HyperParameter, overwrite: bool = False) -> Any:
        # Never overwritten: KerasTuner would put the default in the place of the answer.
        is_new = hyperparameter.name not in self.values
        tunable = not isinstance(hyperparameter, kinds.Fixed)
        if is_new and tunable and self.is_active(hyperparameter):
            self.values[hyperparameter.name] = self._question(hyperparameter)
        return super()._register(hyperparameter)

    def _question(self, hyperparameter: kinds.HyperParameter) -> Scalar:
        code = encode(hyperparameter)
        default = code.decode(code.default)
        if not _equal(default, hyperparameter.default):
            self._notes[code.name] = (
                f"hp.{type(hyperparameter).__name__}({hyperparameter.name!r}) has its default "
                f"{hyperparameter.default} beside its steps: {default} is taken for it."
            )
        self._listing.append(Listed(name=code.name, domain=code.domain, default=code.default))
        answer = self._ask(Question(name=code.name, domain=code.domain, default=code.default))
        return code.decode(answer)


def _equal(first: Scalar, second: Scalar) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=1e-9)
    return first == second


def replay(recorded: Parameters) -> AskingHyperParameters:
    """Make the hyperparameters of a trial that is over.

    Args:
        recorded: Its values.

    Returns:
        Hyperparameters that give these values, and raise ``LookupError`` for any other.
    """
    return AskingHyperParameters(ask=_refuse, recorded=recorded)


def _refuse(question: Question) -> Scalar:
    raise LookupError(f"{question.name} was not recorded with the trial")
