"""The name of a search space becomes a KerasTuner hypermodel."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import keras_tuner

from search.errors import ConfigError, nearest
from spaces import SPACES

Space: TypeAlias = (
    type[keras_tuner.HyperModel]
    | keras_tuner.HyperModel
    | Callable[[keras_tuner.HyperParameters], Any]
)


class FunctionSpace(keras_tuner.HyperModel):  # type: ignore[misc]  # keras_tuner publishes no types
    """A function ``build(hp)`` as a hypermodel."""

    def __init__(self, function: Callable[[keras_tuner.HyperParameters], Any]) -> None:
        super().__init__()
        self.function = function

    def build(self, hp: keras_tuner.HyperParameters) -> Any:
        """Build the function's model.

        Args:
            hp: The hyperparameters.

        Returns:
            The Keras model.
        """
        return self.function(hp)


def load_space(name: str) -> Space:
    """Find a search space.

    Args:
        name: A built-in space, or ``package.module:Name`` of what the working directory or the
            environment holds.

    Returns:
        A hypermodel class, a hypermodel, or a function ``build(hp)``.

    Raises:
        ConfigError: If there is no such space, or what is there is none.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon:
        if name in SPACES:
            return SPACES[name]
        raise ConfigError(
            f"space must be built in, or 'package.module:Name' of your own. "
            f"Received: space={name!r}. {nearest(name, SPACES)}"
        )
    module = _import_module(name, module_name)
    if not hasattr(module, attribute):
        raise ConfigError(
            f"space must name what its module holds. Received: space={name!r}. "
            f"{nearest(attribute, (known for known in vars(module) if known[0] != '_'))}"
        )
    space = getattr(module, attribute)
    if not _is_space(space):
        raise ConfigError(
            f"space must be a keras_tuner.HyperModel or a function build(hp). "
            f"Received: space={name!r}, which is {space!r}."
        )
    return space


def make_hypermodel(
    name: str, arguments: Mapping[str, Any], offered: Mapping[str, Any]
) -> keras_tuner.HyperModel:
    """Make the hypermodel of a study.

    Args:
        name: As for ``load_space``.
        arguments: The study's ``space_arguments``, for a class's constructor. A list for an
            argument whose name ends in ``shape`` becomes a tuple.
        offered: What the task knows (``input_shape``, ``classes``): given where the constructor
            names it and ``arguments`` does not.

    Returns:
        The hypermodel.

    Raises:
        ConfigError: If there is no such space, or its constructor refuses the arguments.
    """
    space = load_space(name)
    if not inspect.isclass(space):
        if arguments:
            raise ConfigError(
                f"space_arguments must be empty unless space is a class. "
                f"Received: space_arguments={dict(arguments)}, space={name!r}."
            )
        return space if isinstance(space, keras_tuner.HyperModel) else FunctionSpace(space)
    signature = inspect.signature(space)
    given = {key: value for key, value in offered.items() if key in signature.parameters}
    given |= {key: _as_shape(key, value) for key, value in arguments.items()}
    try:
        signature.bind(**given)
        return space(**given)
    except (TypeError, ValueError) as exc:
        raise ConfigError(
            f"space_arguments must fit {space.__name__}{signature}: {exc}. "
            f"Received: space_arguments={dict(arguments)}."
        ) from exc


def takes_input_shape(name: str, arguments: Mapping[str, Any]) -> bool:
    """Tell whether a space is told the input's shape, so that its length may vary by trial.

    Args:
        name: As for ``load_space``.
        arguments: The study's ``space_arguments``.

    Returns:
        False for a space with a shape of its own: a function, an instance, a class that names no
        ``input_shape`` or is given it by the study.

    Raises:
        ConfigError: If there is no such space.
    """
    space = load_space(name)
    if not inspect.isclass(space) or "input_shape" in arguments:
        return False
    return "input_shape" in inspect.signature(space).parameters


def _import_module(name: str, module_name: str) -> ModuleType:
    # As `python -m` does: a script's own folder is on the path, the working directory is not.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except Exception as exc:  # the module is the person's own and may raise anything
        raise ConfigError(
            f"space must name a module that can be imported: {type(exc).__name__}: {exc}. "
            f"Received: space={name!r}."
        ) from exc


def _is_space(space: object) -> bool:
    if inspect.isclass(space):
        return issubclass(space, keras_tuner.HyperModel)
    if isinstance(space, keras_tuner.HyperModel):
        return True
    if not callable(space):
        return False
    try:
        inspect.signature(space).bind("hp")
    except (TypeError, ValueError):  # it takes something else, or says nothing of what it takes
        return False
    return True


def _as_shape(name: str, value: Any) -> Any:
    return tuple(value) if name.endswith("shape") and isinstance(value, list) else value
