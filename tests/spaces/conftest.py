"""Builds a space's candidates from answers, and draws answers from a space."""

import warnings

import keras
import keras_tuner
import pytest
from hypothesis import strategies as st
from keras_tuner.engine import hyperparameters

from spaces.shapes import ShapeClipped


def _build(hypermodel, answers=None):
    keras.utils.clear_session(free_memory=False)
    hp = keras_tuner.HyperParameters()
    hp.values.update(answers or {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ShapeClipped)
        model = hypermodel.build(hp)
    return model, hp, [str(warning.message) for warning in caught]


def _strategy_for(asked):
    match asked:
        case hyperparameters.Boolean():
            return st.booleans()
        case hyperparameters.Choice():
            return st.sampled_from(asked.values)
        case hyperparameters.Int():
            steps = (asked.max_value - asked.min_value) // (asked.step or 1)
            low, step = asked.min_value, asked.step or 1
            return st.integers(0, steps).map(lambda index: low + index * step)
        case hyperparameters.Float():
            return st.floats(asked.min_value, asked.max_value)
    raise TypeError(asked)


@pytest.fixture(scope="session")
def build():
    """Return the model, every answer, and the sentences about what was clipped."""
    return _build


@pytest.fixture(scope="session")
def draw_answers():
    return lambda space, source: {
        asked.name: asked.random_sample(source.random()) for asked in space
    }


@pytest.fixture(scope="session")
def answers_to():
    """Return a strategy for all answers that a space admits."""
    return lambda space: st.fixed_dictionaries({a.name: _strategy_for(a) for a in space})


@pytest.fixture(scope="session")
def shapes_of():
    return lambda model: [(layer.name, tuple(layer.output.shape[1:])) for layer in model.layers]
