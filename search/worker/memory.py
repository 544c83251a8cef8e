"""What a process holds, and what a candidate will need at the very least, known before it is trained."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from search.errors import OutOfMemory, OversizedModel
from search.worker.costs import trace_layers

MIB = 2**20
USUALLY = 4.0
"""Times what ``least_training_mb`` works out that training took at the most, where it was measured."""


def own_memory_mb() -> float:
    """Measure the memory that this process shares with nobody, in MiB; 0 where none can say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def limit_weights(limit: int, setting: str) -> Iterator[None]:
    """Refuse a model while it is built, before the layer that is one too many has its weights.

    Keras has no hook for this, so its ``add_weight`` is replaced until the block is left.

    Args:
        limit: Weights that all layers made in the block may have together.
        setting: Who says so.

    Yields:
        Nothing.

    Raises:
        OversizedModel: From within the block.
    """
    add_weight, asked = keras.layers.Layer.add_weight, 0

    def add_counted(layer: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        shape = kwargs.get("shape", args[0] if args else ())
        asked += math.prod(shape) if isinstance(shape, tuple | list) else 1
        if asked > limit:
            raise OversizedModel(
                f"{setting} allows {limit:,} weights. Received: a model with "
                f"{asked:,} or more, of which layer {layer.name!r} was not made any more."
            )
        return add_weight(layer, *args, **kwargs)

    keras.layers.Layer.add_weight = add_counted
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def limit_gpu_memory(limit_mb: int) -> None:
    """Let this process take no more of its GPU's memory than its part.

    Before TensorFlow has used the GPU; JAX reads its part from the environment when it starts.

    Args:
        limit_mb: In MiB.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf  # noqa: PLC0415  # the other backends run without it

    part = tf.config.LogicalDeviceConfiguration(memory_limit=limit_mb)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.set_logical_device_configuration(gpu, [part])


def check_memory(
    model: Any, batch_size: int, *, limit_mb: int | None, gpu_memory_mb: int | None
) -> None:
    """Refuse a candidate that cannot be trained in the memory there is.

    Args:
        model: Built.
        batch_size: Targets in one step.
        limit_mb: What this process may take, in MiB; ``None`` for all that the machine has.
        gpu_memory_mb: What it may take of its GPU, in MiB, which counts instead where the backend trains
            on it; ``None`` where there is none, or nobody knows.

    Raises:
        OutOfMemory: If one training step needs more, even at the very least.
    """
    needed = least_training_mb(model, batch_size)
    # A backend without its CUDA libraries trains on the CPU of a machine that has a GPU.
    if gpu_memory_mb is not None and keras.distribution.list_devices("gpu"):
        limit, what = gpu_memory_mb, "The GPU leaves a worker"
    else:
        limit, what = (limit_mb, "workers.max_memory_mb allows") if limit_mb else _machine_memory()
        needed += own_memory_mb()
    if needed > limit:
        raise OutOfMemory(
            f"{what} {limit:,} MiB. Received: a candidate that needs {needed:,.0f} MiB at the "
            f"least for one step of {batch_size} targets; it was not trained."
        )


def least_training_mb(model: Any, batch_size: int) -> float:
    """Work out what one training step holds at the very least.

    Every layer's output for a batch, which the backward pass reads, the weights and their
    gradients, for layers that have weights; what lies between and within them comes on top. Measured
    with TensorFlow on a CPU, one candidate each, training took 1.8 times this in the video space (32
    filters, no downscaling), 3.6 in seq2seq (its defaults), 4 in sensor (two LSTMs of 128 units).

    Args:
        model: Built; of a subclassed model, whose layers cannot be listed, the weights alone count.
        batch_size: Targets in one step.

    Returns:
        In MiB.
    """
    held = 4 * (model.count_params() + sum(math.prod(w.shape) for w in model.trainable_weights))
    held += sum(
        math.prod(one.shape) * np.dtype(one.dtype).itemsize
        for trace in trace_layers(model, batch_size)
        for one in trace.outputs
    )
    return float(held / MIB)


def _machine_memory() -> tuple[int, str]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size // MIB, "The machine has"
