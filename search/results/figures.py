"""A study's trials as figures: each is drawn from rows, curves or Optuna's study, and says what it shows."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from search.driver.leaderboard import PALETTE, TrialRow, rank, write_scalar
from search.messages import Outcome

BEST, FAINT = "#009E73", "#999999"
EDGE = 0.02
"""Share of a range, on its own scale, that counts as its edge."""
FEW = 4
"""Complete trials below which importances say nothing."""
WIDE = 6
"""Whole numbers below which half of a range is edge."""
SHOWN = 8
"""Hyperparameters that fit side by side."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What figures are drawn from.

    Attributes:
        study: As Optuna holds it.
        metric: The objective's name.
        rows: Every trial.
        curves: The objective of each trial's epochs, by its number.
        baselines: The naive baselines' objective, by name.
    """

    study: optuna.Study
    metric: str
    rows: Sequence[TrialRow]
    curves: Mapping[int, Sequence[float]]
    baselines: Mapping[str, float]

    @property
    def direction(self) -> str:
        """Which way is better: "maximize" or "minimize"."""
        return self.study.direction.name.lower()

    @property
    def leaders(self) -> list[TrialRow]:
        """The complete trials, best first."""
        return rank(self.rows, self.direction)


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
        spent += row.epochs
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
            x=list(range(1, len(curve) + 1)),
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
    rows = [row for row in record.leaders if row.parameter_count]
    front: list[TrialRow] = []
    for row in rows:  # from the best on: each that is smaller than all better ones
        if not front or (row.parameter_count or 0) < (front[-1].parameter_count or 0):
            front.append(row)
    figure = _make_figure("weights", record.metric)
    figure.update_xaxes(type="log")
    for name, own, mode, colour in (
        ("complete", rows, "markers", PALETTE["complete"]),
        ("Pareto front", front, "lines+markers", BEST),
    ):
        figure.add_scatter(
            x=[row.parameter_count for row in own],
            y=[row.value for row in own],
            text=[f"trial {row.number}" for row in own],
            name=name,
            mode=mode,
            line={"color": colour},
            marker={"color": colour},
        )
    text = "Complete trials. On the front, no smaller candidate is as good."
    return Picture(title="Score by size", text=text, figure=figure if rows else None)


def draw_time(record: StudyRecord) -> Picture:
    """Draw where the workers' time went, by outcome."""
    seconds: dict[str, float] = {}
    for row in record.rows:
        seconds[_outcome(row)] = seconds.get(_outcome(row), 0.0) + row.seconds
    figure = _make_figure("minutes of one worker", "")
    figure.add_bar(
        x=[value / 60 for value in seconds.values()],
        y=list(seconds),
        orientation="h",
        marker={"color": [PALETTE[name] for name in seconds]},
    )
    text = "Building, training and scoring of all trials, by what became of them."
    drawn = figure if sum(seconds.values()) > 0 else None
    return Picture(title="Where the time went", text=text, figure=drawn)


def draw_parallel(record: StudyRecord) -> Picture:
    """Draw the hyperparameters of complete trials side by side, by Optuna."""
    names = find_important(record)
    text = f"{_name(names)} One line a complete trial, darker where it is better."
    figure = _draw_by_optuna(optuna.visualization.plot_parallel_coordinate, record, params=names)
    return Picture(title="Hyperparameters side by side", text=text, figure=figure)


def draw_slices(record: StudyRecord) -> Picture:
    """Draw the objective against each hyperparameter, by Optuna."""
    names = find_important(record)
    text = f"{_name(names)} Complete trials, one panel a hyperparameter."
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
    figure = _draw_by_optuna(plot, record, evaluator=evaluator) if count >= FEW else None
    return Picture(title="Importances", text=text, figure=figure)


PICTURES: Sequence[Callable[[StudyRecord], Picture]] = (
    draw_progress,
    draw_curves,
    draw_lengths,
    draw_sizes,
    draw_time,
    draw_parallel,
    draw_slices,
    draw_importances,
)


def find_important(record: StudyRecord) -> list[str]:
    """Choose the hyperparameters that are worth a look where there are many.

    Args:
        record: The study.

    Returns:
        At most eight names: by PED-ANOVA the most important ones, or the first that were asked for
        where complete trials are too few or too much alike to tell.
    """
    if len(record.leaders) >= FEW:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = optuna.importance.get_param_importances(
                record.study, evaluator=PedAnovaImportanceEvaluator()
            )
        if scores:
            return list(scores)[:SHOWN]
    trials = record.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return list(dict.fromkeys(name for trial in trials for name in trial.params))[:SHOWN]


def find_edges(record: StudyRecord) -> Iterator[str]:
    """Name the hyperparameters of the best trial that stand at the edge of their range.

    Args:
        record: The study.

    Yields:
        One sentence each: a wider range may hold a better value.
    """
    leaders = record.leaders
    if not leaders:
        return
    trial = record.study.get_trials(deepcopy=False)[leaders[0].number]
    for name, domain in trial.distributions.items():
        if not isinstance(domain, IntDistribution | FloatDistribution) or domain.single():
            continue
        if isinstance(domain, IntDistribution) and _count(domain) < WIDE:
            continue
        scale = math.log if domain.log else float
        low, high, value = (scale(x) for x in (domain.low, domain.high, trial.params[name]))
        share = (value - low) / (high - low)
        if min(share, 1 - share) <= EDGE:
            end = "low" if share < 1 - share else "high"
            yield (
                f"{name} = {write_scalar(trial.params[name])} is at the {end} end of its range, "
                f"{write_scalar(domain.low)} to {write_scalar(domain.high)}."
            )


def describe_pruning(record: StudyRecord) -> str:
    """Say what was pruned and what that saved.

    Args:
        record: The study.

    Returns:
        One sentence.
    """
    pruned = [row for row in record.rows if row.outcome is Outcome.PRUNED]
    full = [row.epochs for row in record.leaders]
    if not pruned or not full:
        return "No trial was pruned." if not pruned else "No trial is complete to compare with."
    mean = sum(full) / len(full)
    spent = sum(row.epochs for row in pruned)
    saved = max(0.0, mean * len(pruned) - spent)
    return (
        f"{len(pruned)} of {len(record.rows)} trials were pruned after {spent} epochs; complete ones "
        f"took {mean:.1f} on average, so that about {saved:.0f} epochs were saved, on top of "
        f"the {sum(row.epochs for row in record.rows)} that were trained."
    )


def _count(domain: IntDistribution) -> int:
    return (domain.high - domain.low) // domain.step + 1


def _name(names: Sequence[str]) -> str:
    return f"The most important ones, at most {SHOWN}." if len(names) == SHOWN else "All of them."


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
        figure: go.Figure = plot(record.study, target_name=record.metric, **named)
    figure.update_layout(title=None, template="plotly_white", margin={"t": 40})
    return figure
