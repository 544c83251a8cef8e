"""A study's trials as figures: each is drawn from rows, curves or Optuna's study, and says what it shows."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from search.driver.leaderboard import PALETTE, TrialRow, find_front
from search.driver.objectives import COSTS, leave_first
from search.messages import Outcome
from search.results.findings import SHOWN, StudyRecord, find_important, tells_apart

BEST, FAINT = "#009E73", "#999999"
AGAIN = "trained again"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its title and what it shows; or why there is none.

    Attributes:
        title: A few words.
        text: One or two sentences.
        figure: ``None`` where the study has too little to draw.
    """

    title: str
    text: str
    figure: go.Figure | None = None


def draw_progress(record: StudyRecord) -> Picture:
    """Draw each trial's objective, and the best so far, against the epochs that were spent."""
    spent, best = 0, math.nan
    better = max if record.direction == "maximize" else min
    steps: list[tuple[int, float]] = []
    points: dict[str, list[tuple[int, float, int]]] = {}
    for row in sorted(record.rows, key=lambda row: row.number):
        spent += row.own_epochs
        if row.value is None or not math.isfinite(row.value):
            continue
        points.setdefault(_outcome(row), []).append((spent, row.value, row.number))
        if row.outcome is Outcome.COMPLETE:
            best = row.value if math.isnan(best) else better(best, row.value)
            steps.append((spent, best))
    figure = _make_figure("epochs spent", record.metric)
    if steps:
        figure.add_scatter(
            x=[x for x, _ in steps],
            y=[y for _, y in steps],
            name="best so far",
            mode="lines",
            line={"shape": "hv", "color": BEST, "width": 3},
        )
    for outcome, own in points.items():
        figure.add_scatter(
            x=[x for x, _, _ in own],
            y=[y for _, y, _ in own],
            text=[f"trial {number}" for _, _, number in own],
            name=outcome,
            mode="markers",
            marker={"color": PALETTE[outcome]},
        )
    for name, value in record.baselines.items():
        if math.isfinite(value):
            figure.add_hline(y=value, line_dash="dot", line_color=FAINT, annotation_text=name)
    text = "Every trial, in order; dotted, the naive baselines."
    return Picture(title="Best so far", text=text, figure=figure if points else None)


def draw_curves(record: StudyRecord) -> Picture:
    """Draw the objective by epoch, coloured by outcome."""
    figure = _make_figure("epoch", record.metric)
    shown: set[str] = set()
    for row in record.rows:
        curve = record.curves.get(row.number, [])
        if not curve:
            continue
        outcome = _outcome(row)
        figure.add_scatter(
            x=list(range(row.begun_at + 1, row.begun_at + len(curve) + 1)),
            y=list(curve),
            name=outcome,
            legendgroup=outcome,
            showlegend=outcome not in shown,
            text=f"trial {row.number}",
            mode="lines+markers" if len(curve) == 1 else "lines",
            line={"color": PALETTE[outcome], "width": 1.5},
            opacity=0.7,
        )
        shown.add(outcome)
    text = f"{record.metric} on validation after each epoch."
    return Picture(title="Learning curves", text=text, figure=figure if shown else None)


def draw_lengths(record: StudyRecord) -> Picture:
    """Draw complete trials by sequence length."""
    rows = [row for row in record.leaders if "sequence_length" in row.parameters]
    lengths = [int(row.parameters["sequence_length"] or 0) for row in rows]
    figure = _make_figure("sequence length", record.metric)
    figure.add_scatter(
        x=lengths,
        y=[row.value for row in rows],
        text=[f"trial {row.number}" for row in rows],
        mode="markers",
        marker={"color": PALETTE["complete"]},
        showlegend=False,
    )
    text = "Complete trials. All lengths are scored on the same targets."
    drawn = figure if len(set(lengths)) > 1 else None
    return Picture(title="Score by sequence length", text=text, figure=drawn)


def draw_sizes(record: StudyRecord) -> Picture:
    """Draw complete trials by size, and those that no smaller one is as good as."""
    figure = _draw_front(record, "weights", COSTS["parameters"])
    text = "Complete trials. On the front, no smaller candidate is as good."
    return Picture(title="Score by size", text=text, figure=figure)


def draw_latencies(record: StudyRecord) -> Picture:
    """Draw complete trials by latency, and those that no faster one is as good as."""
    label = "milliseconds for one window"
    figure = _draw_front(record, label, COSTS["latency_ms"])
    text = (
        "Complete trials; measured by each trial's worker while the others trained. On the front, "
        "no faster candidate is as good."
    )
    return Picture(title="Score by latency", text=text, figure=figure)


