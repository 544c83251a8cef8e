"""Who ends a trial early, and why."""

import copy
import math

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from search.config import PrunerConfig


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


def make_pruner(config: PrunerConfig, max_epochs: int) -> BasePruner:
    """Make a pruner by name.

    Args:
        config: Which one, with its epoch and share.
        max_epochs: How many epochs the longest trial has.

    Returns:
        The pruner.
    """
    pruner = _make_pruner(config, max_epochs)
    return ForbearingPruner(pruner, config.patience) if config.patience else pruner


def _make_pruner(config: PrunerConfig, max_epochs: int) -> BasePruner:
    # Early stopping cuts curves short (optuna/optuna#2441): it takes enough of them to compare with.
    after = {"n_warmup_steps": config.first - 1, "n_min_trials": 5}
    part = max(2, round(1 / config.share))
    match config.name:
        case "early":
            return EarlyPruner(config.first, config.share)
        case "median":
            return MedianPruner(**after)
        case "percentile":
            return PercentilePruner(100 * config.share, **after)
        case "successive_halving":
            return HalvingPruner(min_resource=config.first, reduction_factor=part)
        case "hyperband":
            return BracketPruner(
                min_resource=config.first,
                max_resource=max(config.first, max_epochs),
                reduction_factor=part,
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
