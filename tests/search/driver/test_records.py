import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_param_name

from search.driver.tracking.records import as_metrics, as_tags, make_key

NAMES = st.text(max_size=12) | st.text(alphabet="a1_-. /:[5b", max_size=12)


def read_key(key: str) -> str:
    return re.sub(r":([0-9a-f]*):", lambda m: chr(int(m[1], 16)) if m[1] else "", key)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("learning_rate", "learning_rate"),
        ("encoder/filters_0", "encoder/filters_0"),
        ("units:model.lstm", "units:model.lstm"),
        ("kernel[0]", "kernel:5b:0:5d:"),
        ("units:5b:", "units:3a:5b:3a:"),
        ("a//b", "a:2f::2f:b"),
        ("", "::"),
    ],
)
def test_a_name_is_written_readably(name: str, key: str) -> None:
    assert make_key(name) == key


@pytest.mark.timeout(60)
@settings(deadline=None)
@given(NAMES)
def test_mlflow_takes_every_key_and_no_two_names_share_one(name: str) -> None:
    _validate_param_name(make_key(name))
    assert read_key(make_key(name)) == name


def test_long_names_stay_apart() -> None:
    one, other = make_key("x" * 300), make_key("x" * 299 + "y")
    assert one != other
    assert len(one) <= 250


def test_values_that_are_not_finite_are_no_metrics() -> None:
    values = {"loss": math.nan, "objective": 0.5, "worst": math.inf}
    assert [metric.key for metric in as_metrics(values, 0)] == ["objective"]


def test_colours_are_taken_out_of_tags() -> None:
    assert as_tags({"reason": "\x1b[1mCannot\x1b[0m build"})[0].value == "Cannot build"