def _draw_front(
    record: StudyRecord, label: str, cost: Callable[[TrialRow], float | None]
) -> go.Figure | None:
    """Draw complete trials by what they cost, and those that no cheaper one is as good as."""
    rows = [row for row in record.leaders if cost(row)]
    front = find_front(rows, record.direction, [cost])
    figure = _make_figure(label, record.metric)
    figure.update_xaxes(type="log")
    for name, own, mode, colour in (
        ("complete", rows, "markers", PALETTE["complete"]),
        ("Pareto front", front, "lines+markers", BEST),
    ):
        figure.add_scatter(
            x=[cost(row) for row in own],
            y=[row.value for row in own],
            text=[f"trial {row.number}" for row in own],
            name=name,
            mode=mode,
            line={"color": colour},
            marker={"color": colour},
        )
    return figure if rows else None


def draw_time(record: StudyRecord) -> Picture:
    """Draw where the workers' time went, by outcome."""
    seconds: dict[str, float] = {}
    for row in record.rows:
        seconds[_outcome(row)] = seconds.get(_outcome(row), 0.0) + row.seconds
    if record.seconds_again:
        seconds[AGAIN] = record.seconds_again
    figure = _make_figure("minutes of one worker", "")
    figure.add_bar(
        x=[value / 60 for value in seconds.values()],
        y=list(seconds),
        orientation="h",
        marker={"color": [PALETTE.get(name, FAINT) for name in seconds]},
    )
    text = (
        "Building, training and scoring of all trials, by what became of them, and of the best ones "
        "when they were trained again to be compared."
    )
    drawn = figure if sum(seconds.values()) > 0 else None
    return Picture(title="Where the time went", text=text, figure=drawn)


def draw_parallel(record: StudyRecord) -> Picture:
    """Draw the hyperparameters of complete trials side by side, by Optuna."""
    names = find_important(record)
    text = f"{_name(record, names)} One line a complete trial, darker where it is better."
    figure = _draw_by_optuna(optuna.visualization.plot_parallel_coordinate, record, params=names)
    return Picture(title="Hyperparameters side by side", text=text, figure=figure)


def draw_slices(record: StudyRecord) -> Picture:
    """Draw the objective against each hyperparameter, by Optuna."""
    names = find_important(record)
    text = f"{_name(record, names)} Complete trials, one panel a hyperparameter."
    figure = _draw_by_optuna(optuna.visualization.plot_slice, record, params=names)
    return Picture(title="Hyperparameters one by one", text=text, figure=figure)


def draw_importances(record: StudyRecord) -> Picture:
    """Draw which hyperparameters decide whether a trial is among the best, by PED-ANOVA."""
    count = len(record.leaders)
    text = (
        f"PED-ANOVA (Watanabe et al., IJCAI 2023), on {count} complete trials: how much a "
        f"hyperparameter decides whether a trial is among the best tenth. It is noisy below some "
        f"dozens of trials."
    )
    evaluator = PedAnovaImportanceEvaluator()
    plot = optuna.visualization.plot_param_importances
    figure = _draw_by_optuna(plot, record, evaluator=evaluator) if tells_apart(record) else None
    return Picture(title="Importances", text=text, figure=figure)


PICTURES: Sequence[Callable[[StudyRecord], Picture]] = (
    draw_progress,
    draw_curves,
    draw_lengths,
    draw_sizes,
    draw_latencies,
    draw_time,
    draw_parallel,
    draw_slices,
    draw_importances,
)


def _name(record: StudyRecord, names: Sequence[str]) -> str:
    which = "The most important ones" if tells_apart(record) else "The first ones"
    parts = [f"{which}, at most {SHOWN}." if len(names) == SHOWN else "All of them."]
    if any(name.endswith(":index") for name in names):
        parts.append("An :index counts the steps of a logarithmic scale.")
    if any(name.endswith(":mirrored") for name in names):
        parts.append("What is :mirrored is counted from the other end of its range.")
    return " ".join(parts)


def _outcome(row: TrialRow) -> str:
    return row.outcome.value if row.outcome else "running"


def _make_figure(x: str, y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        xaxis_title=x,
        yaxis_title=y,
        height=420,
        margin={"l": 70, "r": 20, "t": 20, "b": 50},
    )
    return figure


def _draw_by_optuna(
    plot: Callable[..., Any], record: StudyRecord, **named: Any
) -> go.Figure | None:
    """Have Optuna draw what it can; it needs two complete trials that differ."""
    complete = record.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({tuple(sorted(map(str, trial.params.items()))) for trial in complete}) <= 1:
        return None
    with warnings.catch_warnings():
        # Plots of a new release are called experimental, and trials with fewer parameters are normal.
        warnings.simplefilter("ignore")
        alone = leave_first(record.study)
        figure: go.Figure = plot(alone, target_name=record.metric, **named)
    figure.update_layout(title=None, template="plotly_white", margin={"t": 40})
    return figure
