"""Who ends a trial early, and why."""

import math

from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from search.config import PrunerConfig


class QuarterPruner(BasePruner):
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


def make_pruner(config: PrunerConfig) -> BasePruner:
    """Make a pruner by name.

    Args:
        config: Which one, and its epoch.

    Returns:
        The pruner.
    """
    match config.name:
        case "quarter":
            return QuarterPruner(config.epoch, config.keep)
        case "median":
            # Early stopping cuts curves short (optuna/optuna#2441): a median needs enough of them.
            return MedianPruner(n_warmup_steps=config.epoch - 1, n_min_trials=5)
        case "none":
            return NopPruner()


def prune_reason(study: Study, trial: FrozenTrial) -> str:
    """Say why a trial that the study's pruner ends is ended.

    Args:
        study: The study.
        trial: A trial that has reported.

    Returns:
        One sentence for the person who reads the trial.
    """
    step = trial.last_step or 0
    value = trial.intermediate_values[step]
    said = f"The objective's best {value:.4g} after epoch {step + 1}"
    if isinstance(study.pruner, QuarterPruner):
        bar, count = study.pruner.bar(study)
        share = f"{study.pruner.keep:.0%}"
        return f"{said} is not among the best {share} of {count} trials (bar {bar:.4g})."
    return f"{said} is worse than the median of the completed trials at that epoch."
