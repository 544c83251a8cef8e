import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from search.config import make_config
from search.data.sequences import SequenceData
from search.errors import DivergedTraining, InvalidArchitecture
from search.tasks import Baseline, Task, make_task, naive
from search.tasks.naive import (
    fit_change,
    is_seasonal,
    repeat_last,
    repeat_season,
    seasonal_differences,
)

MakeData: TypeAlias = Callable[..., SequenceData]
HORIZON, LONGEST, SCALE = 3, 4, np.array([2.0, 10.0])


def make_forecasting(scores: str = "original", season: int | None = None) -> Task:
    task: dict[str, Any] = {"kind": "forecasting", "scores": scores, "horizon": HORIZON}
    return make_task(
        make_config({"name": "test", "task": task | ({"season": season} if season else {})})
    )


@pytest.fixture
def series(make_data: MakeData) -> MakeData:
    """What makes one recording that forecasts its own channels: train, validation, test."""

    def series(rows: Any, **card: Any) -> SequenceData:
        rows = np.asarray(rows, dtype=np.float32)
        longest, horizon = card.get("longest", LONGEST), card.get("horizon", HORIZON)
        first, last = longest - 1, len(rows) - horizon
        ends = np.arange(first, last)
        cuts = len(ends) // 2, len(ends) * 3 // 4
        return make_data(
            rows,
            card.pop("truths", rows.copy()),
            card.pop("ends", [ends[: cuts[0]], ends[cuts[0] : cuts[1]], ends[cuts[1] :]]),
            card.pop("recordings", None),
            **{
                "longest": longest,
                "horizon": horizon,
                "variables": tuple("abcdefgh"[: rows.shape[1]]),
                "target_channels": tuple(range(rows.shape[1])),
                "truth_mean": (5.0,) * rows.shape[1],
                "truth_scale": tuple(np.resize(SCALE, rows.shape[1])),
                **card,
            },
        )

    return series


def walk(rows: int = 60, channels: int = 2) -> Any:
    return np.random.default_rng(0).standard_normal((rows, channels)).cumsum(axis=0)


def naive_errors(rows: Any, season: int, pairs: Any) -> Any:
    """Average how far each variable moves over pairs of rows, one after the other."""
    moves = [[abs(float(rows[t][c]) - float(rows[t - season][c])) for c in (0, 1)] for t in pairs]
    return np.mean(moves, axis=0)


@pytest.mark.parametrize("season", [None, 2])
@pytest.mark.parametrize("scores", ["original", "scaled"])
def test_scores_are_those_of_naive_loops(series: MakeData, scores: str, season: int | None) -> None:
    data, rng = series(walk()), np.random.default_rng(1)
    ends = data.ends["validation"]
    outputs = rng.standard_normal((len(ends), HORIZON, 2))
    off = np.zeros(outputs.shape)
    for i, end in enumerate(ends):
        for ahead in range(1, HORIZON + 1):
            off[i, ahead - 1] = outputs[i, ahead - 1] - data.truths[end + ahead]
    step = season or 1
    covered = range(step, data.ends["train"][-1] + HORIZON + 1)
    units = SCALE if scores == "original" else np.ones(2)
    found = make_forecasting(scores, season).score(data, "validation", lambda side: outputs)
    assert found == pytest.approx(
        {
            "mae": np.mean(np.abs(off) * units),
            "mse": np.mean(off**2 * units**2),
            "rmse": np.sqrt(np.mean(off**2 * units**2)),
            "mase": np.mean(np.abs(off).mean((0, 1)) / naive_errors(data.truths, step, covered)),
        },
        rel=1e-9,
    )
    assert list(found) == list(make_forecasting().directions)


def test_the_past_that_is_nearer_is_found_on_training_targets_alone(series: MakeData) -> None:
    turning = np.tile(walk(4), (15, 1)) + 0.01 * walk(60)
    assert is_seasonal(series(turning), 4)
    assert not is_seasonal(series(walk(60)), 4)
    turning[40:] = walk(20)  # what validation and test show does not count
    assert is_seasonal(series(turning), 4)


