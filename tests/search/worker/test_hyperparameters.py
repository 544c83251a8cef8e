import keras_tuner
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import ConfigError
from search.messages import ChoiceDomain, FloatDomain, IntDomain
from search.worker.hyperparameters import AskingHyperParameters


def refuse(question):
    raise AssertionError(f"asked for {question.name}")


def defaults(recorded=None):
    return AskingHyperParameters(lambda question: question.default, recorded)


def answering(**answers):
    return AskingHyperParameters(lambda question: answers[question.name.partition(":")[0]])


def all_values(ask):
    """Every value that a hyperparameter with a finite domain can get."""
    hp = defaults()
    ask(hp)
    domain = hp.listing[0].domain
    answers = getattr(domain, "values", None) or range(
        domain.low, domain.high + 1, getattr(domain, "step", 1)
    )
    return [ask(AskingHyperParameters(lambda _, a=answer: a)) for answer in answers]


KINDS = [
    (lambda hp: hp.Int("n", 1, 4), "n", IntDomain(low=1, high=4), 1),
    (lambda hp: hp.Int("n", 6, 13, step=3, default=9), "n", IntDomain(low=6, high=12, step=3), 9),
    (lambda hp: hp.Int("n", 8, 64, sampling="log"), "n", IntDomain(low=8, high=64, log=True), 8),
    (lambda hp: hp.Int("n", 2, 33, step=2, sampling="log"), "n:index", IntDomain(low=0, high=4), 0),
    (
        lambda hp: hp.Int("n", 2, 32, sampling="reverse_log", default=30),
        "n:mirrored",
        IntDomain(low=2, high=32, log=True),
        4,
    ),
    (lambda hp: hp.Float("n", 0, 2, default=0.5), "n", FloatDomain(low=0.0, high=2.0), 0.5),
    (lambda hp: hp.Float("n", 0, 1, step=0.2), "n", FloatDomain(low=0.0, high=1.0, step=0.2), 0.0),
    (
        lambda hp: hp.Float("n", 1e-4, 0.1, sampling="log", default=1e-3),
        "n",
        FloatDomain(low=1e-4, high=0.1, log=True),
        1e-3,
    ),
    (
        lambda hp: hp.Float("n", 1e-3, 10, step=10, sampling="log", default=0.1),
        "n:index",
        IntDomain(low=0, high=4),
        2,
    ),
    (
        lambda hp: hp.Float("n", 0.5, 4.0, sampling="reverse_log", default=3.5),
        "n:mirrored",
        FloatDomain(low=0.5, high=4.0, log=True),
        1.0,
    ),
    (lambda hp: hp.Boolean("n", default=True), "n", ChoiceDomain(values=(False, True)), True),
    (lambda hp: hp.Choice("n", [8, 16, 8]), "n", ChoiceDomain(values=(8, 16)), 8),
    (lambda hp: hp.Choice("n", ["a", "b"], default="b"), "n", ChoiceDomain(values=("a", "b")), "b"),
    (lambda hp: hp.Choice("n", [0, 0.5, "x"]), "n", ChoiceDomain(values=(0, 0.5, "x")), 0),
    (lambda hp: hp.Choice("n", ["l2", None]), "n", ChoiceDomain(values=("l2", None)), None),
]


@pytest.mark.parametrize(("ask", "name", "domain", "default"), KINDS)
def test_every_kind_is_asked_for_in_a_domain_that_optuna_can_express(ask, name, domain, default):
    hp = defaults()
    ask(hp)
    (listed,) = hp.listing
    assert (listed.name, listed.domain, listed.default) == (name, domain, default)
    assert type(listed.default) is type(default)


@pytest.mark.parametrize("ask", [kind[0] for kind in KINDS[:-2]])
def test_the_default_is_kerastuners(ask):
    assert ask(defaults()) == pytest.approx(ask(keras_tuner.HyperParameters()))


@pytest.mark.parametrize(
    "ask",
    [
        lambda hp: hp.Int("n", 6, 13, step=3),
        lambda hp: hp.Int("n", 2, 33, step=2, sampling="log"),
        lambda hp: hp.Int("n", 2, 32, step=2, sampling="reverse_log"),
        lambda hp: hp.Float("n", 1e-3, 10, step=10, sampling="log"),
        lambda hp: hp.Boolean("n"),
        lambda hp: hp.Choice("n", [0.1, 0.01]),
        lambda hp: hp.Choice("n", [True, False]),
    ],
)
def test_the_answers_reach_exactly_the_values_that_kerastuner_samples(ask):
    plain = keras_tuner.HyperParameters()
    ask(plain)
    values = all_values(ask)
    assert sorted(values) == pytest.approx(sorted(plain.space[0].values))
    assert {type(value) for value in values} == {type(ask(plain))}


def test_a_float_step_reaches_its_end_in_clean_decimals():
    # KerasTuner divides floats here, and never samples 1.0.
    values = [answering(n=0.2 * index).Float("n", 0, 1, step=0.2) for index in (0, 1, 2, 3, 4, 5)]
    assert values == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


