"""A study of one objective or more: the first one is what trials are ranked and pruned by."""

from collections.abc import Callable, Mapping, Sequence

from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection, create_study
from optuna.trial import Trial, TrialState, create_trial

from search.driver.leaderboard import TrialRow, find_front

COSTS: Mapping[str, Callable[[TrialRow], float | None]] = {
    "latency_ms": lambda row: row.latency_ms,
    "parameters": lambda row: row.parameter_count,
}
"""What a candidate costs, by the names of ``objective.also``; the less, the better."""


class LeadingStudy(Study):
    """An Optuna study that compares by its first objective where only one can be compared by.

    Optuna refuses to prune where there are several, and its TPE to learn from what was pruned.
    """

    @property
    def direction(self) -> StudyDirection:
        """Which way is better by the first objective."""
        return self.directions[0]


def open_study(name: str, storage: BaseStorage, pruner: BasePruner | None = None) -> LeadingStudy:
    """Open a study that the storage holds.

    Args:
        name: The study's name.
        storage: Optuna's store.
        pruner: Who ends trials early; ``None`` where it is only read.

    Returns:
        The study.
    """
    return LeadingStudy(study_name=name, storage=storage, pruner=pruner)


def leave_first(study: Study) -> Study:
    """Make a study of the first objective alone, for plots and importances, which know one.

    Args:
        study: Of one objective or more.

    Returns:
        A copy in memory of its complete trials; the study itself where there is one objective.
    """
    if len(study.directions) == 1:
        return study
    alone = create_study(direction=study.directions[0])
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    alone.add_trials(
        [
            create_trial(value=one.values[0], params=one.params, distributions=one.distributions)
            for one in complete
        ]
    )
    return alone


def report(trial: Trial, value: float, step: int) -> None:
    """Note a value of the first objective, as ``Trial.report`` does where there is one alone."""
    trial.storage.set_trial_intermediate_value(trial._trial_id, step, value)


def is_to_be_pruned(study: Study, number: int) -> bool:
    """Ask the study's pruner, as ``Trial.should_prune`` does where there is one objective alone."""
    return study.pruner.prune(study, study.get_trials(deepcopy=False)[number])


def list_values(row: TrialRow, also: Sequence[str]) -> list[float]:
    """List what Optuna is told of a complete trial.

    Args:
        row: The trial.
        also: ``objective.also``.

    Returns:
        The objective, then what the candidate costs.

    Raises:
        RuntimeError: If one of them was not measured.
    """
    values = [row.value, *(COSTS[name](row) for name in also)]
    known = [float(value) for value in values if value is not None]
    if len(known) < len(values):
        raise RuntimeError(f"Trial {row.number} is complete without all of its objectives.")
    return known


def list_front(leaders: Sequence[TrialRow], direction: str, also: Sequence[str]) -> list[TrialRow]:
    """List the trials that are worth choosing between.

    Args:
        leaders: The complete trials, best first.
        direction: "maximize" or "minimize".
        also: ``objective.also``.

    Returns:
        Those of which no other one is better in one objective and as good in all, best first; none
        where there is one objective.
    """
    return find_front(leaders, direction, [COSTS[name] for name in also]) if also else []
