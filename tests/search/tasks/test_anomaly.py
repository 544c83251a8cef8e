from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.config import TaskConfig
from search.data.sequences import Array, SequenceCard, SequenceData, Side
from search.errors import DataError, DivergedTraining, InvalidArchitecture
from search.tasks import Predict
from search.tasks.anomaly import LEAST_OWN, Anomaly

CARD = SequenceCard(
    description="",
    fingerprint="",
    audit="",
    longest=3,
    horizon=0,
    channels=("a", "b"),
    classes=("normal", "anomalous"),
    variables=(),
    target_channels=(),
    mean=(0.0, 0.0),
    scale=(1.0, 1.0),
    truth_mean=(),
    truth_scale=(),
    scaled_apart={},
)
ENDS: dict[Side, Sequence[int]] = {
    "train": (2, 3, 4),
    "validation": (7, 8, 9, 10),
    "test": (13, 14, 15, 16, 17, 18),
}
FLAGGED = (10, 15, 16, 17)
"""One validation target, and three of the six test targets."""


def make_task(**settings: Any) -> Anomaly:
    return Anomaly(TaskConfig(kind="anomaly", **{"quantile": 0.5, **settings}))


def make_data(ends: dict[Side, Sequence[int]] = ENDS, flagged: Sequence[int] = FLAGGED) -> Any:
    """Rows of zeros, whose last row before a target is what a test says it is."""
    rows = max(max(places) for places in ends.values()) + 1
    truths = np.zeros(rows, np.int64)
    truths[list(flagged)] = 1
    return SequenceData(
        card=CARD,
        rows=np.zeros((rows, 2), np.float32),
        truths=truths,
        ends={side: np.array(places) for side, places in ends.items()},
        recordings={side: np.zeros(len(places), np.int64) for side, places in ends.items()},
    )


def make_predict(errors: dict[Side, Sequence[float]], steps: int = 1) -> Predict:
    """Be off by the root of each target's error in every row, where the rows are zeros."""

    def predict(side: Side) -> Array:
        roots = np.sqrt(np.array(errors[side], np.float32))
        return np.broadcast_to(roots[:, None, None], (len(roots), steps, 2))

    return predict


FOUND = make_predict({"validation": (1, 2, 3, 50), "test": (1, 5, 9, 7, 1, 3)})
"""Of normal validation targets the median error is 2; twice that gives two hits and a false alarm."""


def test_scores_are_those_counted_by_hand() -> None:
    task, data = make_task(margin=2.0), make_data()
    scores = task.score(data, "test", FOUND)
    assert scores == pytest.approx(
        {
            "error": (1 + 5 + 3) / 3,
            "average_precision": (1 / 1 + 2 / 2 + 3 / 6) / 3,
            "auroc": (3 + 3 + 0.5) / 9,
            "f1": 2 * 2 / (2 * 2 + 1 + 1),
            "far": 1 / 3,
            "mar": 1 / 3,
        }
    )
    assert set(scores) == set(task.directions)


def test_errors_are_means_over_rows_and_channels() -> None:
    data = make_data()
    data.rows[14:16] = [[1, 2], [3, 4]]  # the target at 15 is an anomaly, the one at 14 is not

    def predict(side: Side) -> Array:
        return np.zeros((len(data.ends[side]), 2, 2))

    squared = {14: (1 + 4) / 4, 13: 0}  # the window at 18 still shows the anomaly at 17
    absolute = {14: (1 + 2) / 4, 13: 0}
    for settings, expected in (({}, squared), ({"errors": "absolute"}, absolute)):
        scores = make_task(**settings).score(data, "test", predict)
        assert scores["error"] == pytest.approx(sum(expected.values()) / 2)


def test_long_sides_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_task().score(make_data(), "test", FOUND)
    monkeypatch.setattr("search.tasks.anomaly.MOST_VALUES", 4)
    assert make_task().score(make_data(), "test", FOUND) == whole


def test_a_score_at_the_threshold_is_no_alarm() -> None:
    predict = make_predict({"validation": (4, 4, 4, 4), "test": (4, 4, 4, 4, 4, 9)})
    scores = make_task().score(make_data(), "test", predict)
    assert (scores["far"], scores["mar"]) == (1 / 3, 1)


