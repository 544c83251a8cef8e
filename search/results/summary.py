"""What a launch tells a person at its end: leaderboard, baselines, the one look at the test set."""

from rich.console import Console
from rich.table import Table

from search.driver.leaderboard import LEADERS, count_outcomes, write_parameters
from search.driver.progress import write_seconds
from search.driver.study import StudySummary


def show_summary(summary: StudySummary, console: Console) -> None:
    """Write a study's leaderboard, its naive baselines and its test score.

    Args:
        summary: What the launch left.
        console: Where to write.
    """
    metric = summary.config.objective.metric
    counts = ", ".join(f"{n} {name}" for name, n in count_outcomes(summary.rows).items())
    console.print(f"\nStudy {summary.config.name}: {counts or 'no trials'}.", highlight=False)
    if summary.leaders:
        console.print(draw_leaderboard(summary))
        console.print(f"Best: {write_parameters(summary.leaders[0].parameters)}", highlight=False)
    if summary.test:
        best = summary.leaders[0].number
        score = f"{metric} {summary.test[metric]:.4f}"
        others = [f"{k} {v:.4f}" for k, v in summary.test.items() if k != metric]
        said = f"On the untouched test set, trial {best}: {', '.join([score, *others])}."
        console.print(said, highlight=False)


def draw_leaderboard(summary: StudySummary) -> Table:
    """Draw the best complete trials and the naive baselines.

    Args:
        summary: A study with at least one complete trial.

    Returns:
        A table; scores are on validation, the last column on the test set where it was looked at.
    """
    metric = summary.config.objective.metric
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("trial")
    for head in (f"{metric} (validation)", f"{metric} (test)", "best epoch", "steps", "weights"):
        table.add_column(head, justify="right")
    table.add_column("time", justify="right")
    for row in summary.leaders[:LEADERS]:
        looked = summary.test and row is summary.leaders[0]
        table.add_row(
            f"{row.number} (default)" if row.number == 0 else str(row.number),
            f"{row.value:.4f}",
            f"{summary.test[metric]:.4f}" if looked else "",
            f"{(row.best_epoch or 0) + 1} of {row.epochs}",
            str(row.parameters.get("sequence_length", "")),
            f"{row.parameter_count or 0:,}",
            write_seconds(row.seconds),
        )
    for name, scores in summary.baselines.items():
        test = summary.test_baselines.get(name, {})
        looked_at = f"{test[metric]:.4f}" if metric in test else ""
        table.add_row(f"naive: {name}", f"{scores[metric]:.4f}", looked_at)
    return table
