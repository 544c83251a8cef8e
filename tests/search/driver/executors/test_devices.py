"""What workers will train on is found out, or refused, before anything is loaded."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.driver.executors.devices import find_backend
from search.errors import ConfigError


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let only some backends be installed, and no setting of this machine count."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    found = importlib.util.find_spec

    def only(*names: str) -> None:
        def find(name: str, package: str | None = None) -> Any:
            known = ("tensorflow", "jax", "torch")
            return (name in names or None) if name in known else found(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return only


def test_the_environment_goes_before_keras_own_file_and_that_before_tensorflow(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("tensorflow", "jax", "torch")
    assert find_backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert find_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert find_backend() == "torch"
    monkeypatch.delenv("KERAS_BACKEND")
    (tmp_path / "keras.json").write_text("[broken")
    assert find_backend() == "tensorflow"


def test_a_backend_that_is_not_there_is_refused_with_what_is(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("jax")
    with pytest.raises(
        ConfigError, match=r"here jax\. Received: 'tensorflow'\. .*KERAS_BACKEND=jax"
    ):
        find_backend()
    monkeypatch.setenv("KERAS_BACKEND", "json")
    with pytest.raises(ConfigError, match=r"here jax\. Received: 'json'"):
        find_backend()