@settings(deadline=None, max_examples=100)
@given(
    low=st.integers(1, 500),
    span=st.integers(0, 500),
    step=st.one_of(st.none(), st.integers(2, 9)),
    sampling=st.sampled_from(["linear", "log", "reverse_log"]),
    place=st.floats(0, 1),
)
def test_any_answer_in_the_domain_is_a_value_in_the_range(low, span, step, sampling, place):
    def ask(question):
        domain = question.domain
        index = round(place * ((domain.high - domain.low) // domain.step))
        return domain.low + index * domain.step

    for kind in ("Int", "Float"):
        if kind == "Float" and (sampling == "linear" or step is None):
            continue
        hp = AskingHyperParameters(ask)
        value = getattr(hp, kind)("n", low, low + span, step=step, sampling=sampling)
        assert low * (1 - 1e-9) <= value <= (low + span) * (1 + 1e-9)
        assert type(value) is (int if kind == "Int" else float)


def test_a_default_beside_the_steps_moves_to_the_nearest_and_is_noted():
    hp = defaults()
    assert hp.Int("units", 32, 512, step=32, default=100) == 96
    assert hp.Float("rate", 0, 0.5, step=0.1, default=0.23) == 0.2
    assert hp.notes[0].startswith("hp.Int('units') has its default 100 beside its steps: 96")
    assert len(hp.notes) == 2


def test_values_are_in_the_spaces_own_units():
    hp = answering(batch=3, lr=0.002)
    hp.Int("batch", 8, 128, step=2, sampling="log")
    hp.Float("lr", 0.001, 0.1, sampling="reverse_log")
    hp.Fixed("optimizer", "adam")
    assert hp.values == {"batch": 64, "lr": pytest.approx(0.099), "optimizer": "adam"}


def test_fixed_is_not_asked_for():
    hp = AskingHyperParameters(refuse)
    assert hp.Fixed("optimizer", "adam") == "adam"
    assert hp.listing == ()


def test_an_inactive_hyperparameter_is_none_and_not_asked_for():
    hp = answering(model="mlp", units=8)
    hp.Choice("model", ["mlp", "rnn"])
    with hp.conditional_scope("model", ["rnn"]):
        assert hp.Int("units", 1, 4) is None
    assert hp.Choice("cell", ["a", None], parent_name="model", parent_values=["rnn"]) is None
    with hp.conditional_scope("model", ["mlp"]):
        assert hp.Int("units", 8, 16) == 8
    assert [listed.name for listed in hp.listing] == ["model", "units"]
    assert hp.values == {"model": "mlp", "units": 8}
    assert hp.notes == ()


def test_name_scopes_are_part_of_the_name():
    hp = defaults()
    with hp.name_scope("encoder"), hp.name_scope("first"):
        hp.Choice("kind", ["a", 1])
    assert hp.listing[0].name == "encoder/first/kind"


def test_a_name_asked_for_twice_keeps_its_first_value_and_is_noted_once():
    hp = defaults()
    assert [hp.Int("filters", 8, 16), hp.Int("filters", 32, 64), hp.Choice("filters", [1])] == [
        8,
        8,
        8,
    ]
    assert len(hp.listing) == 1
    (note,) = hp.notes
    assert "'filters') is asked for more than once" in note


def test_recorded_values_are_replayed_and_only_the_rest_is_asked_for():
    hp = AskingHyperParameters(lambda question: 3, {"model": "mlp", "units": 12})
    assert hp.Choice("model", ["rnn", "mlp"]) == "mlp"
    assert hp.Int("units", 8, 16, parent_name="model", parent_values=["mlp"]) == 12
    assert hp.Int("layers", 1, 4) == 3
    assert [listed.name for listed in hp.listing] == ["layers"]
    assert hp.notes == ()


def test_a_sub_model_that_is_not_tuned_gets_defaults_and_leaves_no_trace():
    class Fixed(keras_tuner.HyperModel):
        def build(self, hp):
            return hp.get("regularizer"), hp.Int("inner", 1, 4)

    hp = answering(regularizer="l2")
    hp.Choice("regularizer", [None, "l2"])
    assert Fixed(tunable=False).build(hp) == ("l2", 1)
    assert list(hp.values) == ["regularizer"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda hp: hp.Int("n", 1, 4, default=9), r"hp\.Int\('n'\) must have its default in"),
        (lambda hp: hp.Float("n", 0, 1, default=-1.0), r"hp\.Float\('n'\) must have its default"),
        (
            lambda hp: hp.Float("n", 0, 1, default=float("nan")),
            "must have its default in its range",
        ),
        (lambda hp: hp.Float("n", 0, float("inf")), r"hp\.Float\('n'\) must have finite ends"),
        (lambda hp: hp.Int("n", 0, 4, step=0), r"hp\.Int\('n'\) must have a step above 0"),
        (lambda hp: hp.Choice("n", []), r"hp\.Choice\('n'\) must have a value to choose"),
        (lambda hp: hp.Choice("n", [(3, 3), (5, 5)]), r"Received: \(3, 3\)\. Write a string"),
        (lambda hp: hp.Choice("n", [1, True]), "two values that Python takes for equal"),
        (lambda hp: hp.Choice("n", [1, "a"], default=2), "must have one of its values as default"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(ask, message):
    with pytest.raises(ConfigError, match=message):
        ask(AskingHyperParameters(refuse))


def test_an_empty_range_is_refused_by_kerastuner_by_name():
    with pytest.raises(ValueError, match=r"Int\(name='n'\), min_value 4 is greater than"):
        AskingHyperParameters(refuse).Int("n", 4, 1)
