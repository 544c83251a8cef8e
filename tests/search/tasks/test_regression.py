from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.preprocessing import StandardScaler

from search.config import make_config
from search.data.sequences import Array, SequenceData
from search.errors import DivergedTraining, InvalidArchitecture
from search.tasks import Task, make_task, ridge
from search.tasks.ridge import fit_ridge

MakeData: TypeAlias = Callable[..., SequenceData]
MEAN, SCALE = np.array([10.0, -3.0]), np.array([4.0, 0.5])


def make_regression(scores: str = "original") -> Task:
    return make_task(
        make_config({"name": "test", "task": {"kind": "regression", "scores": scores}})
    )


@pytest.fixture
def values(make_data: MakeData) -> MakeData:
    """What makes 30 targets of one or two scaled values each."""

    def values(variables: int = 2) -> SequenceData:
        rng = np.random.default_rng(0)
        return make_data(
            rng.standard_normal((30, 2)).astype(np.float32),
            rng.standard_normal((30, variables)).astype(np.float32),
            [np.arange(20), np.arange(20, 25), np.arange(25, 30)],
            variables=("a", "b")[:variables],
            truth_mean=tuple(MEAN[:variables]),
            truth_scale=tuple(SCALE[:variables]),
        )

    return values


@pytest.mark.parametrize(("scores", "scale"), [("scaled", [1, 1]), ("original", SCALE)])
def test_errors_are_counted_in_the_units_asked_for(
    values: MakeData, scores: str, scale: Any
) -> None:
    data, rng = values(), np.random.default_rng(1)
    outputs = rng.standard_normal((5, 2))
    mean = MEAN if scores == "original" else 0
    truth, guess = (mean + scale * x for x in (data.labels("validation"), outputs))
    found = make_regression(scores).score(data, "validation", lambda side: outputs)
    assert found == pytest.approx(
        {
            "rmse": np.sqrt(((truth - guess) ** 2).sum() / 10),
            "mae": mean_absolute_error(truth, guess),
            "r2": r2_score(truth, guess),
        },
        abs=1e-12,
    )
    assert list(found) == list(make_regression().directions)


def test_errors_are_those_worked_out_by_hand(make_data: MakeData) -> None:
    data = make_data(
        np.zeros((3, 1)),
        [[0.0], [1.0], [2.0]],
        np.arange(3),
        variables=("a",),
        truth_mean=(7.0,),
        truth_scale=(10.0,),
    )
    found = make_regression().score(data, "test", lambda side: np.array([0.0, 1.0, 1.0]))
    assert found == pytest.approx({"rmse": np.sqrt(100 / 3), "mae": 10 / 3, "r2": 0.5})


def test_of_a_single_target_there_is_no_r2(values: MakeData) -> None:
    data = values()
    few = SequenceData(**(vars(data) | {"ends": {**data.ends, "test": np.array([29])}}))
    found = make_regression().score(few, "test", lambda side: np.zeros((1, 2)))
    assert np.isnan(found["r2"])
    assert found["mae"] > 0


@pytest.mark.parametrize("scores", ["original", "scaled"])
def test_a_table_shows_predictions_beside_the_truth_in_the_datas_units(
    values: MakeData, scores: str
) -> None:
    data, outputs = values(), np.random.default_rng(1).standard_normal((5, 2))
    task = make_regression(scores=scores)
    heads, lines = task.tables(data, "test", lambda side: outputs)["predictions"]
    assert heads == ("target", "variable", "truth", "prediction")
    assert len(lines) == 10
    mean = np.array(data.card.truth_mean)
    truth, guess = (array * SCALE + mean for array in (data.labels("test"), outputs))
    for target, name, *pair in lines:
        place = data.card.variables.index(name)
        assert pair == pytest.approx([truth[target, place], guess[target, place]])


def test_of_several_variables_each_is_named_in_a_table(values: MakeData) -> None:
    data, outputs = values(), np.random.default_rng(1).standard_normal((5, 2))
    heads, lines = make_regression().tables(data, "test", lambda side: outputs)["error by variable"]
    truth, guess = data.labels("test") * SCALE, outputs * SCALE
    assert heads == ("variable", "rmse", "mae", "r2")
    assert [line[0] for line in lines] == ["a", "b"]
    for place, line in enumerate(lines):
        one, other = truth[:, place], guess[:, place]
        expected = [
            root_mean_squared_error(one, other),
            mean_absolute_error(one, other),
            r2_score(one, other),
        ]
        assert line[1:] == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 1, 1)])
def test_one_variable_needs_no_axis(values: MakeData, shape: tuple[int, ...]) -> None:
    data, outputs = values(1), np.arange(5.0)
    found = make_regression("scaled").score(data, "test", lambda side: outputs.reshape(shape))
    assert found["mae"] == pytest.approx(np.abs(data.labels("test")[:, 0] - outputs).mean())


