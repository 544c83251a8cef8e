"""A hypermodel's own ``fit``, as KerasTuner has them: can it go on from a checkpoint?"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras_tuner


def fits_itself(hypermodel: keras_tuner.HyperModel) -> bool:
    """Tell whether a hypermodel has a ``fit`` of its own."""
    return type(hypermodel).fit is not keras_tuner.HyperModel.fit


@contextmanager
def watch_fit(
    model: Any,
    data: Sequence[Any],
    callbacks: Sequence[Any],
    begins: Callable[[bool], int],
) -> Iterator[None]:
    """See what a hypermodel's own ``fit`` has Keras do, and let Keras go on from a checkpoint.

    What is in the model, the optimizer and the random generators when Keras's ``fit`` begins can be
    put back at that very place, whatever was done before. What the person's own callbacks
    remember, where a generator of theirs stood, and which rows they had drawn, cannot: then
    nothing is put back.

    Args:
        model: What is trained. While this lasts, ``model.fit`` tells us of its calls.
        data: Windows and what is taught, as the person's ``fit`` is given them.
        callbacks: The callbacks that it is given.
        begins: Hears, as Keras is about to train, whether that is the first time and with our data
            and callbacks alone; says how many epochs are trained already.
    """
    whole = model.fit
    signature = inspect.signature(whole)
    calls = 0

    def fit(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        said = signature.bind(*args, **kwargs)
        said.apply_defaults()
        epoch = begins(calls == 1 and _is_plain(said.arguments, data, callbacks))
        return whole(*args, **kwargs, **({"initial_epoch": epoch} if epoch else {}))

    model.fit = fit
    try:
        yield
    finally:
        del model.fit


def _is_plain(said: Mapping[str, Any], data: Sequence[Any], callbacks: Sequence[Any]) -> bool:
    """Tell whether Keras is told to train on our data from the first epoch, with our callbacks."""
    heard = said["callbacks"]
    return (
        said["x"] is data[0]
        and said["y"] is data[1]
        and isinstance(heard, (list, tuple))
        and [id(one) for one in heard] == [id(one) for one in callbacks]
        and said["initial_epoch"] == 0
        and said["steps_per_epoch"] is None
    )
