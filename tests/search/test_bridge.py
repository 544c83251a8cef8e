"""A worker's questions answered by Optuna: spaces written for KerasTuner, unchanged."""

from pathlib import Path

import numpy as np
import optuna
import pytest

from search.config import SamplerConfig
from search.driver.optimization import ask_trial, suggest
from search.worker.hyperparameters import AskingHyperParameters
from search.worker.spaces import make_hypermodel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OFFERED = {"input_shape": (24, 3), "classes": 4}
RESNET = {"input_shape": [32, 32, 3], "classes": 4}
SPACES = [
    ("user_spaces:build_stack", {}, 12),
    ("user_spaces:ConditionalModel", {}, 12),
    ("keras_tuner.applications:HyperResNet", RESNET, 2),
]


@pytest.fixture(autouse=True)
def _user_spaces(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "worker")


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(), study_name="study"
    )


def refuse(question):
    raise AssertionError(f"asked for {question.name}")


@pytest.mark.parametrize(("name", "arguments", "trials"), SPACES)
def test_a_space_of_kerastuner_runs_unchanged_and_is_rebuilt_from_its_record(
    study, name, arguments, trials
):
    hypermodel = make_hypermodel(name, arguments, OFFERED)
    listing = AskingHyperParameters(lambda question: question.default)
    plain = hypermodel.build(listing)
    study.enqueue_trial({one.name: one.default for one in listing.listing})
    for number in range(trials):
        trial = ask_trial(study, SamplerConfig(name="tpe"), 7)
        hp = AskingHyperParameters(
            lambda question, trial=trial: suggest(trial, question.name, question.domain)
        )
        model = hypermodel.build(hp)
        again = hypermodel.build(AskingHyperParameters(refuse, hp.values))
        assert shape_of(again) == shape_of(model)
        if number == 0:
            assert hp.values == listing.values
            assert shape_of(model) == shape_of(plain)
        assert list(study.trials[-1].params) == [listed.name for listed in hp.listing]
        study.tell(trial, -float(model.count_params()))
    assert len({tuple(trial.params.items()) for trial in study.trials}) > trials / 2


def test_a_model_built_from_answers_trains(study):
    hypermodel = make_hypermodel("user_spaces:build_stack", {}, OFFERED)
    trial = ask_trial(study, SamplerConfig(), 7)
    hp = AskingHyperParameters(lambda question: suggest(trial, question.name, question.domain))
    x = np.random.default_rng(0).normal(size=(16, 24, 3)).astype("float32")
    history = hypermodel.fit(hp, hypermodel.build(hp), x, np.arange(16) % 4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def shape_of(model):
    """Everything that tells two models apart but their names and weights."""
    layers = [
        (type(layer).__name__, [weight.shape for weight in layer.weights], layer.output.shape)
        for layer in model.layers
    ]
    optimizer = model.optimizer
    return layers, type(optimizer).__name__, float(optimizer.learning_rate)
