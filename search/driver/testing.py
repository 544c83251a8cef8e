"""The one look at the test targets: what is exported, and baselines fitted on what it saw."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from search.data.sequences import SequenceData
from search.driver.leaderboard import write_study
from search.driver.loop import StudyLoop
from search.driver.tracking.tracker import Tracker
from search.driver.trials import Trials
from search.messages import ScoreMembers, Table, TrialScored
from search.tasks import Task


def look_at_test(
    trials: Trials, tracker: Tracker, loop: StudyLoop, task: Task, data: SequenceData
) -> None:
    """Train the winner on all but the test targets, score it there once, and note what came of it.

    Nothing is trained where there is no winner, or an earlier launch has looked for it.

    Args:
        trials: The study's trials, whose winner is known.
        tracker: Where the scores are shown.
        loop: Has workers that wait.
        task: Scores the naive baselines.
        data: The study's own data.

    Raises:
        KeyboardInterrupt: If the person asked to stop meanwhile.
        WorkerBug: If a worker cannot.
    """
    rows, before = trials.members, trials.notes.get("test", {})
    if not rows:
        return
    if trials.look:
        # Trials that came since have put a bare leaderboard in the place of what is known.
        tracker.log_study(description=_describe(trials, trials.look))
        return
    # An anomaly's threshold rests on validation targets, which nothing may have learned.
    refit = trials.config.training.refit and task.kind != "anomaly"
    searched = [row.as_member() for row in rows]
    epochs = {str(member.number): member.epochs for member in searched}
    look = before.get("looks", 0) + 1
    members = loop.refit(rows, trials.decision.get("epochs", epochs), look) if refit else searched
    refitted = members != searched
    order = ScoreMembers(members=tuple(members))
    (scored,) = loop.ask([order], TrialScored, "Scoring on the test targets")
    learned = data.with_more_training() if refitted else data
    test = {
        "looks": look,
        "refit": refitted,
        "members": [asdict(member) for member in members],
        "scores": dict(scored.metrics),
        "tables": dict(scored.tables),
        "baselines": {one.name: one.score(data, "test") for one in task.baselines(learned)},
    }
    kept = {
        member.weights for member in (*members, *(row.as_member() for row in trials.rows.values()))
    }
    for member in before.get("members", []):
        if member["weights"] not in kept:
            Path(member["weights"]).unlink(missing_ok=True)
    tracker.log_study(
        metrics={f"test_{name}": value for name, value in test["scores"].items()},
        tags={
            "winner": str(rows[0].number),
            "members": ", ".join(str(row.number) for row in rows),
            "test_looks": str(test["looks"]),
            "refit": str(test["refit"]).lower(),
        },
        description=_describe(trials, test),
    )
    _log_tables(tracker, scored.tables)
    # Only now: a launch that finds this note looks at nothing again, and tells MLflow nothing.
    trials.note("test", test)


def _describe(trials: Trials, test: Mapping[str, Any]) -> str:
    """Write what is known of a study that is finished, as Markdown."""
    metric = trials.config.objective.metric
    looks = "once" if test["looks"] == 1 else f"{test['looks']} times"
    naive = ", ".join(f"{name} {one[metric]:.4f}" for name, one in test["baselines"].items())
    found = (
        f"On the test targets, looked at {looks}: {metric} {test['scores'][metric]:.4f} ({naive})."
    )
    table = write_study(trials.leaders, metric)
    decided = trials.decision.get("sentence", "")
    return "\n\n".join(part for part in (decided, found, table) if part)


def _log_tables(tracker: Tracker, tables: Mapping[str, Table]) -> None:
    """Keep each table of the test look as a CSV file with the study."""
    for name, (heads, lines) in tables.items():
        text = pd.DataFrame(list(lines), columns=list(heads)).to_csv(index=False)
        tracker.log_text(f"test_{name.replace(' ', '_')}.csv", text)