def test_a_perfect_model_raises_no_alarm() -> None:
    predict = make_predict({"validation": (0,) * 4, "test": (0,) * 6})
    scores = make_task().score(make_data(), "test", predict)
    assert (scores["error"], scores["far"], scores["mar"]) == (0, 0, 1)


def test_thresholds_rest_on_validation_alone() -> None:
    asked: list[Side] = []

    def predict(side: Side) -> Array:
        asked.append(side)
        return FOUND(side)

    task, data = make_task(), make_data()
    task.score(data, "validation", predict)
    reading = task.reading(data, predict)
    assert set(asked) == {"validation"}
    task.score(data, "test", predict)
    assert asked.count("test") == 1
    assert reading == {"threshold": pytest.approx(2)}


def test_other_test_targets_leave_an_alarm_as_it_was() -> None:
    task, data = make_task(), make_data()
    huge = make_predict({"validation": (1, 2, 3, 50), "test": (1e6, 1e6, 9, 7, 1, 1e6)})
    assert task.score(data, "test", huge)["mar"] == task.score(data, "test", FOUND)["mar"]


def test_anomalous_validation_targets_take_no_part_in_the_threshold() -> None:
    task, data = make_task(quantile=0.999), make_data()
    assert task.reading(data, FOUND)["threshold"] == pytest.approx(3, rel=0.01)
    unflagged = replace(data, truths=np.zeros_like(data.truths))
    assert task.reading(unflagged, FOUND)["threshold"] > 40


def test_windows_that_still_show_an_anomaly_take_no_part_in_threshold_and_error() -> None:
    task, data = make_task(quantile=0.999), make_data(flagged=(8, 15, 16, 17))
    found = make_predict({"validation": (1, 50, 50, 3), "test": (1, 5, 9, 7, 1, 3)})
    data = replace(data, card=replace(data.card, longest=2))
    assert task.reading(data, found)["threshold"] == pytest.approx(3, rel=0.01)
    assert task.score(data, "validation", found)["error"] == pytest.approx(2)


def test_without_normal_validation_targets_there_is_no_threshold() -> None:
    data = make_data(flagged=(7, 8, 9, 10, 13))
    with pytest.raises(DataError, match=r"validation side must show windows.*none\. Ch"):
        make_task().score(data, "test", FOUND)


def make_pair(first: int, second: int) -> tuple[Any, Predict]:
    """Two recordings of other levels, with so many validation targets each, and 4 test targets."""
    counts, places = first + second, 3 + first + second
    ends: dict[Side, Sequence[int]] = {
        "train": (2,),
        "validation": range(3, places),
        "test": range(places, places + 4),
    }
    data = make_data(ends, flagged=(places + 1, places + 3))
    recordings = {
        "train": np.array([0]),
        "validation": np.repeat([4, 7], [first, second]),
        "test": np.array([4, 4, 7, 7]),
    }
    levels = np.repeat([1.0, 100.0], [first, second])
    assert len(levels) == counts
    predict = make_predict({"validation": levels.tolist(), "test": (0.5, 50, 50, 200)})
    return replace(data, recordings=recordings), predict


def test_each_recording_can_have_its_own_threshold() -> None:
    data, predict = make_pair(LEAST_OWN + 4, LEAST_OWN)
    together = make_task().score(data, "test", predict)
    assert (together["far"], together["mar"], together["auroc"]) == (1 / 2, 0, 7 / 8)
    task = make_task(threshold_by="recording")
    apart = task.score(data, "test", predict)
    assert (apart["far"], apart["mar"], apart["auroc"]) == (0, 0, 1)
    assert task.reading(data, predict) == pytest.approx(
        {"threshold": 1, "threshold_recording_4": 1, "threshold_recording_7": 100}
    )


def test_recordings_with_few_normal_targets_take_the_common_threshold() -> None:
    data, predict = make_pair(LEAST_OWN, LEAST_OWN - 1)
    reading = make_task(threshold_by="recording").reading(data, predict)
    assert set(reading) == {"threshold", "threshold_recording_4"}
    scores = make_task(threshold_by="recording").score(data, "test", predict)
    assert scores["far"] == 1 / 2


