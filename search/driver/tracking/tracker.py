"""What the driver says of a study while it runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from search.driver.decision import Repeat
from search.driver.leaderboard import TrialRow
from search.driver.promotion import Promotion
from search.messages import CandidateBuilt, EpochReport, TrialEnded


class Tracker(Protocol):
    """Where the driver says what happens in a study.

    What a method was told is on disk when it returns; no method but ``close`` waits for the store.
    """

    def start_trial(self, number: int, promotion: Promotion | None = None) -> None:
        """Open the run of a trial, or go on with the one that it has.

        Args:
            number: The trial's number.
            promotion: The pruned trial that it continues, if it does.
        """

    def log_built(self, number: int, built: CandidateBuilt) -> None:
        """Record what a trial is about to train."""

    def log_epoch(self, number: int, report: EpochReport) -> None:
        """Record one epoch's end, unless the run holds that epoch already."""

    def end_trial(self, number: int, ended: TrialEnded) -> None:
        """Record how a trial ended."""

    def reconcile(self, rows: Iterable[TrialRow]) -> None:
        """Take in all trials that were begun before this launch, before any is begun.

        Of those that have ended the record is repaired, where a driver that died could not make it.
        """

    def log_repeat(self, repeat: Repeat, ended: TrialEnded, curve: Sequence[EpochReport]) -> None:
        """Record one training of a complete trial's candidate after the search."""

    def log_refit(
        self, number: int, look: int, ended: TrialEnded, curve: Sequence[EpochReport]
    ) -> None:
        """Record the training of a trial's candidate that a look at the test targets is for."""

    def log_baseline(self, name: str, scores: Mapping[str, float]) -> None:
        """Record what a naive predictor scores on the same targets."""

    def log_study(
        self,
        *,
        metrics: Mapping[str, float] = ...,
        tags: Mapping[str, str] = ...,
        description: str = "",
    ) -> None:
        """Record the study's progress; ``description`` is Markdown and replaces the last one."""

    def log_text(self, name: str, text: str) -> None:
        """Keep a text file with the study."""

    def close(self, status: str, patience_seconds: float = ...) -> None:
        """Wait until all has arrived and end the study's run.

        Args:
            status: FINISHED, KILLED or FAILED.
            patience_seconds: How long to wait for a store that is away, in seconds.

        Raises:
            ServiceAway: If something waits for the store to be back; it says what, and where.
            TrackingError: If something will never arrive.
        """
