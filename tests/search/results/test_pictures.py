"""What a model did on the targets of a side is drawn from the tables of its task."""

import numpy as np
import pytest

from search.results.figures import Picture
from search.results.pictures import DRAWN, draw_tables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(60),
]  # the first figure loads plotly's templates


def draw(name: str, heads: tuple[str, ...], *lines: tuple[str | float, ...]) -> Picture:
    tables = {"unknown": (("a",), [(1,)]), name: (heads, list(lines))}
    (picture,) = draw_tables(tables, "validation")
    assert picture.figure is not None
    return picture


def test_a_confusion_matrix_shows_every_count() -> None:
    drawn = draw("confusion matrix", ("true class", "a", "b"), ("a", 5, 1), ("b", 2, 7))
    (heatmap,) = drawn.figure.data
    assert np.asarray(heatmap.z).tolist() == [[5, 1], [2, 7]]
    assert (list(heatmap.x), list(heatmap.y)) == (["a", "b"], ["a", "b"])


def test_each_metric_by_steps_ahead_has_an_axis_of_its_own() -> None:
    drawn = draw("error by step ahead", ("step", "mae", "psnr"), (1, 0.1, 20.0), (2, 0.2, 18.0))
    traces = drawn.figure.data
    assert [list(trace.y) for trace in traces] == [[0.1, 0.2], [20.0, 18.0]]
    assert [list(trace.x) for trace in traces] == [[1, 2], [1, 2]]
    assert len({trace.yaxis for trace in traces}) == 2


def test_forecasts_stand_beside_the_truth_of_their_target_and_variable() -> None:
    lines = [
        (target, step, name, target + step / 10, -step)
        for target in (0, 7)
        for name in ("b", "a")
        for step in (1, 2)
    ]
    heads = ("target", "step", "variable", "truth", "forecast")
    drawn = draw("forecasts", heads, *lines)
    traces = drawn.figure.data
    assert len(traces) == 8
    found = {(trace.yaxis, trace.name): list(trace.y) for trace in traces}
    # the first row of figures is the first variable's, the second column the second target's
    assert found["y2", "truth"] == pytest.approx([7.1, 7.2])
    assert found["y2", "forecast"] == [-1, -2]
    assert sum(trace.showlegend for trace in traces) == 2


def test_predictions_stand_against_the_truth_of_their_variable() -> None:
    lines = [(0, "v", 1.0, 1.5), (0, "w", 10.0, 9.0), (3, "v", 2.0, 2.5), (3, "w", 20.0, 19.0)]
    drawn = draw("predictions", ("target", "variable", "truth", "prediction"), *lines)
    points = [trace for trace in drawn.figure.data if trace.mode == "markers"]
    assert [list(trace.x) for trace in points] == [[1.0, 2.0], [10.0, 20.0]]
    assert [list(trace.y) for trace in points] == [[1.5, 2.5], [9.0, 19.0]]
    right = [trace for trace in drawn.figure.data if trace.mode == "lines"]
    assert [list(trace.x) for trace in right] == [[1.0, 2.0], [10.0, 20.0]]


def test_scores_are_drawn_over_time_with_what_is_anomalous() -> None:
    lines = [(4, 10, 0.5, 0), (4, 11, 1.5, 1), (4, 12, 0.7, 1)]
    drawn = draw("score over time", ("recording", "row", "score", "anomalous"), *lines)
    scores, flagged = drawn.figure.data
    assert (list(scores.x), list(scores.y)) == ([10, 11, 12], [0.5, 1.5, 0.7])
    assert list(flagged.x) == [11, 12]
    assert drawn.figure.layout.shapes[0].y0 == 1
    assert "Recording 4, the one with most anomalous validation targets" in drawn.text


def test_frames_are_joined_to_strips_the_right_way_up() -> None:
    lines = [
        (2, what, step, line, *(10 * step + line + shift for _ in range(3)))
        for what, shift in (("truth", 0.0), ("prediction", 0.5))
        for step in (1, 2)
        for line in (0, 1)
    ]
    drawn = draw("frames", ("target", "what", "step", "line", "0", "1", "2"), *lines)
    truth, guess = (np.asarray(trace.z) for trace in drawn.figure.data)
    # two frames of 3 pixels, each with an edge; a heatmap's first line is its lowest
    assert truth.shape == (2, 8)
    assert truth[1].tolist() == [10, 10, 10, 1, 20, 20, 20, 1]
    assert truth[0].tolist() == [11, 11, 11, 1, 21, 21, 21, 1]
    assert guess[1, 0] == 10.5


def test_only_what_a_task_tells_is_drawn() -> None:
    assert list(draw_tables({}, "test")) == []
    assert "detection by recording" not in DRAWN
