from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from search.config import ObjectiveConfig, make_config
from search.data.sequences import Array, SequenceData
from search.errors import ConfigError, DivergedTraining, InvalidArchitecture
from search.tasks import make_task, objective_direction, summaries
from search.tasks.summaries import summarize_windows

TASK = make_task(make_config({"name": "test"}))
LABELS = np.array([0, 0, 1, 2, 2, 2])

MakeData: TypeAlias = Callable[..., SequenceData]
Score: TypeAlias = Callable[[Any, Any, int], dict[str, float]]


@pytest.fixture
def score(make_data: MakeData) -> Score:
    """What scores predictions of labels that stand at one row each."""

    def score(labels: Any, predictions: Any, classes: int) -> dict[str, float]:
        data = make_data(
            np.zeros((len(labels), 1)),
            labels,
            np.arange(len(labels)),
            classes=tuple("abcdefgh"[:classes]),
        )
        return TASK.score(data, "validation", lambda side: predictions)

    return score


@pytest.fixture
def noise(make_data: MakeData) -> MakeData:
    """What makes windows whose spread tells the class, on three sides of 60 targets."""

    def noise(*frame: int, classes: str = "abc") -> SequenceData:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 180)
        thin = tuple(1 for _ in frame)
        rows = np.repeat(1 + 2 * labels, 5).reshape(-1, *thin, 1) * rng.standard_normal(
            (900, *thin, 2)
        )
        ends = np.arange(1, 181) * 5 - 1
        return make_data(
            np.broadcast_to(rows, (900, *frame, 2)).astype(np.float32),
            np.repeat(labels, 5),
            [ends[:60], ends[60:120], ends[120:]],
            longest=5,
            classes=tuple(classes),
        )

    return noise


def test_right_probabilities_score_full_marks(score: Score) -> None:
    scores = score(LABELS, np.eye(3)[LABELS], 3)
    assert scores == pytest.approx(
        {"accuracy": 1, "macro_f1": 1, "auroc": 1, "log_loss": 0}, abs=1e-6
    )
    assert set(scores) == set(TASK.directions)