def test_mase_of_repeating_the_last_value_of_a_ramp_is_the_mean_distance(series: MakeData) -> None:
    data = series(np.arange(40.0)[:, None] * [[0.5, 3.0]])
    found = make_forecasting().score(data, "test", lambda side: repeat_last(data, side))
    assert found["mase"] == pytest.approx((1 + 2 + 3) / 3)
    assert found["mae"] == pytest.approx((1 + 2 + 3) / 3 * (0.5 * 2 + 3 * 10) / 2)


def test_the_naive_error_of_training_takes_each_pair_once_and_stays_in_its_recording(
    series: MakeData,
) -> None:
    rows, recordings = walk(50), np.repeat([3, 7], 25)
    ends = [np.array([18, 5, 36, 30]), np.array([10]), np.array([44])]
    data = series(rows, ends=ends, recordings=recordings)
    shown = [{*range(end - 3, end + 4)} for end in (5, 18, 30, 36)]
    first, second = shown[0] | shown[1], shown[2] | shown[3]
    for season in (1, 5, 9, 15):
        pairs = [t for rows_ in (first, second) for t in rows_ if t - season in rows_]
        expected = naive_errors(data.truths, season, pairs)
        assert seasonal_differences(data, season) == pytest.approx(expected)
    assert np.isnan(seasonal_differences(data, 24)).all()
    assert np.isnan(seasonal_differences(data, 500)).all()


def test_neighbouring_recordings_are_not_one(series: MakeData) -> None:
    rows = np.concatenate([np.zeros((7, 1)), np.full((7, 1), 100.0)])
    data = series(rows, ends=[np.array([3, 10])] * 3, recordings=np.repeat([0, 1], 7))
    assert seasonal_differences(data, 1).tolist() == [0]


def test_a_constant_or_unknown_variable_takes_no_part_in_mase(series: MakeData) -> None:
    rows = np.stack([np.arange(40.0), np.zeros(40)], axis=1)
    truths = rows.astype(np.float32).copy()
    truths[3:9, 0] = np.nan
    data = series(rows, truths=truths)
    ones = np.ones((len(data.ends["test"]), HORIZON, 2))
    expected = data.labels("test")[..., 0] - 1
    found = make_forecasting().score(data, "test", lambda side: ones)
    assert found["mase"] == pytest.approx(expected.mean())
    still = series(np.zeros((40, 2)))
    assert np.isnan(make_forecasting().score(still, "test", lambda side: ones)["mase"])


