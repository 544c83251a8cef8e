"""What workers train on: Keras's backend, and the cores and GPUs of this machine, dealt to slots."""

import importlib.util
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from search.errors import ConfigError

MOST_WORKERS = 8
USABLE = 0.9
"""The part of a GPU's memory that several workers share out; the rest is what CUDA takes for each."""
BACKENDS = ("tensorflow", "jax", "torch")
"""What Keras trains on."""


def find_backend() -> str:
    """Find out what Keras will load, as it does, without loading it.

    Returns:
        Its name, as "tensorflow" or "jax".

    Raises:
        ConfigError: If there is no such backend, or it is not installed.
    """
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        chosen = json.loads((home / "keras.json").read_text()).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):  # as Keras: a broken file is no file
        chosen = "tensorflow"
    backend = os.environ.get("KERAS_BACKEND") or str(chosen)
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if backend not in installed:
        raise ConfigError(
            f"KERAS_BACKEND must name a backend of Keras that is installed, here "
            f"{' or '.join(installed) or 'none'}. Received: {backend!r}. Install it, or write, for "
            f"example, KERAS_BACKEND=jax before the command."
        )
    return backend


def visible_gpus() -> tuple[str, ...]:
    """Name the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Returns:
        One name a GPU; empty where there is none.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(name for name in chosen.split(",") if name not in ("", "-1"))
    return _ask_gpus("--query-gpu=index")


def gpu_memory_mb(gpu: str) -> int | None:
    """Ask how much memory a GPU has.

    Args:
        gpu: As CUDA names it.

    Returns:
        In MiB; ``None`` where the driver does not say, as of a part of a GPU (MIG).
    """
    answer = _ask_gpus("--query-gpu=memory.total", "--id=" + gpu)
    return int(answer[0]) if answer and answer[0].isdecimal() else None


def _ask_gpus(*question: str) -> tuple[str, ...]:
    """Ask NVIDIA's driver by its own tool; no words where there is none, or it cannot answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    answer = subprocess.run(
        [tool, *question, "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(answer.stdout.split()) if answer.returncode == 0 else ()


def usable_cores() -> list[int]:
    """List the cores that this process may use; none where the system cannot tell, as macOS."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def share_cores(slots: int) -> list[tuple[int, ...]]:
    """Deal this process's cores out to worker slots.

    Args:
        slots: How many workers there are.

    Returns:
        The cores of each slot; all empty, meaning no pinning, if there are fewer cores than
        slots.
    """
    cores = usable_cores()
    if len(cores) < slots:
        return [()] * slots
    return [tuple(cores[slot::slots]) for slot in range(slots)]


def choose_slots(count: int | Literal["auto"]) -> int:
    """Choose how many workers train at once.

    Args:
        count: As asked for; "auto" for one a GPU, else one a core, at most eight.

    Returns:
        The number.
    """
    if count != "auto":
        return count
    return len(visible_gpus()) or min(len(usable_cores()) or 1, MOST_WORKERS)


def tell_unused_gpu(device: str) -> str:
    """Say that workers train beside a GPU and not on it, as where its libraries are not installed.

    Args:
        device: What a worker trains on, as the backend names it.

    Returns:
        A note for the person; empty where there is no such GPU.
    """
    if not visible_gpus() or not all(one.startswith("cpu") for one in device.split(", ")):
        return ""
    return (
        f"Keras's backend does not use the GPU that is there: workers train on {device}. Launch by "
        f"`scripts/run --extra gpu ...`, or with CUDA_VISIBLE_DEVICES=-1 to have one a core."
    )


@dataclass(frozen=True, kw_only=True)
class GpuShare:
    """What one slot has of a GPU.

    Attributes:
        gpu: As CUDA names it; empty where there is none.
        sharers: How many slots train on it.
        memory_mb: The slot's part of its memory, in MiB; ``None`` where nobody knows.
    """

    gpu: str = ""
    sharers: int = 1
    memory_mb: int | None = None


def share_gpus(slots: int) -> list[GpuShare]:
    """Deal the GPUs out to worker slots, in turns.

    Args:
        slots: How many workers there are.

    Returns:
        The share of each slot.
    """
    gpus = visible_gpus()
    if not gpus:
        return [GpuShare()] * slots
    dealt = [gpus[slot % len(gpus)] for slot in range(slots)]
    memory = {gpu: gpu_memory_mb(gpu) for gpu in gpus}
    shares = []
    for gpu in dealt:
        sharers, has = dealt.count(gpu), memory[gpu]
        if has is not None and sharers > 1:
            has = int(USABLE * has / sharers)
        shares.append(GpuShare(gpu=gpu, sharers=sharers, memory_mb=has))
    return shares
