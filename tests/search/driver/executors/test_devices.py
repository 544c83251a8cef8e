"""What workers will train on is found out, or refused, before anything is loaded."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.driver.executors.devices import find_backend, gpu_memory_mb, visible_gpus
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


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's tool on a machine with two GPUs, as its manual says that it answers."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        """#!/bin/sh
case "$*" in
  "--query-gpu=index --format=csv,noheader,nounits") echo 0; echo 1;;
  "--query-gpu=memory.total --id=0 --format=csv,noheader,nounits") echo 143771;;
  "--query-gpu=memory.total --id=1 --format=csv,noheader,nounits") echo "[N/A]";;
  *) echo "No devices were found"; exit 6;;
esac
"""
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_named_by_the_driver_and_their_memory_is_asked_for() -> None:
    assert visible_gpus() == ("0", "1")
    assert [gpu_memory_mb(gpu) for gpu in ("0", "1", "MIG-1")] == [143771, None, None]


def test_no_gpu_has_a_memory_where_the_tool_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory_mb("0") is None
