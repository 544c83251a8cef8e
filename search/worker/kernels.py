"""On a CPU, LSTM layers of a candidate compute a whole sequence by one kernel of TensorFlow's."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

GATES = 4


def fuse_lstms(model: Any) -> None:
    """Have a model's LSTM layers use TensorFlow's fused kernel, where it computes the same.

    Keras steps through a sequence in a loop of TensorFlow's graph, which costs more than what small
    layers compute, and more still to trace. Layers keep their class, weights and config, so that
    the model is saved as if nothing were changed. Other backends, GPUs (cuDNN has a kernel of its
    own), models that are compiled by XLA and layers that the kernel cannot express are left alone.

    Args:
        model: Built; of any class.
    """
    if keras.backend.backend() != "tensorflow" or keras.distribution.list_devices("gpu"):
        return
    if model.jit_compile is True:  # a person asked for it: on a CPU Keras does not by itself
        return
    for layer in _list_lstms(model):
        if _is_plain(layer):
            layer.inner_loop = _make_inner_loop(layer)


def release_lstms(model: Any) -> None:
    """Undo ``fuse_lstms``: another runtime may not know the kernel.

    Args:
        model: What it was done to.
    """
    for layer in _list_lstms(model):
        vars(layer).pop("inner_loop", None)


def _list_lstms(model: Any) -> Iterator[Any]:
    # Keras has no public name for a list that reaches into models and wrappers.
    return (one for one in model._flatten_layers() if isinstance(one, keras.layers.LSTM))


def _is_plain(layer: Any) -> bool:
    """Tell whether a layer is what the kernel computes: tanh and sigmoid, a bias, no dropout inside."""
    cell = layer.cell
    return (
        type(layer) is keras.layers.LSTM
        and type(cell) is keras.layers.LSTMCell
        and cell.activation is keras.activations.tanh
        and cell.recurrent_activation is keras.activations.sigmoid
        and cell.use_bias
        and not (cell.dropout or cell.recurrent_dropout or layer.unroll)
        and layer.compute_dtype == layer.variable_dtype == "float32"
    )


def _make_inner_loop(layer: Any) -> Any:
    import tensorflow as tf  # noqa: PLC0415  # the other backends run without it

    def inner_loop(
        sequences: Any, initial_state: Sequence[Any], mask: Any, training: bool = False
    ) -> Any:
        if mask is not None:
            return keras.layers.LSTM.inner_loop(layer, sequences, initial_state, mask, training)
        steps = tf.transpose(sequences, (1, 0, 2))
        if layer.go_backwards:
            steps = tf.reverse(steps, (0,))
        cell = layer.cell
        kernel = tf.concat([cell.kernel, cell.recurrent_kernel], axis=0)
        hidden, state = initial_state
        bias = tf.convert_to_tensor(cell.bias)
        cells, hidden = _run_lstm(steps, hidden, state, kernel, bias)
        last = hidden[-1]
        every = tf.transpose(hidden, (1, 0, 2)) if layer.return_sequences else last
        return last, every, [last, cells[-1]]

    return inner_loop


def _run_lstm(steps: Any, hidden: Any, cell: Any, kernel: Any, bias: Any) -> Any:
    """Run an LSTM over sequences, with a gradient.

    TensorFlow registers for ``BlockLSTMV2`` the gradient of the first version of the kernel, whose
    gates stand in another order; the second version's own is called here.

    Args:
        steps: Features of shape (steps, batch, features).
        hidden: The first output of shape (batch, units).
        cell: The first state of shape (batch, units).
        kernel: Weights of shape (features + units, 4 * units), gates in Keras's order.
        bias: Of shape (4 * units,).

    Returns:
        States and outputs, each of shape (steps, batch, units).
    """
    import tensorflow as tf  # noqa: PLC0415

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow publishes no types
    def run(steps: Any, hidden: Any, cell: Any, kernel: Any, bias: Any) -> Any:
        peephole = tf.zeros_like(bias[: bias.shape[0] // GATES])
        given = {
            "seq_len_max": tf.shape(steps, out_type=tf.int64)[0],
            "x": steps,
            "cs_prev": cell,
            "h_prev": hidden,
            "w": kernel,
            "wci": peephole,
            "wcf": peephole,
            "wco": peephole,
            "b": bias,
            "use_peephole": False,
        }
        made = tf.raw_ops.BlockLSTMV2(**given, cell_clip=0.0)._asdict()

        def grad(cells_grad: Any, hidden_grad: Any) -> Any:
            back = tf.raw_ops.BlockLSTMGradV2(
                **given, **made, cs_grad=cells_grad, h_grad=hidden_grad
            )
            return (
                back.x_grad,
                back.h_prev_grad,
                back.cs_prev_grad,
                back.w_grad,
                back.b_grad,
            )

        return (made["cs"], made["h"]), grad

    return run(steps, hidden, cell, kernel, bias)
