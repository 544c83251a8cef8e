"""Who ends a trial early, and why."""

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import spearmanr

from search.config import PrunerConfig
from search.driver.optimization import immunity
from search.errors import ConfigError

TRIALS = 5
"""Complete trials that early stopping's shorter curves take to be compared with (optuna/optuna#2441)."""
TELLING = 0.3
"""Correlation of ranks below which an epoch hardly tells who is good at the end."""


class EarlyPruner(BasePruner):
    """Keep the best share of all trials at one early epoch, and decide nothing else.

    Egele et al., "The Unreasonable Effectiveness Of Early Discarding After One Epoch", 2024
    (arXiv 2404.04111) found nothing that does better on a small budget. All trials that reported
    the epoch are compared, pruned ones too: compared with survivors alone, the bar would rise.
    Reported values are the running best and finite: a trial that diverges reports no more.
    """

    def __init__(self, epoch: int, keep: float) -> None:
        """Say when and how many.

        Args:
            epoch: The epoch that decides, counted from 1; Optuna's steps count from 0.
            keep: The share of trials that goes on, above 0 and at most 1.
        """
        self.step = epoch - 1
        self.keep = keep

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Decide after a report.

        Args:
            study: The study.
            trial: The trial that has reported.

        Returns:
            Whether it ends here: never but at the one epoch.
        """
        if trial.last_step != self.step:
            return False
        bar, _ = self.bar(study)
        value = trial.intermediate_values[self.step]
        return value < bar if study.direction is StudyDirection.MAXIMIZE else value > bar

    def bar(self, study: Study) -> tuple[float, int]:
        """Find the worst value that still goes on.

        Args:
            study: The study; at least one of its trials has reported the epoch.

        Returns:
            That value, and how many trials have reported the epoch.
        """
        values = sorted(
            (
                trial.intermediate_values[self.step]
                for trial in study.get_trials(deepcopy=False)
                if self.step in trial.intermediate_values
            ),
            reverse=study.direction is StudyDirection.MAXIMIZE,
        )
        return values[math.ceil(len(values) * self.keep) - 1], len(values)


class ForbearingPruner(BasePruner):
    """Lets a trial go on while it gets better, whatever another pruner says of it.

    Optuna's PatientPruner compares values that may become worse again, and prunes none of which the
    running best is reported.
    """

    def __init__(self, pruner: BasePruner, patience: int) -> None:
        """Say who is asked, and when.

        Args:
            pruner: Who is asked.
            patience: Epochs without a better value after which it is asked.
        """
        self.pruner = pruner
        self.patience = patience

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Decide after a report.

        Args:
            study: The study.
            trial: The trial that has reported.

        Returns:
            Whether it ends here.
        """
        step, values = trial.last_step or 0, trial.intermediate_values
        before = values.get(step - self.patience)
        return before == values[step] and self.pruner.prune(study, trial)


class TellingPruner(BasePruner):
    """Asks another pruner from the first epoch on that tells who is good at the end.

    That is found by the trials that no pruner could end: the first complete ones, and those that are immune. Of
    the others only those that began well are complete, which makes every early epoch look idle.
    """

    def __init__(self, pruner: BasePruner, immune: Callable[[int], bool]) -> None:
        """Say who is asked.

        Args:
            pruner: Who is asked.
            immune: Tells of a trial's number whether nothing may end it.
        """
        self.pruner = pruner
        self.immune = immune
        self._found: dict[tuple[int, ...], int] = {}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Decide after a report.

        Args:
            study: The study.
            trial: The trial that has reported.

        Returns:
            Whether it ends here.
        """
        step = trial.last_step or 0
        return step + 1 >= self.first(study) and self.pruner.prune(study, trial)

    def first(self, study: Study) -> int:
        """Find the first epoch, counted from 1, that tells; 1 while too few trials are complete."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sure = complete[:TRIALS] + [one for one in complete[TRIALS:] if self.immune(one.number)]
        known = tuple(one.number for one in sure)
        if known not in self._found:
            self._found[known] = _find_telling([one.intermediate_values for one in sure])
        return self._found[known]


def _find_telling(curves: Sequence[Mapping[int, float]]) -> int:
    """Find the first epoch, counted from 1, after which ranks are about those of the end."""
    told = [curve for curve in curves if curve]
    last = [curve[max(curve)] for curve in told]
    if len(told) < TRIALS or np.ptp(last) == 0:
        return 1
    epochs = 1 + max(max(curve) for curve in told)
    for step in range(epochs):
        # Early stopping cuts curves short: their running best stays what it was. A trial that continued
        # another begins late.
        known = [place for place, curve in enumerate(told) if min(curve) <= step]
        early = [told[place][max(one for one in told[place] if one <= step)] for place in known]
        late = [last[place] for place in known]
        if len(known) < TRIALS or np.ptp(early) == 0 or np.ptp(late) == 0:
            continue
        if spearmanr(early, late).statistic >= TELLING:
            return step + 1
    return epochs


class FromOne(BasePruner):
    """Counts a trial's epochs from 1, as a study file does, where Optuna's steps count from 0."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Decide after a report, as Optuna does.

        Args:
            study: The study.
            trial: The trial that has reported.

        Returns:
            Whether it ends here.
        """
        counted = copy.copy(trial)
        counted.intermediate_values = {
            step + 1: value for step, value in trial.intermediate_values.items()
        }
        return super().prune(study, counted)  # type: ignore[safe-super]  # the class beside has one