def test_the_covering_rule_asks_all_windows_that_show_a_row() -> None:
    data = make_data()
    errors: dict[Side, Sequence[float]] = {"validation": (1,) * 4, "test": (5, 5, 5, 0, 5, 5)}
    predict = make_predict(errors, steps=2)
    found = make_task(rule="covering").tables(data, "test", predict)
    # Rows 13 to 18: the window that ends at 16 shows 15 as well; 18 has its own window alone.
    assert found["confusion"][1] == [("normal", 0, 3), ("anomalous", 2, 1)]
    scores = make_task(rule="covering").score(data, "test", predict)
    assert scores["error"] == pytest.approx(5), "the plain error stays what it was"


def test_the_covering_rule_stops_at_gaps_and_recordings() -> None:
    ends = {**ENDS, "test": (13, 15, 16, 18, 19)}
    data = make_data(ends, flagged=(13, 15, 16, 18, 19))
    predict = make_predict({"validation": (1,) * 4, "test": (5, 0, 5, 0, 5)}, steps=2)
    task = make_task(rule="covering")
    assert task.score(data, "test", predict)["mar"] == 2 / 5
    near = make_predict({"validation": (1,) * 4, "test": (5, 0, 5, 0, 5)}, steps=3)
    assert task.score(data, "test", near)["mar"] == 4 / 5
    apart = replace(data, recordings={**data.recordings, "test": np.array([0, 1, 1, 2, 2])})
    assert task.score(apart, "test", near)["mar"] == 2 / 5


def test_targets_may_stand_in_any_order() -> None:
    data = make_data()
    order = np.array([4, 0, 5, 2, 1, 3])
    shuffled = replace(data, ends={**data.ends, "test": data.ends["test"][order]})
    errors = np.array([5, 5, 5, 0, 5, 5])
    task = make_task(rule="covering")
    for steps in (1, 2, 3):
        one = make_predict({"validation": (1,) * 4, "test": errors.tolist()}, steps)
        other = make_predict({"validation": (1,) * 4, "test": errors[order].tolist()}, steps)
        assert task.score(shuffled, "test", other) == task.score(data, "test", one)


@pytest.mark.parametrize(
    ("flagged", "undefined"),
    [
        ((10,), {"average_precision", "auroc", "f1", "mar"}),
        (range(13, 19), {"average_precision", "auroc", "error", "far"}),
    ],
    ids=["all normal", "all anomalous"],
)
def test_what_a_side_of_one_kind_cannot_say_is_nan(
    flagged: Sequence[int], undefined: set[str]
) -> None:
    scores = make_task().score(make_data(flagged=flagged), "test", FOUND)
    assert {name for name, value in scores.items() if np.isnan(value)} == undefined


def test_tables_count_by_recording() -> None:
    data = make_data()
    data = replace(data, recordings={**data.recordings, "test": np.array([0, 0, 0, 2, 2, 5])})
    tables = make_task(margin=2.0).tables(data, "test", FOUND)
    assert tables["confusion"][1] == [("normal", 2, 1), ("anomalous", 1, 2)]
    heads, lines = tables["detection by recording"]
    assert heads == ("recording", "targets", "anomalous", "F1", "FAR", "MAR")
    assert np.array(lines) == pytest.approx(
        np.array(
            [
                (0, 3, 1, 2 / 3, 1 / 2, 0),
                (2, 2, 2, 2 / 3, np.nan, 1 / 2),
                (5, 1, 0, np.nan, 0, np.nan),
            ]
        ),
        nan_ok=True,
    )


def test_scores_are_shown_of_the_recording_with_most_anomalies() -> None:
    data = make_data()
    data = replace(data, recordings={**data.recordings, "test": np.array([0, 0, 0, 2, 2, 5])})
    heads, lines = make_task(margin=2.0).tables(data, "test", FOUND)["score over time"]
    assert heads == ("recording", "row", "score", "anomalous")
    assert [line[:2] for line in lines] == [(2, row) for row in data.ends["test"][3:5]]
    assert [line[3] for line in lines] == [1, 1]
    assert sum(line[2] > 1 for line in lines) == 1, "one of two alarms, as in the table above"


