"""Optuna's samplers by name, each with settings of its own."""

import importlib.util
import inspect
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.samplers._tpe import _truncnorm  # where TPE's time goes has no public name
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.special import log_ndtr

from search.config import SamplerConfig
from search.errors import ConfigError, nearest
from search.messages import Listed, Scalar

# Optuna computes the normal distribution's logarithm number by number in Python, so as not to load SciPy, which
# is loaded here anyway: the same to some digits, and a suggestion takes a third to two thirds of the time.
_truncnorm._log_ndtr = log_ndtr  # type: ignore[assignment]  # of arrays too


class SharedNumbers:
    """What trials were given, as the numbers that TPE models.

    To make them of every trial's hyperparameters again for each suggestion is half of the time that it takes.
    """

    def __init__(self) -> None:
        """Know of no trial yet."""
        self._rows: dict[Hashable, dict[int, NDArray[np.float64] | None]] = {}

    def gather(
        self,
        trials: Sequence[FrozenTrial],
        space: Mapping[str, BaseDistribution],
        given: Callable[[FrozenTrial], Mapping[str, Any]],
    ) -> dict[str, NDArray[Any]]:
        """List the numbers of those trials that have all hyperparameters of a space.

        Args:
            trials: Those that TPE learns from.
            space: Distributions by name.
            given: Says what one that runs and has not asked for all yet will be given, as far as is known.

        Returns:
            By name, of shape (trials,): as Optuna's own sampler makes them.
        """
        known = self._rows.setdefault(tuple(space.items()), {})
        found = []
        for trial in trials:
            number = trial.number
            if number in known:
                row = known[number]
            else:
                params = trial.params
                sure = trial.state.is_finished() or space.keys() <= params.keys()
                row = _count(params if sure else given(trial), space)
                if sure:
                    known[number] = row
            if row is not None:
                found.append(row)
        columns = np.array(found).reshape(len(found), len(space)).T
        return {
            name: column.astype(int) if isinstance(domain, CategoricalDistribution) else column
            for (name, domain), column in zip(space.items(), columns, strict=True)
        }


def _count(
    params: Mapping[str, Any], space: Mapping[str, BaseDistribution]
) -> NDArray[np.float64] | None:
    """Make numbers of hyperparameters; ``None`` if one is missing."""
    if not space.keys() <= params.keys():
        return None
    return np.array([domain.to_internal_repr(params[name]) for name, domain in space.items()])


class SharedSpace:
    """What all complete and pruned trials of a study have been asked for, and what they were given.

    It looks at each of them once, in the store itself: of what a study shows, Hyperband leaves out what is in
    its other brackets. Optuna's own, with which it agrees, looks again at all that were begun after the
    oldest one that runs, which where a thousand run is a quarter of the time that a suggestion takes.

    Attributes:
        numbers: What they were given.
    """

    def __init__(self) -> None:
        """Know of no trial yet."""
        self.numbers = SharedNumbers()
        self._found: dict[str, BaseDistribution] | None = None
        self._unfinished: list[int] = []
        self._seen = 0

    def calculate(self, study: Study) -> dict[str, BaseDistribution]:
        """Take in the trials that have ended since, and return what all were asked for, by name.

        Args:
            study: The same each time.
        """
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        numbers, self._unfinished = [*self._unfinished, *range(self._seen, len(trials))], []
        self._seen = len(trials)
        for number in numbers:
            trial = trials[number]
            if not trial.state.is_finished():
                self._unfinished.append(number)
            elif trial.state is not TrialState.FAIL:
                known = trial.distributions if self._found is None else self._found
                self._found = {
                    name: domain
                    for name, domain in known.items()
                    if trial.distributions.get(name) == domain
                }
        return dict(sorted((self._found or {}).items()))


class SharingTPESampler(TPESampler):
    """Optuna's TPE, one of several of a study that share what they know of its trials.

    Each of its own would read all trials to find what they have in common and what they were given, which
    takes longer with every trial.
    """

    def __init__(self, *, seed: int, space: SharedSpace | None = None, **settings: Any) -> None:
        """Make a sampler.

        Args:
            seed: From 0 to 2**32 - 1.
            space: The study's, kept up to date here; ``None`` for one of its own.
            **settings: As Optuna's class takes them.
        """
        super().__init__(seed=seed, **settings)
        self._shared = space or SharedSpace()

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[Any]]:
        """List the numbers of trials, which are worked out once."""
        given = partial(self._get_params, study=study)
        return self._shared.numbers.gather(trials, search_space, given)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """List what all complete and pruned trials have been asked for, and leaves a choice.

        Nothing where there are several objectives, each parameter of which Optuna suggests for itself.
        """
        if not self._is_multivariate(study):
            return {}
        found = self._shared.calculate(study)
        return {name: domain for name, domain in found.items() if not domain.single()}


