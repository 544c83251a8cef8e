"""Windows become batches, gathered by index and in an order that depends on seed and epoch alone."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from search.data.sequences import Array, Windows

ALIGNMENT = 64
"""TensorFlow computes on memory that begins at a multiple of so many bytes, as mapped files' does."""
PREDICTION_BATCH = 512
PREDICTION_BYTES = 16 * 2**20
"""Windows that are predicted at once take no more than this: a CNN's features take tens of times
as much."""


def epoch_order(targets: int, batch_size: int, seed: int, epoch: int) -> Array:
    """Shuffle the targets of one epoch.

    The last batch is filled up from the epoch's beginning: one batch shape means one
    compilation.

    Args:
        targets: How many targets there are.
        batch_size: Targets in one step, at most ``targets``.
        seed: The trial's seed.
        epoch: From 0.

    Returns:
        Target numbers of shape (steps * batch_size,).
    """
    order = np.random.default_rng([seed, epoch]).permutation(targets)
    return np.resize(order, -(-targets // batch_size) * batch_size)


class WindowBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras publishes no types
    """Training batches for any backend, one epoch after the other."""

    def __init__(
        self, gather: Callable[[Array], tuple[Array, Array]], orders: Iterator[Array], steps: int
    ) -> None:
        super().__init__()
        self._gather = gather
        self._orders = orders
        self._steps = steps
        self._order = next(orders)
        self._used = False

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[Array, Array]:
        self._used = step == self._steps - 1  # Keras may look at the first batch before it trains
        size = len(self._order) // self._steps
        return self._gather(self._order[step * size : (step + 1) * size])

    def on_epoch_end(self) -> None:
        """Move to the next epoch's order; Keras also calls this before the first epoch."""
        if self._used:
            self._order = next(self._orders, self._order)
            self._used = False


def make_batches(
    inputs: Windows, taught: Windows, ends: Array, *, orders: Iterator[Array], steps: int
) -> Any:
    """Make what ``model.fit`` trains on.

    TensorFlow gathers inside its graph, from the rows where they lie: 1.4 times faster an epoch
    than NumPy windows handed to ``fit``, measured on windows of 128 x 9.

    Args:
        inputs: What the model reads for each target.
        taught: What its prediction is compared with.
        ends: Row that each window ends at, of shape (targets,).
        orders: The order of the targets for each epoch, as ``epoch_order`` gives it.
        steps: Batches in one epoch.

    Returns:
        A dataset for ``fit(..., steps_per_epoch=steps, shuffle=False)``.
    """
    if keras.backend.backend() == "tensorflow":
        return _graph_batches(inputs, taught, ends, orders=orders, steps=steps)

    def gather(chosen: Array) -> tuple[Array, Array]:
        return inputs.gather(ends[chosen]), taught.gather(ends[chosen])

    return WindowBatches(gather, orders, steps)


def _graph_batches(
    inputs: Windows, taught: Windows, ends: Array, *, orders: Iterator[Array], steps: int
) -> Any:
    import tensorflow as tf  # noqa: PLC0415  # the other backends run without it

    all_ends = tf.constant(ends)
    read = _graph_gather(inputs, _lend(inputs.rows))
    answer = _graph_gather(taught, _lend(taught.rows))

    # AutoGraph would write what it makes of a function to a file, which killed workers leave behind.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # no types there
    def gather(chosen: Any) -> tuple[Any, Any]:
        last = tf.gather(all_ends, chosen)
        return read(last), answer(last)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def split(order: Any) -> Any:
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order, [steps, -1]))

    epochs = tf.data.Dataset.from_generator(
        lambda: orders, output_signature=tf.TensorSpec([None], tf.int64)
    )
    batches = epochs.flat_map(split)
    options = tf.data.Options()
    # Its thread sleeps for twice as long each time, and ``fit`` waits for it at its end: of a second and a
    # half of training another second. There is nothing to tune.
    options.autotune.enabled = False
    # They would write the rows into the text of the graph to read it anew.
    options.experimental_optimization.apply_default_optimizations = False
    return batches.map(gather).prefetch(2).with_options(options)


class _Writable:
    """An array's memory as if one could write to it, to those who write nothing and ask all the same."""

    def __init__(self, array: Array) -> None:
        self._array = array  # its memory lives as long as this does
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.ctypes.data, False),
        }


def _lend(rows: Array) -> Any:
    """Make a tensor of rows: of their own memory, so that mapped rows of any size take none."""
    import tensorflow as tf  # noqa: PLC0415

    if rows.ctypes.data % ALIGNMENT or not rows.flags.c_contiguous:
        return tf.constant(rows)
    # NumPy hands no read-only array on by DLPack, though TensorFlow only reads.
    return tf.experimental.dlpack.from_dlpack(np.asarray(_Writable(rows)).__dlpack__())


def _graph_gather(windows: Windows, rows: Any) -> Callable[[Any], Any]:
    """Do what ``Windows.gather`` does, in TensorFlow's graph."""
    import tensorflow as tf  # noqa: PLC0415

    def gather(ends: Any) -> Any:
        index = ends if windows.offsets is None else ends[:, None] + windows.offsets
        found = tf.gather(rows, index)
        if windows.mean is not None:
            found = (tf.cast(found, tf.float32) - windows.mean) / windows.scale
        return tf.reshape(found, (-1, *windows.window_shape))

    return gather


def predict(model: Any, inputs: Windows, ends: Array) -> Array:
    """Predict for the windows that end at the given rows, in large batches of one shape.

    Args:
        model: A built Keras model of one input and one output.
        inputs: What the model reads for each target.
        ends: Row that each window ends at, of shape (targets,).

    Returns:
        The model's output of shape (targets, ...).
    """
    bytes_each = 4 * math.prod(inputs.window_shape)
    largest = max(1, min(PREDICTION_BATCH, PREDICTION_BYTES // bytes_each))
    batches = -(-len(ends) // largest)
    size = -(-len(ends) // batches)
    padded = np.resize(ends, batches * size)
    outputs = [
        model.predict_on_batch(inputs.gather(padded[start : start + size]))
        for start in range(0, len(padded), size)
    ]
    found = np.concatenate(outputs)[: len(ends)]
    # half precision, of a model whose last layer has it, is none that metrics know
    return found if found.dtype in (np.float32, np.float64) else found.astype(np.float32)
