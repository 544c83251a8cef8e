from typing import Any

import numpy as np
import pytest

from search.config import ObjectiveConfig, make_config
from search.data.sequences import SIDES, SequenceCard, SequenceData
from search.errors import ConfigError, DivergedTraining, InvalidArchitecture
from search.tasks import make_task, objective_direction

TASK = make_task(make_config({"name": "test"}))
LABELS = np.array([0, 0, 1, 2, 2, 2])


def make_card(classes: int) -> SequenceCard:
    return SequenceCard(
        description="",
        fingerprint="",
        audit="",
        longest=5,
        channels=("a", "b"),
        classes=tuple("abcdefgh"[:classes]),
        mean=(0.0, 0.0),
        scale=(1.0, 1.0),
    )


def make_data(frames: tuple[int, ...] = ()) -> SequenceData:
    """Windows whose spread tells the class, on three sides of 60 targets."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 180)
    spread = np.repeat(1 + 2 * labels, 5).reshape(-1, *(1 for _ in frames), 1)
    rows = spread * rng.standard_normal((900, *(1 for _ in frames), 2))
    ends = np.arange(1, 181) * 5 - 1
    return SequenceData(
        card=make_card(3),
        rows=np.broadcast_to(rows, (900, *frames, 2)).astype(np.float32),
        ends={side: ends[i * 60 : i * 60 + 60] for i, side in enumerate(SIDES)},
        labels={side: labels[i * 60 : i * 60 + 60] for i, side in enumerate(SIDES)},
    )


def test_right_probabilities_score_full_marks() -> None:
    scores = TASK.score(LABELS, np.eye(3)[LABELS], make_card(3))
    assert scores == pytest.approx(
        {"accuracy": 1, "macro_f1": 1, "auroc": 1, "log_loss": 0}, abs=1e-6
    )
    assert set(scores) == set(TASK.directions)


def test_scores_are_those_worked_out_by_hand() -> None:
    chosen = np.array([0, 1, 1, 2, 2, 0])
    predictions = np.full((6, 3), 0.2) + 0.4 * np.eye(3)[chosen]
    scores = TASK.score(LABELS, predictions, make_card(3))
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)
    assert scores["log_loss"] == pytest.approx(-(4 * np.log(0.6) + 2 * np.log(0.2)) / 6)
    assert scores["auroc"] == pytest.approx((5 / 8 + 9 / 10 + 5 / 6) / 3)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_probability_is_enough_for_two_classes(shape: tuple[int, ...]) -> None:
    labels, second = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4])
    both = np.stack([1 - second, second], axis=1)
    alone = TASK.score(labels, second.reshape(shape), make_card(2))
    assert alone == pytest.approx(TASK.score(labels, both, make_card(2)))
    assert alone["auroc"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("classes", [3, 4])
def test_a_class_that_no_label_shows_takes_no_part_in_averages(classes: int) -> None:
    labels = np.array([0, 0, 2, 2])
    predictions = np.eye(classes)[labels]
    scores = TASK.score(labels, predictions, make_card(classes))
    assert scores["macro_f1"] == scores["auroc"] == scores["accuracy"] == 1


def test_labels_of_one_class_are_scored_but_for_auroc() -> None:
    scores = TASK.score(np.array([1, 1]), np.eye(3)[[1, 0]], make_card(3))
    assert scores["accuracy"] == 0.5
    assert np.isnan(scores["auroc"])


def test_half_precision_outputs_are_probabilities() -> None:
    outputs = np.random.default_rng(0).dirichlet(np.ones(3), 6).astype(np.float16)
    assert 0 < TASK.score(LABELS, outputs, make_card(3))["log_loss"] < 10


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
    outputs: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TASK.score(LABELS, outputs, make_card(3))


@pytest.mark.parametrize("frames", [(), (4,), (4, 5)])
def test_baselines_are_the_majority_and_a_linear_model(frames: tuple[int, ...]) -> None:
    data = make_data(frames)
    majority, linear = TASK.baselines(data)
    shares = np.bincount(data.labels["validation"]) / 60
    frequent = np.bincount(data.labels["train"]).argmax()
    assert majority.validation["accuracy"] == pytest.approx(shares[frequent])
    assert majority.validation["auroc"] == 0.5
    assert linear.validation["accuracy"] > 0.6
    assert linear.score(data, "validation") == linear.validation
    assert linear.score(data, "test") != linear.validation
    assert len({majority.name, linear.name}) == 2


def test_a_baseline_gives_no_share_to_a_class_that_nobody_shows() -> None:
    data = make_data()
    named = SequenceData(**(vars(data) | {"card": make_card(4)}))
    scores = [baseline.validation["log_loss"] for baseline in TASK.baselines(named)]
    expected = [baseline.validation["log_loss"] for baseline in TASK.baselines(data)]
    assert scores == pytest.approx(expected, abs=1e-5)


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