CLASSES: Mapping[str, tuple[Callable[..., BaseSampler], str]] = {
    "tpe": (TPESampler, ""),
    "gp": (GPSampler, "torch"),
    "cmaes": (CmaEsSampler, ""),
    "random": (RandomSampler, ""),
    "grid": (RandomSampler, ""),
}
"""Optuna's class of each sampler, and the library that it needs beside Optuna. A grid's values are
queued; what a candidate asks for beside them is drawn at random."""
OURS = ("self", "seed", "constraints_func")
"""Arguments that are not a person's to set."""


def check_sampler(config: SamplerConfig) -> None:
    """Check what only Optuna knows: a sampler's settings, and what it needs.

    Args:
        config: Which sampler.

    Raises:
        ConfigError: If its library is missing, or a setting is none of its own.
    """
    made, library = CLASSES[config.name]
    if library and importlib.util.find_spec(library) is None:
        raise ConfigError(
            f"sampler.name must be one whose library is installed. Received: {config.name!r}, which "
            f"needs {library}. Launch by `scripts/run --extra {config.name} …`, or write 'tpe'."
        )
    known = [name for name in inspect.signature(made).parameters if name not in OURS]
    unknown = sorted(config.settings.keys() - set(known))
    if unknown:
        raise ConfigError(
            f"sampler.settings must be those of Optuna's {made.__name__}. "
            f"Received: {', '.join(unknown)}. Known: {', '.join(known) or 'none'}."
        )
    try:
        make_sampler(config, 0)
    except (TypeError, ValueError) as exc:
        raise ConfigError(
            f"sampler.settings must be values that Optuna's {made.__name__} takes: {exc} "
            f"Received: {dict(config.settings)}."
        ) from None


def make_sampler(config: SamplerConfig, seed: int, space: SharedSpace | None = None) -> BaseSampler:
    """Make a sampler by name.

    Args:
        config: Which one, with its settings; what they leave out is as Optuna has it.
        seed: From 0 to 2**32 - 1.
        space: What the study's samplers share; ``None`` for nothing.

    Returns:
        Optuna's sampler.

    Raises:
        TypeError: If a setting is of a kind that Optuna does not take.
        ValueError: If a setting has a value that it does not take.
    """
    settings: dict[str, Any] = {"seed": seed, **config.settings}
    # What they share is what a joint model of all parameters asks for.
    if config.name == "tpe" and "group" not in settings:
        return SharingTPESampler(space=space, **settings)
    if config.name == "cmaes":  # it leaves categories and conditions to a random sampler
        settings.setdefault("warn_independent_sampling", False)
    return CLASSES[config.name][0](**settings)


def check_grid(config: SamplerConfig, listing: Sequence[Listed]) -> None:
    """Check that a grid names what is asked for.

    Args:
        config: The sampler.
        listing: What the default candidate asked for.

    Raises:
        ConfigError: If it names what the default candidate does not ask for.
    """
    unknown = sorted(config.grid.keys() - {listed.name for listed in listing})
    if unknown:
        raise ConfigError(
            f"sampler.grid must name hyperparameters that the default candidate asks for. "
            f"Received: {unknown[0]}. {nearest(unknown[0], (listed.name for listed in listing))}"
        )


def list_queue(
    config: SamplerConfig,
    defaults: Mapping[str, Scalar],
    known: Sequence[Mapping[str, Scalar]] = (),
    repeats: int = 0,
) -> list[dict[str, Scalar]]:
    """List the hyperparameters that are tried before anything is suggested, in order.

    Args:
        config: The sampler.
        defaults: The default candidate's.
        known: What earlier studies found to be good.
        repeats: How often the defaults are tried again.

    Returns:
        The defaults, what is queued, what is known, then every combination of a grid, in which all
        others have their defaults.
    """
    first = [{**defaults} for _ in range(1 + repeats)]
    queued: list[dict[str, Scalar]] = [{**one} for one in (*config.queue, *known)]
    queued = [*first, *queued]
    return queued + [{**defaults, **one} for one in _combine(config.grid)]


def _combine(grid: Mapping[str, Sequence[Scalar]]) -> list[dict[str, Scalar]]:
    if not grid:
        return []
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
