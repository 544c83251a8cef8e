"""What the best trials of the search predict on validation becomes tables that their runs can show."""

from search.driver.loop import StudyLoop
from search.driver.trials import Trials
from search.messages import ScoreMembers, TrialScored

TABLES = "tables"
"""The study's note that holds each finalist's tables, by its number as text and by their names."""


def examine_finalists(trials: Trials, loop: StudyLoop) -> None:
    """Note where each finalist, as the search trained it, is right and wrong on validation.

    Nothing is done for those that an earlier launch examined, or whose weights are not kept.

    Args:
        trials: The study's trials, none running.
        loop: Has workers that wait.

    Raises:
        KeyboardInterrupt: If the person asked to stop meanwhile.
        WorkerBug: If a worker cannot.
    """
    known = trials.notes.get(TABLES, {})
    rows = [row for row in trials.finalists if row.weights and str(row.number) not in known]
    if not rows:
        return
    orders = [ScoreMembers(members=(row.as_member(),), side="validation") for row in rows]
    replies = loop.ask(orders, TrialScored, "Examining the best on validation")
    found = {str(row.number): dict(one.tables) for row, one in zip(rows, replies, strict=True)}
    trials.note(TABLES, {**known, **found})
