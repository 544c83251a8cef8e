"""What one candidate will cost, known before it is trained: what its layers hold, compute and wait for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from search.messages import Cost

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerTrace:
    """A layer that has weights, and the shapes of what it reads and puts out for one batch."""

    layer: Any
    inputs: Sequence[Shape]
    outputs: Sequence[Any]


def trace_layers(model: Any, batch_size: int) -> list[LayerTrace]:
    """Ask the layers of a model for their shapes with a batch of some size; nothing is computed.

    Args:
        model: Built.
        batch_size: Targets in one step.

    Returns:
        Those that have weights; none of a subclassed model, whose layers cannot be listed.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return []
    traces: list[LayerTrace] = []

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = layer(*args, **kwargs)
        if getattr(layer, "weights", None):
            read = [one.shape for one in keras.tree.flatten(args) if hasattr(one, "shape")]
            outputs = keras.tree.flatten(result)
            traces.append(LayerTrace(layer=layer, inputs=read, outputs=outputs))
        return result

    given = [
        keras.Input(batch_shape=(batch_size, *one.shape[1:]), dtype=one.dtype) for one in inputs
    ]
    keras.models.clone_model(
        keras.Model(inputs, model.outputs),
        input_tensors=given,
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return traces


def count_cost(model: Any, batch_size: int, steps: int) -> Cost | None:
    """Count what an epoch of training consists of.

    Every weight is multiplied once for each place of its layer's output, or for each step of a
    recurrent layer's input, and a recurrent layer takes its steps one after another.

    Args:
        model: Built.
        batch_size: Targets in one step of training.
        steps: Steps of training in one epoch.

    Returns:
        The counts; ``None`` of a subclassed model, whose layers cannot be listed.
    """
    traces = trace_layers(model, batch_size)
    if not traces:
        return None
    waits, work = 0, 0
    for trace in traces:
        kinds = keras.layers.RNN | keras.layers.Bidirectional
        recurrent = isinstance(trace.layer, kinds) and bool(trace.inputs)
        places = trace.inputs[0][:-1] if recurrent else trace.outputs[0].shape[:-1]
        work += trace.layer.count_params() * math.prod(places)
        waits += trace.inputs[0][1] if recurrent else 0
    return Cost(steps=steps, waits=steps * waits, work=float(steps * work))