def test_the_naive_error_is_summed_part_by_part(
    series: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = series(walk())
    whole = seasonal_differences(data, 2)
    monkeypatch.setattr(naive, "MOST_VALUES", 6)
    assert seasonal_differences(data, 2) == pytest.approx(whole)


def test_rows_and_values_are_mapped_row_by_row_whatever_made_them(
    series: MakeData, tmp_path: Path
) -> None:
    rows = walk()
    data = series(rows, truths=np.asfortranarray(rows.astype(np.float32)))
    data.save(tmp_path / "data")
    loaded = SequenceData.load(tmp_path / "data")
    assert loaded.truths.flags.c_contiguous
    assert loaded.rows.flags.c_contiguous
    assert np.array_equal(loaded.truths, data.truths)


def test_the_naive_error_takes_memory_for_targets_and_not_for_rows(series: MakeData) -> None:
    rows = 1_000_000
    ends = np.arange(1000, rows - 1000, 1000)
    data = series(np.zeros((rows, 1)), ends=[ends, ends[:1] + 1, ends[:1] + 2])
    tracemalloc.start()
    try:
        assert seasonal_differences(data, 1).tolist() == [0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < rows  # bytes: not one for each row


def test_the_naive_error_of_the_same_data_is_found_once(
    series: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[SequenceData] = []

    def find(data: SequenceData, season: int) -> Any:
        seen.append(data)
        return seasonal_differences(data, season)

    monkeypatch.setattr("search.tasks.forecasting.seasonal_differences", find)
    task, first, other = make_forecasting(), series(walk()), series(2 * walk(50))
    for data in (first, first, other, other):
        found = task.score(data, "test", lambda side, data=data: data.labels(side) + 1)
        fresh = make_forecasting().score(
            data, "test", lambda side, data=data: data.labels(side) + 1
        )
        assert found == fresh
    assert [data is first for data in seen] == [True, True, True, False, False, False]


def test_a_table_says_how_errors_grow(series: MakeData) -> None:
    data = series(np.arange(40.0)[:, None] * [[1.0, 1.0]])
    tables = make_forecasting().tables(data, "test", lambda side: repeat_last(data, side))
    heads, lines = tables["error by step ahead"]
    assert heads == ("step", "mae", "mse")
    expected = [(step, 6 * step, (4 + 100) / 2 * step**2) for step in (1, 2, 3)]
    assert np.array(lines) == pytest.approx(np.array(expected))
    assert all(isinstance(line[0], int) for line in lines)


def test_a_table_shows_forecasts_beside_the_truth_in_the_datas_units(series: MakeData) -> None:
    data = series(np.arange(40.0)[:, None] * [[1.0, 1.0]])
    tables = make_forecasting().tables(data, "test", lambda side: repeat_last(data, side))
    heads, lines = tables["forecasts"]
    assert heads == ("target", "step", "variable", "truth", "forecast")
    targets = sorted({line[0] for line in lines})
    assert (targets[0], targets[-1]) == (0, len(data.ends["test"]) - 1)
    assert len(lines) == len(targets) * 3 * 2
    mean, scale = (np.array(values) for values in (data.card.truth_mean, data.card.truth_scale))
    for target, step, name, truth, forecast in lines:
        row, place = data.ends["test"][target], data.card.variables.index(name)
        expected = (np.array([row + step, row]) * scale[place]) + mean[place]
        assert (truth, forecast) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("shape", [(3, 2), (6,), (1, 3, 2)])
def test_forecasts_may_be_flat(series: MakeData, shape: tuple[int, ...]) -> None:
    task, data = make_forecasting(), series(walk())
    truth = data.labels("test")
    found = task.score(data, "test", lambda side: truth.reshape(len(truth), *shape))
    assert found == {"mae": 0, "mse": 0, "rmse": 0, "mase": 0}
    taught = task.taught(data, shape).gather(data.ends["test"])
    assert taught.tolist() == truth.reshape(len(truth), *shape).tolist()


def test_one_variable_needs_no_axis(series: MakeData) -> None:
    task, data = make_forecasting(), series(walk(channels=1))
    truth = data.labels("test")[..., 0]
    assert task.score(data, "test", lambda side: truth)["mae"] == 0
    assert task.output_shape(data, 2) == (3, 1)
    assert task.taught(data, (3,)).window_shape == (3,)


BAD_OUTPUTS = {
    "swapped": ((2, 3), r"shape \(\d+, 3, 2\) for \d+ targets.*\(\d+, 2, 3\)\. End it with Dense"),
    "one step": ((2,), r"Dense\(6\) and Reshape\(\(3, 2\)\)\."),
    "one a row": ((4, 3, 2), r"one number for each step ahead and variable"),
}


@pytest.mark.parametrize(("shape", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_outputs_of_another_form_end_the_candidate(
    series: MakeData, shape: tuple[int, ...], message: str
) -> None:
    task, data = make_forecasting(), series(walk())
    outputs = np.zeros((len(data.ends["test"]), *shape))
    with pytest.raises(InvalidArchitecture, match=message):
        task.score(data, "test", lambda side: outputs)
    with pytest.raises(InvalidArchitecture, match=r"\(3, 2\) for each target\. Received: shape="):
        task.taught(data, shape)


def test_outputs_that_are_no_numbers_end_the_candidate(series: MakeData) -> None:
    data = series(walk())
    outputs = np.zeros((len(data.ends["test"]), 3, 2))
    outputs[1, 2, 0] = np.nan
    with pytest.raises(DivergedTraining, match=r"finite numbers\. Received: 1 of \d+ are not"):
        make_forecasting().tables(data, "test", lambda side: outputs)


def by_name(baselines: list[Baseline]) -> dict[str, Any]:
    return {baseline.name: baseline.validation for baseline in baselines}


def test_a_pure_season_is_forecast_without_error_by_the_last_season(series: MakeData) -> None:
    rows = np.tile([[0, 5], [1, 3], [4, 9], [2, 2]], (15, 1))
    data = series(rows, longest=4, horizon=6)
    found = by_name(make_forecasting(season=4).baselines(data))
    assert list(found) == ["last value", "last season", "ridge on the window"]
    assert found["last season"]["mae"] == 0
    assert found["last value"]["mae"] > 1
    assert found["ridge on the window"]["mae"] < 0.01


def test_a_ramp_is_forecast_by_the_linear_model(series: MakeData) -> None:
    found = by_name(make_forecasting().baselines(series(np.arange(60.0)[:, None] / 10)))
    assert list(found) == ["last value", "ridge on the window"]
    assert found["last value"]["mae"] == pytest.approx(2 * 0.2, rel=1e-5)
    assert found["ridge on the window"]["mae"] < 1e-4


def test_a_season_longer_than_the_window_is_no_baseline(series: MakeData) -> None:
    assert "last season" not in by_name(make_forecasting(season=5).baselines(series(walk())))


def test_a_baseline_scores_other_sides(series: MakeData) -> None:
    data, task = series(walk()), make_forecasting()
    linear = task.baselines(data)[-1]
    assert linear.score(data, "validation") == linear.validation
    assert linear.score(data, "test") != linear.validation


@pytest.mark.parametrize("most", [1, 2**22])
def test_the_last_season_is_that_of_naive_loops_with_gaps_filled(
    series: MakeData, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(naive, "MOST_VALUES", most)
    rows = walk(80).astype(np.float32)
    truths = np.where(np.random.default_rng(2).random(rows.shape) < 0.6, np.nan, rows)
    data = series(rows, truths=truths, horizon=5)
    found = repeat_season(3)(data, "train")
    last = repeat_last(data, "train")
    for i, end in enumerate(data.ends["train"]):
        for ahead in range(5):
            for c in (0, 1):
                assert found[i, ahead, c] == recall(truths, end - 2 + ahead % 3, end, c)
                assert last[i, ahead, c] == recall(truths, end, end, c)


def recall(truths: Any, row: int, end: int, variable: int) -> float:
    """Go back from a row to the last known value in the window, row by row."""
    while row > end - LONGEST:
        if not np.isnan(truths[row, variable]):
            return float(truths[row, variable])
        row -= 1
    return 0.0


def test_the_past_comes_from_the_truth_where_the_model_does_not_see_it(series: MakeData) -> None:
    truths = walk(60, 1).astype(np.float32)
    data = series(walk(60), truths=truths, variables=("y",), target_channels=(), truth_scale=(1.0,))
    ends = data.ends["test"]
    assert repeat_last(data, "test")[:, 2].tolist() == truths[ends].tolist()


def test_the_linear_model_does_not_look_at_a_past_that_the_model_does_not_see(
    series: MakeData,
) -> None:
    cause = np.random.default_rng(0).standard_normal((200, 1)).astype(np.float32)
    truths = np.roll(cause, 3, axis=0)  # what is seen now is right three rows later
    unseen = {"variables": ("y",), "target_channels": (), "truth_scale": (1.0,)}
    data = series(cause, truths=truths, **unseen)
    assert fit_change(data)(data, "test") == pytest.approx(data.labels("test"), abs=0.01)
    other = series(cause, truths=np.where(np.arange(200)[:, None] < 140, truths, 9), **unseen)
    seen, changed = (fit_change(each)(each, "test") for each in (data, other))
    assert seen == pytest.approx(changed)


@pytest.mark.parametrize(("most", "features"), [(8, 8), (7, 4), (4, 4), (3, 3), (1, 1)], ids=str)
def test_the_linear_model_reads_a_bounded_window(
    series: MakeData, monkeypatch: pytest.MonkeyPatch, most: int, features: int
) -> None:
    monkeypatch.setattr(naive, "MOST_FEATURES", most)
    data = series(
        walk(), variables=("b",), target_channels=(1,), truths=walk()[:, 1:], truth_scale=(1.0,)
    )
    ends = data.ends["test"]
    read = naive._read_window(data, ends)
    assert read.shape == (len(ends), features)
    rows = data.rows if features == 8 else data.rows[:, 1:]
    steps = features // rows.shape[1]
    assert read[0].tolist() == rows[ends[0] - steps + 1 : ends[0] + 1].ravel().tolist()
    assert fit_change(data)(data, "test").shape == (len(ends), HORIZON, 1)
