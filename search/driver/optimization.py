"""Optuna's side of a question: who suggests the answer, under which name, from which seed."""

import copy
import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import Trial, TrialState

from search.config import SamplerConfig
from search.driver.samplers import SharedSpace, make_sampler
from search.errors import ConfigError, StudyError
from search.messages import ChoiceDomain, Domain, FloatDomain, IntDomain, Listed, Scalar

FIXED = "fixed_params"
"""Optuna's attribute of a trial that holds what was queued for it."""


def trial_seed(study_seed: int, number: int) -> int:
    """Derive the seed of a trial's weights, batch order and dropout.

    NumPy keeps what ``SeedSequence`` derives the same for ever, so a trial can be repeated.

    Args:
        study_seed: The study's seed.
        number: The trial's number.

    Returns:
        A number from 0 to 2**32 - 1.
    """
    return _derive_seed(study_seed, number, 0)


def sampler_seed(study_seed: int, number: int) -> int:
    """Derive the seed of a trial's suggestions, apart from that of its training.

    Args:
        study_seed: The study's seed.
        number: The trial's number.

    Returns:
        A number from 0 to 2**32 - 1.
    """
    return _derive_seed(study_seed, number, 1)


def repeat_seed(study_seed: int, number: int, repeat: int) -> int:
    """Derive the seed of a trial's training after the search, apart from all of the search.

    Args:
        study_seed: The study's seed.
        number: The trial's number.
        repeat: Which of its repeats, from 0.

    Returns:
        A number from 0 to 2**32 - 1.
    """
    return _derive_seed(study_seed, number, 3 + repeat)


def draw_seed(study_seed: int, repeat: int) -> int:
    """Derive the seed of the validation side that one repeat of all trials is scored on.

    Args:
        study_seed: The study's seed.
        repeat: Which repeat, from 0.

    Returns:
        A number from 0 to 2**32 - 1.
    """
    return _derive_seed(study_seed, repeat, 2)


def immunity(study_seed: int, number: int) -> float:
    """Draw how likely it is that no pruner ends a trial, apart from all other seeds.

    Args:
        study_seed: The study's seed.
        number: The trial's number.

    Returns:
        A number from 0 to 1, spread evenly over numbers: below a share it is immune.
    """
    return _derive_seed(study_seed, number, 0, 0) / 2**32


def _derive_seed(study_seed: int, number: int, *purpose: int) -> int:
    sequence = np.random.SeedSequence(study_seed, spawn_key=(number, *purpose))
    return int(sequence.generate_state(1)[0])


def ask_trial(
    study: Study, config: SamplerConfig, seed: int, space: SharedSpace | None = None
) -> Trial:
    """Begin a trial whose suggestions depend on its number and on history alone.

    A sampler that is shared draws in the order in which workers happen to ask, and starts again
    from its seed when a study is resumed; so each trial gets a sampler of its own.

    Args:
        study: The study.
        config: Which sampler.
        seed: The study's seed.
        space: What the study's samplers share; ``None`` for nothing.

    Returns:
        A running trial: an enqueued one, or a new one.
    """
    own = copy.copy(study)
    trial = own.ask()
    own.sampler = make_sampler(config, sampler_seed(seed, trial.number), space)
    return trial