class HalvingPruner(FromOne, SuccessiveHalvingPruner):
    """Optuna's asynchronous successive halving (Li et al. 2018, arXiv 1810.05934), by epochs."""


class BracketPruner(FromOne, HyperbandPruner):
    """Optuna's Hyperband (Li et al. 2016, arXiv 1603.06560), by epochs."""


CLASSES: Mapping[str, type[BasePruner]] = {
    "median": MedianPruner,
    "early": EarlyPruner,
    "percentile": PercentilePruner,
    "successive_halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
    "none": NopPruner,
}
OURS = (
    *("epoch", "keep", "n_warmup_steps", "percentile"),
    *("min_resource", "max_resource", "reduction_factor"),
)
"""Arguments that pruner.epoch and pruner.keep say."""


def check_pruner(config: PrunerConfig) -> None:
    """Check what only Optuna knows: a pruner's settings.

    Args:
        config: Which pruner.

    Raises:
        ConfigError: If a setting is none of its own, or has a value that it does not take.
    """
    made = CLASSES[config.name]
    known = [name for name in inspect.signature(made).parameters if name not in OURS]
    known = known if made.__init__ is not object.__init__ else []
    unknown = sorted(config.settings.keys() - set(known))
    if unknown:
        raise ConfigError(
            f"pruner.settings must be those of {made.__name__} that pruner.epoch and pruner.keep "
            f"do not say. Received: {', '.join(unknown)}. Known: {', '.join(known) or 'none'}."
        )
    try:
        make_pruner(config, 1, 0)
    except (TypeError, ValueError) as exc:
        raise ConfigError(
            f"pruner.settings must be values that {made.__name__} takes: {exc} "
            f"Received: {dict(config.settings)}."
        ) from None


def make_pruner(config: PrunerConfig, max_epochs: int, seed: int) -> BasePruner:
    """Make a pruner by name.

    Args:
        config: Which one, with its epoch, share and settings.
        max_epochs: How many epochs the longest trial has.
        seed: The study's, by which immune trials are drawn.

    Returns:
        The pruner.

    Raises:
        TypeError: If a setting is of a kind that Optuna does not take.
        ValueError: If a setting has a value that it does not take.
    """
    pruner = _make_pruner(config, max_epochs)
    if config.epoch is None and config.name in ("median", "percentile"):
        pruner = TellingPruner(pruner, partial(is_immune, config, seed))
    return ForbearingPruner(pruner, config.patience) if config.patience else pruner


def is_immune(config: PrunerConfig, seed: int, number: int) -> bool:
    """Tell whether no pruner may end a trial.

    Args:
        config: The pruner.
        seed: The study's.
        number: The trial's.

    Returns:
        Whether it is one of the share that is drawn.
    """
    return config.immune > 0 and immunity(seed, number) < config.immune


def find_first(config: PrunerConfig, seed: int, study: Study) -> int:
    """Find the epoch, counted from 1, from which on trials are judged now.

    Args:
        config: The pruner.
        seed: The study's.
        study: The study.

    Returns:
        What the pruner was told, or what the study's own trials say.
    """
    pruner = make_pruner(config, 1, seed)
    judge = pruner.pruner if isinstance(pruner, ForbearingPruner) else pruner
    return judge.first(study) if isinstance(judge, TellingPruner) else config.first


def _make_pruner(config: PrunerConfig, max_epochs: int) -> BasePruner:
    settings: dict[str, Any] = dict(config.settings)
    after = {"n_warmup_steps": config.first - 1, "n_min_trials": TRIALS, **settings}
    part = max(2, round(1 / config.share))
    match config.name:
        case "early":
            return EarlyPruner(config.first, config.share)
        case "median":
            return MedianPruner(**after)
        case "percentile":
            return PercentilePruner(100 * config.share, **after)
        case "successive_halving":
            return HalvingPruner(min_resource=config.first, reduction_factor=part, **settings)
        case "hyperband":
            return BracketPruner(
                min_resource=config.first,
                max_resource=max(config.first, max_epochs),
                reduction_factor=part,
                **settings,
            )
        case "none":
            return NopPruner()


def prune_reason(study: Study, trial: FrozenTrial, config: PrunerConfig) -> str:
    """Say why a trial that the study's pruner ends is ended.

    Args:
        study: The study.
        trial: A trial that has reported.
        config: The pruner.

    Returns:
        One sentence for the person who reads the trial.
    """
    step = trial.last_step or 0
    value = trial.intermediate_values[step]
    said = f"The objective's best {value:.4g} after epoch {step + 1}"
    late = f", and did not become better in {config.patience} epochs" if config.patience else ""
    share = f"{config.share:.0%}"
    match config.name:
        case "early":
            bar, count = EarlyPruner(config.first, config.share).bar(study)
            return f"{said} is not among the best {share} of {count} trials (bar {bar:.4g}){late}."
        case "percentile":
            return (
                f"{said} is not among the best {share} of the completed trials at that epoch{late}."
            )
        case "median":
            return f"{said} is worse than the median of the completed trials at that epoch{late}."
        case _:
            rung = f"1 of {max(2, round(1 / config.share))} trials at its rung of {config.name}"
            return f"{said} is not in the best {rung}{late}."
