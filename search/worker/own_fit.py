"""A hypermodel's own ``fit``, as KerasTuner has them: can it go on from a checkpoint?"""

import inspect
from collections.abc import Mapping
from typing import Any

import keras_tuner


class BeginsAgain(Exception):
    """A ``fit`` did not go on from where its checkpoint was: the trial begins again."""


def fits_itself(hypermodel: keras_tuner.HyperModel) -> bool:
    """Tell whether a hypermodel has a ``fit`` of its own."""
    return type(hypermodel).fit is not keras_tuner.HyperModel.fit


def takes_initial_epoch(hypermodel: keras_tuner.HyperModel) -> bool:
    """Tell whether a hypermodel's ``fit`` may be given ``initial_epoch``, by name or in ``**kwargs``."""
    parameters = inspect.signature(hypermodel.fit).parameters.values()
    return any(p.name == "initial_epoch" or p.kind is p.VAR_KEYWORD for p in parameters)


class FitWatch:
    """Watches a ``fit`` that we did not write, by what its callbacks see.

    One call of Keras's ``fit`` on the model and the optimizer that were built can be taken up by
    Keras's ``initial_epoch``. What was trained before it, compiled anew, trained in a second call or
    counted in a loop of its own cannot: whoever restored a checkpoint into it would train something
    else.

    Args:
        model: As it was built, or as a checkpoint restored it.
        epoch: The first epoch that it is to be trained for.
    """

    def __init__(self, model: Any, epoch: int) -> None:
        self._model, self._optimizer = model, model.optimizer
        self._iterations = int(model.optimizer.iterations)
        self._next = epoch
        self._last = 0
        self._calls = 0

    def begins(self, model: Any, params: Mapping[str, Any] | None) -> bool:
        """Take in that Keras, or a loop, begins to train.

        Args:
            model: What is trained.
            params: What Keras's ``fit`` tells its callbacks; a loop may tell nothing.

        Returns:
            Whether this can be taken up after a crash.
        """
        self._calls += 1
        self._last = (params or {}).get("epochs", 0)
        return (
            self._calls == 1
            and model is self._model
            and model.optimizer is self._optimizer
            and int(model.optimizer.iterations) == self._iterations
        )

    def begins_epoch(self, epoch: int) -> bool:
        """Take in that an epoch begins, and tell whether it is the one that is due."""
        due = self._calls == 1 and epoch == self._next
        self._next = epoch + 1
        return due

    def ends_epoch(self, epoch: int) -> bool:
        """Tell whether an epoch that began ends and another follows: what is worth a checkpoint.

        After the last one, ``fit`` would be called for no epoch at all, and might have nothing to
        return.
        """
        return epoch + 1 == self._next < self._last
