"""What a model did on the targets of a side, drawn from the tables of its task."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.data.sequences import Side
from search.messages import Table
from search.results.figures import BEST, FAINT, Picture

Draw: TypeAlias = Callable[[pd.DataFrame, Side], Picture]
ALARM = "#D55E00"
HEIGHT = 260
"""Pixels of a row of small figures."""


def draw_tables(tables: Mapping[str, Table], side: Side) -> Iterator[Picture]:
    """Draw what a task tells of a side's targets, beside its scores.

    Args:
        tables: The tables by name.
        side: Whose targets.

    Yields:
        A picture for each table that has one.
    """
    for name, draw in DRAWN.items():
        if name in tables:
            heads, lines = tables[name]
            yield draw(pd.DataFrame([*map(list, lines)], columns=[*heads]), side)


def draw_confusion(table: pd.DataFrame, side: Side) -> Picture:
    """Draw how often each true class was called what."""
    counts = table.set_index(table.columns[0])
    figure = px.imshow(counts, text_auto=True, color_continuous_scale="Blues", aspect="auto")
    figure.update_layout(xaxis_title="called", yaxis_title="true class", coloraxis_showscale=False)
    figure.update_xaxes(
        type="category"
    )  # else classes called 1, 10, 100 stand on an axis of numbers
    figure.update_yaxes(type="category")
    text = f"The {side} targets of each true class, a line each, by what the model calls them."
    return Picture(title="Confusion matrix", text=text, figure=_finish(figure))


def draw_errors(table: pd.DataFrame, side: Side) -> Picture:
    """Draw each metric by steps ahead."""
    names = [str(name) for name in table.columns[1:]]
    figure = make_subplots(cols=len(names), subplot_titles=names)
    for column, name in enumerate(names, start=1):
        figure.add_scatter(
            x=table[table.columns[0]],
            y=table[name],
            mode="lines+markers",
            row=1,
            col=column,
            line={"color": BEST},
            showlegend=False,
        )
    figure.update_xaxes(title="steps ahead")
    text = f"Each metric on the {side} targets by how far ahead the prediction is."
    return Picture(title="Error by step ahead", text=text, figure=_finish(figure, HEIGHT + 60))


def draw_forecasts(table: pd.DataFrame, side: Side) -> Picture:
    """Draw forecasts beside the truth: a figure for each target and variable."""
    targets, variables = _list(table["target"]), _list(table["variable"])
    figure = make_subplots(
        rows=len(variables),
        cols=len(targets),
        row_titles=variables,
        column_titles=[f"{side} target {target}" for target in targets],
        vertical_spacing=0.3 / len(variables),
    )
    for (target, variable), part in table.groupby(["target", "variable"]):
        row, column = variables.index(variable) + 1, targets.index(target) + 1
        for name, colour in (("truth", FAINT), ("forecast", BEST)):
            figure.add_scatter(
                x=part["step"],
                y=part[name],
                name=name,
                legendgroup=name,
                row=row,
                col=column,
                mode="lines+markers" if len(part) == 1 else "lines",
                line={"color": colour},
                showlegend=(row, column) == (1, 1),
            )
    text = f"Forecasts of a few {side} targets, evenly spread, by steps ahead and beside the truth."
    figure = _finish(figure, HEIGHT * len(variables))
    return Picture(title="Forecasts beside the truth", text=text, figure=figure)


def draw_predictions(table: pd.DataFrame, side: Side) -> Picture:
    """Draw predicted values against true ones."""
    figure = px.scatter(
        table, x="truth", y="prediction", facet_col="variable", hover_data=["target"], opacity=0.6
    )
    figure.update_xaxes(matches=None)
    figure.update_yaxes(matches=None, showticklabels=True)
    for column, (_, part) in enumerate(table.groupby("variable", sort=False), start=1):
        ends = [part["truth"].min(), part["truth"].max()]
        figure.add_scatter(
            x=ends,
            y=ends,
            mode="lines",
            line={"color": FAINT, "dash": "dot"},
            row=1,
            col=column,
            showlegend=False,
        )
    text = f"Some {side} targets, evenly spread; dotted, where a prediction is right."
    return Picture(title="Predictions against the truth", text=text, figure=_finish(figure))


def draw_scores(table: pd.DataFrame, side: Side) -> Picture:
    """Draw the anomaly score over time, with the threshold and the labels."""
    figure = go.Figure()
    figure.add_scatter(
        x=table["row"], y=table["score"], name="score", mode="lines", line={"color": BEST}
    )
    flagged = table[table["anomalous"] == 1]
    figure.add_scatter(
        x=flagged["row"],
        y=flagged["score"],
        name="anomalous in truth",
        mode="markers",
        marker={"color": ALARM, "size": 5},
    )
    figure.add_hline(y=1, line_dash="dot", line_color=FAINT, annotation_text="threshold")
    figure.update_layout(xaxis_title="row", yaxis_title="score over threshold")
    recording = table["recording"].iloc[0]
    text = (
        f"Recording {recording}, the one with most anomalous {side} targets: above the dotted line "
        f"the model raises an alarm. Rows are counted over all recordings."
    )
    return Picture(title="Anomaly score over time", text=text, figure=_finish(figure))


def draw_frames(table: pd.DataFrame, side: Side) -> Picture:
    """Draw strips of true and predicted frames, one below the other."""
    pixels = table.columns[4:]
    strips, names = [], []
    for target in _list(table["target"]):
        for what in ("truth", "prediction"):
            part = table[(table["target"] == target) & (table["what"] == what)]
            frames = [frame[pixels].to_numpy() for _, frame in part.groupby("step")]
            strips.append(np.concatenate([_edge(frame) for frame in frames], axis=1))
            names.append(f"{what}, {side} target {target}")
    figure = make_subplots(
        rows=len(strips), subplot_titles=names, vertical_spacing=0.25 / len(strips)
    )
    for row, strip in enumerate(strips, start=1):
        figure.add_heatmap(
            z=strip[::-1], colorscale="gray", zmin=0, zmax=1, showscale=False, row=row, col=1
        )
    for row in range(1, len(strips) + 1):  # square pixels
        axis = f"x{row}" if row > 1 else "x"
        figure.update_yaxes(scaleanchor=axis, constrain="domain", row=row, col=1)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False)
    text = "Frames from one step ahead, on the left, to the last: true ones, and below them as predicted."
    figure = _finish(figure, HEIGHT // 2 * len(strips))
    return Picture(title="Predicted frames", text=text, figure=figure)


def _list(values: "pd.Series[Any]") -> list[Any]:
    """List the different values in their order."""
    found: list[Any] = values.drop_duplicates().tolist()
    return found


def _edge(frame: Any) -> Any:
    """Put a light edge on the right of a frame of shape (height, width)."""
    return np.pad(frame.astype(float), ((0, 0), (0, 1)), constant_values=1.0)


def _finish(figure: go.Figure, height: int = 420) -> go.Figure:
    figure.update_layout(template="plotly_white", height=height, margin={"t": 40, "r": 40})
    return figure


DRAWN: Mapping[str, Draw] = {
    "confusion matrix": draw_confusion,
    "confusion": draw_confusion,
    "error by step ahead": draw_errors,
    "forecasts": draw_forecasts,
    "predictions": draw_predictions,
    "score over time": draw_scores,
    "frames": draw_frames,
}
"""What draws each table, by its name."""