def continue_trial(
    study: Study,
    number: int,
    config: SamplerConfig,
    seed: int,
    space: SharedSpace | None = None,
) -> Trial:
    """Take up a trial that was running when its driver ended.

    What it was answered before, it is answered again; the rest is suggested as to a new trial.

    Args:
        study: The study.
        number: The trial's number.
        config: Which sampler.
        seed: The study's seed.
        space: What the study's samplers share; ``None`` for nothing.

    Returns:
        The running trial.

    Raises:
        StudyError: If the study has no such trial, or it is not running.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for frozen in running:
        if frozen.number == number:
            own = copy.copy(study)
            own.sampler = make_sampler(config, sampler_seed(seed, number), space)
            return Trial(own, frozen._trial_id)
    raise StudyError(
        f"A trial must be running to be continued. Received: number={number}, "
        f"running={[frozen.number for frozen in running]}."
    )


def suggest(trial: Trial, name: str, domain: Domain) -> Scalar:
    """Answer a worker's question.

    Optuna keeps one kind of domain under one name. Where a space asks for a name with another
    kind, other choices or another scale than some trial before it, the answer is kept under a
    name that says which: ``units:int-log``, ``cell:choice-lstm-gru-1c9a5f02``.

    Args:
        trial: A running trial.
        name: The hyperparameter's name.
        domain: What may be answered.

    Returns:
        The value; asked again, the same.
    """
    try:
        return _suggest(trial, name, domain)
    except ValueError:
        return _suggest(trial, f"{name}:{_label(domain)}", domain)


def check_defaults(listing: Sequence[Listed]) -> None:
    """Check that the space's own defaults can be answered.

    Args:
        listing: What the default candidate asked for.

    Raises:
        ConfigError: If a default is none of what may be answered.
    """
    for listed in listing:
        # Optuna takes a default beside its range with a warning; a wrong category it refuses
        # only when asked for, and leaves a trial that runs for ever.
        if not holds(listed.domain, listed.default):
            raise ConfigError(
                f"The default of {listed.name} must be one of its values. "
                f"Received: default={listed.default!r}, domain={listed.domain}."
            )


def check_queue(listing: Sequence[Listed], queue: Sequence[Mapping[str, Scalar]]) -> None:
    """Check what a person wants to be tried first.

    Args:
        listing: What the default candidate asked for; names that it lacks may be asked for by others.
        queue: Values by name, for each trial.

    Raises:
        ConfigError: If a value is none of what may be answered.
    """
    domains = {listed.name: listed.domain for listed in listing}
    for place, values in enumerate(queue):
        for name, value in values.items():
            if name in domains and not holds(domains[name], value):
                raise ConfigError(
                    f"sampler.queue.{place}.{name} must be one of its values: {domains[name]}. "
                    f"Received: {value!r}."
                )


def describe_queue(listing: Sequence[Listed], queue: Sequence[Mapping[str, Scalar]]) -> list[str]:
    """Say which queued names the default candidate does not ask for: a misspelt one is never read.

    Args:
        listing: What the default candidate asked for.
        queue: Values by name, for each trial.

    Returns:
        One sentence a name.
    """
    known = {listed.name for listed in listing}
    return [
        f"sampler.queue names {name}, which the default candidate does not ask for: it counts only "
        f"where another candidate does."
        for name in sorted({name for values in queue for name in values} - known)
    ]


def holds(domain: Domain, value: Scalar) -> bool:
    """Tell whether a value is one of those that may be answered.

    Args:
        domain: What may be answered.
        value: The value.

    Returns:
        Whether Optuna would take it as it is.
    """
    match domain:
        case ChoiceDomain():
            return any(type(value) is type(known) and value == known for known in domain.values)
        case IntDomain():
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and value in range(domain.low, domain.high + 1, domain.step)
        case FloatDomain():
            return isinstance(value, float) and domain.low <= value <= domain.high


def enqueue_next(study: Study, queue: Sequence[Mapping[str, Scalar]]) -> None:
    """Let the first of the queue that no trial was given yet answer the next trial.

    One at a time: what waits in Optuna's storage would stay there where the budget is spent before.

    Args:
        study: The study.
        queue: Values by name, for each trial.
    """
    trials = study.get_trials(deepcopy=False)
    if any(trial.state is TrialState.WAITING for trial in trials):
        return
    had = [trial.system_attrs.get(FIXED) for trial in trials]
    for values in queue:
        if values not in had:
            study.enqueue_trial(dict(values))
            return
        had.remove(values)


def _suggest(trial: Trial, name: str, domain: Domain) -> Scalar:
    match domain:
        case IntDomain():
            return trial.suggest_int(
                name, domain.low, domain.high, step=domain.step, log=domain.log
            )
        case FloatDomain():
            return trial.suggest_float(
                name, domain.low, domain.high, step=domain.step, log=domain.log
            )
        case ChoiceDomain():
            return trial.suggest_categorical(name, domain.values)


def _label(domain: Domain) -> str:
    match domain:
        case IntDomain():
            return "int-log" if domain.log else "int"
        case FloatDomain():
            return "float-log" if domain.log else "float"
        case ChoiceDomain():
            words = "-".join(re.sub(r"\W+", "", str(value)) for value in domain.values)
            # The words alone would take 1 for "1", and long lists have to end somewhere.
            return f"choice-{words[:40]}-{zlib.crc32(repr(domain.values).encode()):08x}"
