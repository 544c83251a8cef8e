import sys
from pathlib import Path

import keras_tuner
import pytest

from search.errors import ConfigError
from search.worker.spaces import load_space, make_hypermodel, takes_input_shape

OFFERED = {"input_shape": (24, 3), "output_shape": (4,), "classes": 4}


@pytest.fixture(autouse=True)
def _in_the_folder_of_user_spaces(monkeypatch):
    # A copy: what load_space adds to the path ends with the test.
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.chdir(Path(__file__).parent)


def test_the_built_in_space_takes_what_the_task_offers():
    assert isinstance(make_hypermodel("sensor", {}, OFFERED), keras_tuner.HyperModel)
    assert takes_input_shape("sensor", {})


def test_a_class_gets_what_its_constructor_names_and_the_study_comes_first():
    arguments = {"width": 8, "classes": 7}
    hypermodel = make_hypermodel("user_spaces:ConditionalModel", arguments, OFFERED)
    assert (hypermodel.input_shape, hypermodel.classes, hypermodel.width) == ((24, 3), 7, 8)


def test_a_list_becomes_a_tuple_where_a_shape_is_meant():
    arguments = {"input_shape": [32, 32, 3], "classes": 4}
    hypermodel = make_hypermodel("keras_tuner.applications:HyperResNet", arguments, OFFERED)
    assert hypermodel.input_shape == (32, 32, 3)
    assert not takes_input_shape("keras_tuner.applications:HyperResNet", arguments)


def test_an_instance_is_taken_as_it_is():
    hypermodel = make_hypermodel("user_spaces:CONDITIONAL", {}, OFFERED)
    assert hypermodel is load_space("user_spaces:CONDITIONAL")
    assert not takes_input_shape("user_spaces:CONDITIONAL", {})


def test_a_function_becomes_a_hypermodel():
    hypermodel = make_hypermodel("user_spaces:build_stack", {}, OFFERED)
    model = hypermodel.build(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 4)
    assert not takes_input_shape("user_spaces:build_stack", {})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sensors", r"space must be built in.*Did you mean 'sensor'\?"),
        ("no_such_module:Name", "space must name a module that can be imported: ModuleNotFound"),
        (":Name", "space must name a module that can be imported: ValueError"),
        ("user_spaces:ConditionalModle", r"Did you mean 'ConditionalModel'\?"),
        ("user_spaces:", "space must name what its module holds"),
        ("user_spaces:NOT_A_SPACE", "space must be a keras_tuner.HyperModel or a function"),
        ("user_spaces:NotAHyperModel", "space must be a keras_tuner.HyperModel or a function"),
        ("os:getcwd", "space must be a keras_tuner.HyperModel or a function"),
    ],
)
def test_what_is_no_space_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        load_space(name)


def test_a_module_that_raises_when_imported_is_refused(tmp_path, monkeypatch):
    (tmp_path / "raising_space.py").write_text("raise OSError('no such disk')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"OSError: no such disk\. Received: space='raising"):
        load_space("raising_space:Name")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("user_spaces:ConditionalModel", {"wdith": 8}, "unexpected keyword argument 'wdith'"),
        ("user_spaces:build_stack", {"width": 8}, "must be empty unless space is a class"),
        (
            "keras_tuner.applications:HyperResNet",
            {"classes": None},
            "space_arguments must fit HyperResNet.*You must specify `classes`",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_hypermodel(name, arguments, OFFERED)


def test_an_argument_that_nobody_gives_is_named():
    with pytest.raises(ConfigError, match="missing a required argument: 'classes'"):
        make_hypermodel("user_spaces:ConditionalModel", {}, {"input_shape": (24, 3)})