BAD_OUTPUTS = {
    "too narrow": (np.zeros(5), InvalidArchitecture, r"shape \(5, 2\) for 5 targets.*\(5,\)"),
    "too wide": (np.zeros((5, 3)), InvalidArchitecture, r"=\(5, 3\)\. End it with Dense\(2\)\."),
    "too few": (np.zeros((4, 2)), InvalidArchitecture, r"\(5, 2\).*\(4, 2\)"),
    "swapped": (np.zeros((2, 5)), InvalidArchitecture, r"\(5, 2\).*\(2, 5\)"),
    "a number": (np.float64(1), InvalidArchitecture, r"=\(\)"),
    "nan": (np.full((5, 2), np.nan), DivergedTraining, r"finite numbers.*10 of 10 are not"),
    "infinity": (np.full((5, 2), -np.inf), DivergedTraining, r"finite numbers"),
}


@pytest.mark.parametrize(("outputs", "error", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_outputs_of_another_form_end_the_candidate(
    values: MakeData, outputs: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_regression().score(values(), "test", lambda side: outputs)


def test_a_model_is_taught_scaled_values_in_the_shape_of_its_output(values: MakeData) -> None:
    task, data = make_regression(), values()
    assert task.output_shape(data, 1) == (2,)
    taught = task.taught(data, (1, 2)).gather(data.ends["test"])
    assert taught.tolist() == data.labels("test")[:, None].tolist()
    with pytest.raises(InvalidArchitecture, match=r"shape \(2,\) for each target.*shape=\(4,\)"):
        task.taught(data, (4,))
    assert task.reading(data, lambda side: np.empty(0)) == {}


def test_baselines_are_the_mean_and_a_linear_model(make_data: MakeData) -> None:
    rows = np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)
    ends = np.arange(4, 300)
    spans = np.array([np.ptp(rows[end - 4 : end + 1, 1]) for end in ends])
    truths = np.zeros((300, 1))
    truths[ends, 0] = 3 * spans - 2 * rows[ends, 0]
    data = make_data(
        rows,
        truths,
        [ends[:200], ends[200:250], ends[250:]],
        longest=5,
        variables=("a",),
        truth_mean=(0.0,),
        truth_scale=(2.0,),
    )
    mean, linear = make_regression().baselines(data)
    off = truths[ends[200:250]] - truths[ends[:200]].mean()
    assert mean.validation["mae"] == pytest.approx(2 * np.abs(off).mean())
    assert linear.validation["r2"] > 0.999
    assert linear.score(data, "test")["rmse"] < 0.05 < mean.score(data, "test")["rmse"]


def fit_by_scikit(features: Array, answers: Array, strength: float) -> Array:
    """Fit with a penalty a target, on standardised features, and predict the same targets."""
    scaled = StandardScaler().fit_transform(features)
    model = Ridge(alpha=strength * len(features)).fit(scaled, answers)
    return np.asarray(model.predict(scaled)).reshape(answers.shape)


@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_ridge_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch, strength: float) -> None:
    monkeypatch.setattr(ridge, "STRENGTHS", (strength,))
    monkeypatch.setattr(ridge, "PART", 7)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((50, 4)) * [1, 10, 0.1, 1] + [0, 5, 0, 2]
    answers = features[:, :2] + rng.standard_normal((50, 2))
    model = fit_ridge(lambda some: (features[some], answers[some]), np.arange(50))
    assert model(features) == pytest.approx(fit_by_scikit(features, answers, strength))


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 1e-5), (10.0, 1.0)])
def test_ridge_takes_the_penalty_that_predicts_the_last_targets_best(
    monkeypatch: pytest.MonkeyPatch, noise: float, expected: float
) -> None:
    monkeypatch.setattr(ridge, "STRENGTHS", (1e-5, 1.0))
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 30))
    answers = features[:, :1] + noise * rng.standard_normal((60, 1))
    model = fit_ridge(lambda some: (features[some], answers[some]), np.arange(60))
    assert model(features) == pytest.approx(fit_by_scikit(features, answers, expected), abs=1e-6)


def test_ridge_bears_constant_features_and_a_single_target() -> None:
    features = np.stack([np.full(30, 1000 / 3), np.arange(30.0)], axis=1)
    answers = 2 * features[:, 1:]
    model = fit_ridge(lambda some: (features[some], answers[some]), np.arange(30))
    assert model(np.array([[400.0, 2.0]])) == pytest.approx(4, rel=1e-3)
    alone = fit_ridge(lambda some: (features[some], answers[some]), np.array([1]))
    assert alone(features).tolist() == [[2.0]] * 30


def test_the_mean_of_each_variable_is_its_own(values: MakeData) -> None:
    data = values()
    found = make_regression("scaled").baselines(data)[0].validation["mae"]
    means = [np.mean([float(row[c]) for row in data.truths[:20]]) for c in (0, 1)]
    assert found == pytest.approx(np.abs(data.truths[20:25] - means).mean())


def test_ridge_looks_at_a_bounded_number_of_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "LARGEST_SAMPLE", 10)
    seen: list[int] = []

    def gather(some: Array) -> tuple[Array, Array]:
        seen.extend(some.tolist())
        return np.ones((len(some), 1)), np.ones((len(some), 1))

    fit_ridge(gather, np.arange(1000))
    assert len(seen) == 10
    assert (seen[0], seen[-1]) == (0, 999)
