"""What a launch tells a person at its end: leaderboard, baselines, the one look at the test set."""

import math
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.driver.leaderboard import LEADERS, count_outcomes, rank_lengths, write_parameters
from search.driver.objectives import list_values
from search.driver.progress import write_seconds
from search.driver.study import StudySummary

LINES = 30
"""Longer tables are left to MLflow."""


def show_summary(summary: StudySummary, console: Console) -> None:
    """Write a study's leaderboard, its naive baselines and its test score.

    Args:
        summary: What the launch left.
        console: Where to write.
    """
    counts = ", ".join(f"{n} {name}" for name, n in count_outcomes(summary.rows).items())
    console.print(f"\nStudy {summary.config.name}: {counts or 'no trials'}.", highlight=False)
    if summary.leaders:
        console.print(draw_leaderboard(summary))
        best = summary.winner or summary.leaders[0]
        console.print(f"Best: {write_parameters(best.parameters)}", highlight=False)
    parts = (
        _draw_front(summary),
        *(_draw_lengths(summary), _draw_finalists(summary)),
        *(*_draw_tables(summary), _draw_test(summary)),
    )
    for what in parts:
        if what is not None:
            console.print()
            console.print(what)


def draw_leaderboard(summary: StudySummary) -> Table:
    """Draw the best complete trials and the naive baselines.

    Args:
        summary: A study with at least one complete trial.

    Returns:
        A table; scores are on validation, the last column on the test set where it was looked at:
        the mean of several members has its score in a table of its own.
    """
    metric = summary.config.objective.metric
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("trial")
    for head in (
        f"{metric} (validation)",
        f"{metric} (test)",
        "best epoch",
        "sequence length",
        "weights",
    ):
        table.add_column(head, justify="right")
    table.add_column("time", justify="right")
    alone = len(summary.decision.get("members", [0])) == 1
    for row in summary.leaders[:LEADERS]:
        looked = summary.test and alone and row == summary.winner
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
        looked_at = _write_score(test.get(metric, math.nan))
        table.add_row(f"naive: {name}", _write_score(scores[metric]), looked_at)
    return table


def _draw_front(summary: StudySummary) -> Table | None:
    """Draw the trials to choose between where the study has several objectives."""
    if not summary.front:
        return None
    objective = summary.config.objective
    table = Table(box=None, pad_edge=False, highlight=False)
    table.caption = (
        f"On the front no trial is better in one of these and as good in the others. Export one by "
        f"`scripts/export_best.py {summary.config.name} --trial NUMBER`."
    )
    table.caption_style, table.caption_justify = "default", "left"
    table.add_column("trial on the front")
    for head in (f"{objective.metric} (validation)", *objective.also):
        table.add_column(head, justify="right")
    for row in summary.front:
        value, *costs = list_values(row, objective.also)
        table.add_row(str(row.number), f"{value:.4f}", *(f"{cost:,.4g}" for cost in costs))
    return table


def _draw_lengths(summary: StudySummary) -> Table | None:
    """Draw the best complete trial of each sequence length, or nothing where there is one."""
    lengths = rank_lengths(summary.leaders)
    if not lengths:
        return None
    metric = summary.config.objective.metric
    table = Table(box=None, pad_edge=False, highlight=False)
    for head in ("sequence length", "complete trials", f"best {metric} (validation)", "trial"):
        table.add_column(head, justify="right")
    for name, count, row in lengths:
        table.add_row(name, str(count), f"{row.value:.4f}", str(row.number))
    return table


def _draw_finalists(summary: StudySummary) -> Table | None:
    """Draw what the finalists scored when they were trained again, or nothing where none was."""
    decision = summary.decision
    if not decision:
        return None
    metric = summary.config.objective.metric
    table = Table(box=None, pad_edge=False, highlight=False, caption=decision["sentence"])
    table.caption_style, table.caption_justify = "default", "left"
    table.add_column("trained again, fresh seeds")
    for head in (f"{metric} in the search", f"{metric} (mean)", "95 % interval"):
        table.add_column(head, justify="right")
    rows = {row.number: row for row in summary.leaders}
    for number in decision["finalists"]:
        mean = decision["means"].get(str(number))
        won = ", wins" if number == decision["trial"] else ""
        table.add_row(
            f"trial {number}{won}",
            f"{rows[number].value:.4f}",
            "failed" if mean is None else f"{mean['value']:.4f}",
            "" if mean is None else _write_interval(mean),
        )
    if decision["together"] is not None:
        table.add_row(
            f"mean of trials {', '.join(map(str, decision['members']))}",
            "",
            f"{decision['together']['value']:.4f}",
            _write_interval(decision["together"]),
        )
    return table


def _write_interval(mean: Mapping[str, float]) -> str:
    return f"{mean['low']:.4f} to {mean['high']:.4f}" if math.isfinite(mean["low"]) else ""


def _draw_test(summary: StudySummary) -> Table | None:
    """Draw every metric of the one look at the test set, or nothing where there was none."""
    if not summary.test or summary.winner is None:
        return None
    metric = summary.config.objective.metric
    names = [metric, *(name for name in summary.test if name != metric)]
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("on the untouched test set")
    for name in names:
        table.add_column(name, justify="right")
    members = summary.decision.get("members", [summary.winner.number])
    who = f"mean of trials {', '.join(map(str, members))}" if members[1:] else f"trial {members[0]}"
    lines = {who: summary.test}
    lines |= {f"naive: {name}": scores for name, scores in summary.test_baselines.items()}
    for who, scores in lines.items():
        table.add_row(who, *(_write_score(scores.get(name, math.nan)) for name in names))
    return table


def _write_score(score: float) -> str:
    """Write a score; nothing where it is undefined."""
    return "" if math.isnan(score) else f"{score:.4f}"


def _draw_tables(summary: StudySummary) -> Iterator[Table]:
    """Draw what the metrics do not say of the test targets, where it fits on a screen."""
    for name, (heads, lines) in summary.test_tables.items():
        if len(lines) > LINES:
            continue
        table = Table(box=None, pad_edge=False, highlight=False, title=f"{name} (test)")
        for head in heads:
            table.add_column(Text(str(head)), justify="right")
        for line in lines:
            cells = (f"{c:.4g}" if isinstance(c, float) else str(c) for c in line)
            table.add_row(*map(Text, cells))  # names with brackets are not rich's markup
        yield table
