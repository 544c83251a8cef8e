"""What workers will train on is found out, or refused, before anything is loaded."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.driver.executors import memory
from search.driver.executors.devices import (
    choose_slots,
    find_backend,
    gpu_memory_mb,
    share_gpus,
    tell_unused_gpu,
    visible_gpus,
)
from search.driver.executors.memory import count_fitting, free_memory_mb
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


@pytest.mark.usefixtures("two_gpus")
def test_workers_are_one_a_gpu_and_more_share_them_and_their_memory() -> None:
    assert choose_slots("auto") == 2
    assert [share.gpu for share in share_gpus(2)] == ["0", "1"]
    assert [share.sharers for share in share_gpus(2)] == [1, 1]
    assert [share.memory_mb for share in share_gpus(2)] == [143771, None]
    three = share_gpus(3)
    assert [share.gpu for share in three] == ["0", "1", "0"]
    assert [share.sharers for share in three] == [2, 1, 2]
    assert [share.memory_mb for share in three] == [
        int(0.9 * 143771 / 2),
        None,
        int(0.9 * 143771 / 2),
    ]


def test_without_gpus_workers_are_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert choose_slots("auto") == min(8, len(os.sched_getaffinity(0)))
    assert choose_slots(3) == 3
    assert {share.gpu for share in share_gpus(3)} == {""}


@pytest.mark.parametrize(
    ("each", "free", "fitting"), [(100, 1000, 4), (300, 1000, 3), (5000, 1000, 1), (0, 0, 4)]
)
def test_no_more_workers_are_started_than_find_room(each: float, free: float, fitting: int) -> None:
    assert count_fitting(4, each, free) == fitting


def test_memory_that_is_free_is_part_of_the_machine_s() -> None:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_memory_mb() < pages / 2**20


def test_what_a_container_caches_of_files_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{64 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{60 * 2**20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {40 * 2**20}\nactive_file 3\n")
    assert free_memory_mb() == 44


def test_a_gpu_that_is_not_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "--extra gpu" in tell_unused_gpu("cpu:0")
    assert tell_unused_gpu("cpu:0, gpu:0") == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert tell_unused_gpu("cpu:0") == ""


def test_no_gpu_has_a_memory_where_the_tool_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory_mb("0") is None