def test_models_are_taught_the_rows_that_they_put_out() -> None:
    task, data = make_task(), make_data()
    data.rows[:, 0] = np.arange(len(data.rows))
    assert task.output_shape(data, 3) == (3, 2)
    assert task.taught(data, (3, 2)).gather(np.array([5]))[0, :, 0].tolist() == [3, 4, 5]
    assert task.taught(data, (1, 2)).gather(np.array([5]))[0, :, 0].tolist() == [5]


@pytest.mark.parametrize("shape", [(), (2,), (0, 2), (4, 2), (2, 3), (2, 2, 1)], ids=str)
def test_other_shapes_than_rows_end_the_candidate(shape: tuple[int, ...]) -> None:
    task, data = make_task(), make_data()
    message = r"last k rows.*shape \(k, 2\) with k from 1 to 3. Received: output_shape=\("
    with pytest.raises(InvalidArchitecture, match=message):
        task.taught(data, shape)
    with pytest.raises(InvalidArchitecture, match=message):
        task.score(data, "test", lambda side: np.zeros((len(data.ends[side]), *shape)))


@pytest.mark.parametrize("shape", [(), (5, 1, 2)], ids=str)
def test_each_target_needs_rows_of_its_own(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArchitecture, match=r"each of 6 targets\. Received: shape=\("):
        make_task().score(make_data(), "test", lambda _: np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("wrong", ["test", "validation"])
def test_numbers_that_are_not_finite_end_the_candidate(value: float, wrong: Side) -> None:
    def predict(side: Side) -> Array:
        outputs = np.zeros((len(ENDS[side]), 1, 2))
        outputs[0, 0, 0] = value if side == wrong else 0
        return outputs

    with pytest.raises(DivergedTraining, match=r"finite numbers.*1 of (8|12) are not"):
        make_task().score(make_data(), "test", predict)


def make_wave(frames: tuple[int, ...] = ()) -> Any:
    """Channels that follow each other, but for a stretch of the test side."""
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((300, 1)), 2, axis=1)
    rows += 0.01 * rng.standard_normal((300, 2))
    rows[260:280, 1] *= -1  # as large as ever: only what belongs together tells
    wide = np.broadcast_to(rows.reshape(300, *(1 for _ in frames), 2), (300, *frames, 2))
    ends: dict[Side, Sequence[int]] = {
        "train": range(2, 150),
        "validation": range(152, 220),
        "test": range(222, 300),
    }
    data = make_data(ends, flagged=range(260, 280))
    return replace(data, rows=wide.astype(np.float32))


@pytest.mark.parametrize("frames", [(), (3,)])
def test_baselines_are_an_alarm_everywhere_the_mean_and_pca(frames: tuple[int, ...]) -> None:
    task, data = make_task(quantile=0.999, rule="covering", margin=1.1), make_wave(frames)
    everything, mean, pca = task.baselines(data)
    assert [line.name.split()[0] for line in (everything, mean, pca)] == [
        "everything",
        "distance",
        "PCA",
    ]
    scores = everything.score(data, "test")
    assert scores["f1"] == pytest.approx(2 * 20 / (2 * 20 + 58))
    assert (scores["far"], scores["mar"], scores["auroc"]) == (1, 0, 0.5)
    assert np.isnan(scores["error"])
    assert mean.validation["error"] == pytest.approx(1, rel=0.3)
    assert mean.score(data, "test")["auroc"] < 0.7
    found = pca.score(data, "test")
    assert found["auroc"] > 0.95
    assert found["far"] < 0.05
    assert pca.validation["error"] < 0.01
    assert pca.validation["far"] <= 0.05


def test_baselines_are_fitted_on_training_alone() -> None:
    task, data = make_task(), make_wave()
    others = data.rows.copy()
    others[152:] += 5
    moved = replace(data, rows=others)
    for fitted, again in zip(task.baselines(data), task.baselines(moved), strict=True):
        assert again.score(data, "test") == pytest.approx(fitted.score(data, "test"), nan_ok=True)


def test_wide_frames_are_cut_to_few_rows_for_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tasks.anomaly.PCA_VALUES", 5)
    monkeypatch.setattr("search.tasks.anomaly.PCA_WINDOWS", 50)
    found = make_task(quantile=0.999).baselines(make_wave())[-1].score(make_wave(), "test")
    assert found["auroc"] > 0.95