def test_scores_are_those_worked_out_by_hand(score: Score) -> None:
    chosen = np.array([0, 1, 1, 2, 2, 0])
    predictions = np.full((6, 3), 0.2) + 0.4 * np.eye(3)[chosen]
    scores = score(LABELS, predictions, 3)
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)
    assert scores["log_loss"] == pytest.approx(-(4 * np.log(0.6) + 2 * np.log(0.2)) / 6)
    assert scores["auroc"] == pytest.approx((5 / 8 + 9 / 10 + 5 / 6) / 3)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_probability_is_enough_for_two_classes(score: Score, shape: tuple[int, ...]) -> None:
    labels, second = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4])
    both = np.stack([1 - second, second], axis=1)
    alone = score(labels, second.reshape(shape), 2)
    assert alone == pytest.approx(score(labels, both, 2))
    assert alone["auroc"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("classes", [3, 4])
def test_a_class_that_no_label_shows_takes_no_part_in_averages(score: Score, classes: int) -> None:
    labels = np.array([0, 0, 2, 2])
    predictions = np.eye(classes)[labels]
    scores = score(labels, predictions, classes)
    assert scores["macro_f1"] == scores["auroc"] == scores["accuracy"] == 1


def test_labels_of_one_class_are_scored_but_for_auroc(score: Score) -> None:
    scores = score(np.array([1, 1]), np.eye(3)[[1, 0]], 3)
    assert scores["accuracy"] == 0.5
    assert np.isnan(scores["auroc"])


def test_half_precision_outputs_are_probabilities(score: Score) -> None:
    outputs = np.random.default_rng(0).dirichlet(np.ones(3), 6).astype(np.float16)
    assert 0 < score(LABELS, outputs, 3)["log_loss"] < 10


BAD_OUTPUTS = {
    "too narrow": (
        np.ones((6, 2)) / 2,
        InvalidArchitecture,
        r"3 classes, of shape \(6, 3\).*\(6, 2\)",
    ),
    "too wide": (
        np.ones((6, 4)) / 4,
        InvalidArchitecture,
        r"\(6, 4\).*Dense\(3, activation='softm",
    ),
    "one for three classes": (np.ones((6, 1)), InvalidArchitecture, r"\(6, 1\)"),
    "flat for three classes": (np.ones(6), InvalidArchitecture, r"\(6, 1\)"),
    "one a step": (np.ones((6, 5, 3)) / 3, InvalidArchitecture, r"\(6, 5, 3\)"),
    "too few": (np.ones((5, 3)) / 3, InvalidArchitecture, r"\(5, 3\)"),
    "logits": (np.eye(3)[LABELS] * 9 - 4, InvalidArchitecture, r"values from -4 to 5.*softmax"),
    "nan": (np.full((6, 3), np.nan), DivergedTraining, r"finite numbers.*18 of 18 are not"),
    "infinity": (np.full((6, 3), np.inf), DivergedTraining, r"finite numbers"),
}


@pytest.mark.parametrize(("outputs", "error", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_outputs_that_are_no_class_probabilities_end_the_candidate(
    score: Score, outputs: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        score(LABELS, outputs, 3)


@pytest.mark.parametrize("frame", [(), (4,), (4, 5)])
def test_baselines_are_the_majority_and_a_linear_model(
    noise: MakeData, frame: tuple[int, ...]
) -> None:
    data = noise(*frame)
    majority, linear = TASK.baselines(data)
    shares = np.bincount(data.labels("validation")) / 60
    frequent = np.bincount(data.labels("train")).argmax()
    assert majority.validation["accuracy"] == pytest.approx(shares[frequent])
    assert majority.validation["auroc"] == 0.5
    assert linear.validation["accuracy"] > 0.6
    assert linear.score(data, "validation") == linear.validation
    assert linear.score(data, "test") != linear.validation
    assert len({majority.name, linear.name}) == 2


def test_a_baseline_gives_no_share_to_a_class_that_nobody_shows(noise: MakeData) -> None:
    scores = [baseline.validation["log_loss"] for baseline in TASK.baselines(noise(classes="abcd"))]
    expected = [baseline.validation["log_loss"] for baseline in TASK.baselines(noise())]
    assert scores == pytest.approx(expected, abs=1e-5)


def test_a_linear_model_tells_clips_apart_by_their_motion_alone(make_data: MakeData) -> None:
    rng = np.random.default_rng(0)
    still = np.repeat(rng.integers(0, 2, (60, 1, 4, 4, 1)), 6, axis=1)
    flicker = rng.permuted(still, axis=2)
    labels = np.arange(60) % 2
    clips = np.where(labels[:, None, None, None, None] == 1, flicker, still)
    ends = np.arange(60) * 6 + 5
    data = make_data(
        (clips * 255).astype(np.uint8).reshape(-1, 4, 4, 1),
        np.repeat(labels, 6),
        [ends[:30], ends[30:45], ends[45:]],
        longest=6,
        classes=("still", "moving"),
        mean=(100.0,),
        scale=(50.0,),
    )
    assert TASK.baselines(data)[1].validation["accuracy"] == 1


@pytest.mark.parametrize("most", [1, 30, 2**22])
def test_statistics_are_those_of_each_window(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(summaries, "MOST_VALUES", most)
    rows = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    data = make_data(rows, np.zeros(20), np.array([4, 9, 19]), longest=4)
    for end, found in zip((4, 9, 19), summarize_windows(data, "test"), strict=True):
        window = [rows[end - 3 + step] for step in range(4)]
        expected = [
            [f([row[c] for row in window]) for c in (0, 1)] for f in (np.mean, np.std, min, max)
        ]
        assert found == pytest.approx(np.concatenate([*expected, rows[end]]), abs=1e-6)


def test_bands_are_channels_of_their_own(make_data: MakeData) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    statistics = summarize_windows(
        make_data(rows, np.zeros(4), [np.array([3])] * 3, longest=4), "train"
    )
    assert statistics.shape == (1, 30)
    assert statistics[0, 24:].tolist() == [18, 19, 20, 21, 22, 23]


@pytest.mark.parametrize("most", [1, 2**22])
def test_statistics_of_frames_are_those_of_scaled_means_spreads_and_motion(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(summaries, "MOST_VALUES", most)
    rows = np.random.default_rng(0).integers(0, 256, (12, 3, 4, 2)).astype(np.uint8)
    card = {"mean": (100.0, 50.0), "scale": (60.0, 20.0), "longest": 3}
    data = make_data(rows, np.zeros(12), np.array([2, 6, 11]), **card)
    scaled = (rows.astype(float) - [100, 50]) / [60, 20]
    for end, found in zip((2, 6, 11), summarize_windows(data, "train"), strict=True):
        looks, motion = [], []
        for row in (end - 2, end - 1, end):
            channels = [scaled[row, :, :, c].ravel() for c in (0, 1)]
            looks.append([x.mean() for x in channels] + [x.std() for x in channels])
        for row in (end - 1, end):
            motion.append([np.abs(scaled[row] - scaled[row - 1])[..., c].mean() for c in (0, 1)])
        assert found == pytest.approx(np.concatenate([_reduce(looks), _reduce(motion)]), abs=1e-5)


def _reduce(values: Any) -> Array:
    values = np.array(values)
    return np.concatenate(
        [*(f(values, axis=0) for f in (np.mean, np.std, np.min, np.max)), values[-1]]
    )


def test_single_frames_have_no_motion(make_data: MakeData) -> None:
    data = make_data(np.ones((5, 3, 3, 1), dtype=np.float32), np.zeros(5), np.arange(5))
    assert summarize_windows(data, "train").tolist() == [[1, 0, 0, 0, 1, 0, 1, 0, 1, 0]] * 5


def test_the_confusion_matrix_has_a_line_for_each_true_class(make_data: MakeData) -> None:
    data = make_data(np.zeros((6, 1)), LABELS, np.arange(6), classes=("a", "b", "c", "d"))
    outputs = np.eye(4)[[0, 1, 1, 2, 2, 0]]
    heads, lines = TASK.tables(data, "test", lambda side: outputs)["confusion matrix"]
    assert heads == ("true class", "a", "b", "c", "d")
    assert lines == [("a", 1, 1, 0, 0), ("b", 0, 1, 0, 0), ("c", 1, 0, 2, 0), ("d", 0, 0, 0, 0)]


def test_a_model_is_asked_for_a_number_a_class_and_taught_class_numbers(noise: MakeData) -> None:
    data = noise()
    assert TASK.output_shape(data, 5) == (3,)
    taught = TASK.taught(data, (3,))
    assert taught.gather(data.ends["test"]).tolist() == data.labels("test").tolist()
    assert TASK.reading(data, lambda side: np.empty(0)) == {}


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("accuracy", "maximize"),
        ("macro_f1", "maximize"),
        ("auroc", "maximize"),
        ("log_loss", "minimize"),
    ],
)
def test_each_metric_has_its_direction(metric: str, direction: Any) -> None:
    assert objective_direction(TASK, ObjectiveConfig(metric=metric)) == direction
    same = ObjectiveConfig(metric=metric, direction=direction)
    assert objective_direction(TASK, same) == direction


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"objective\.metric .*'macro_f'.*Did you mean 'macro_f1'"
    ):
        objective_direction(TASK, ObjectiveConfig(metric="macro_f"))


def test_a_direction_against_the_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.direction must be 'minimize' for log_loss"):
        objective_direction(TASK, ObjectiveConfig(metric="log_loss", direction="maximize"))
