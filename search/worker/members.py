"""Trained candidates are rebuilt from their records, and several become one model."""

from collections.abc import Sequence
from pathlib import Path

import keras
from keras import ops

from search.data.sequences import Windows
from search.errors import InvalidArchitecture
from search.messages import Member
from search.worker.hyperparameters import replay
from search.worker.weights import load_weights
from search.worker.workbench import Candidate, Workbench


def rebuild(bench: Workbench, members: Sequence[Member]) -> Candidate:
    """Rebuild trained candidates; several become one model whose prediction is their mean.

    Different models err differently, so that their mean errs less; Caruana et al., "Ensemble
    Selection from Libraries of Models", ICML 2004. Here all members weigh the same.

    Args:
        bench: The worker's data and task.
        members: What was trained.

    Returns:
        The one candidate; or a model that reads the rows that the longest member reads, and has
        each member see its own of them.

    Raises:
        InvalidArchitecture: If predictions have not one shape, or Keras refuses a model.
        LookupError: If a member's space asks for what its trial did not record.
        OSError: If a weights file cannot be read.
        ValueError: If weights are another model's.
    """
    candidates = []
    for member in members:
        candidate = bench.build(replay(member.parameters), member.seed)
        load_weights(candidate.model, Path(member.weights))
        candidates.append(candidate)
    return candidates[0] if len(candidates) == 1 else _join(bench, members, candidates)


def _join(
    bench: Workbench, members: Sequence[Member], candidates: Sequence[Candidate]
) -> Candidate:
    steps = max(1 - _first(candidate.inputs) for candidate in candidates)
    inputs = bench.data.inputs(steps)
    given = keras.Input(inputs.window_shape, name="windows")
    outputs = []
    for member, candidate in zip(members, candidates, strict=True):
        candidate.model.name = f"trial_{member.number}"  # Keras wants every layer's name once
        # Else each optimizer is saved with the mean, and Keras warns of it wherever that is loaded.
        candidate.model.optimizer, candidate.model.compiled = None, False
        outputs.append(candidate.model(_choose(given, candidate.inputs, steps)))
    shapes = sorted({tuple(output.shape[1:]) for output in outputs})
    if shapes[1:]:
        raise InvalidArchitecture(
            f"winner.members above 1 must come with a space whose predictions have one shape. "
            f"Received: {shapes}."
        )
    mean = keras.layers.Average(name="mean", dtype="float32")(outputs)
    model = keras.Model(given, mean, name=f"mean_of_{len(members)}")
    notes = tuple(note for candidate in candidates for note in candidate.notes)
    return Candidate(
        model=model,
        hypermodel=candidates[0].hypermodel,
        inputs=inputs,
        taught=candidates[0].taught,
        notes=notes,
    )


def _first(inputs: Windows) -> int:
    return 0 if inputs.offsets is None else int(inputs.offsets[0])


def _choose(given: keras.KerasTensor, inputs: Windows, steps: int) -> keras.KerasTensor:
    """Choose the rows that a member reads of those that all of them read."""
    if inputs.offsets is None:
        return given[:, -1]
    places = (inputs.offsets + steps - 1).tolist()
    return given if places == list(range(steps)) else ops.take(given, places, axis=1)
