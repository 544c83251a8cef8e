"""Data that fit on a page, made without a source."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest

from search.data.sequences import SIDES, Array, SequenceCard, SequenceData

MakeData: TypeAlias = Callable[..., SequenceData]


@pytest.fixture
def make_data() -> MakeData:
    """What makes data of some rows: the same targets on each side, or a list of three."""

    def make(
        rows: Any, truths: Any, ends: Any, recordings: Any = None, **card: Any
    ) -> SequenceData:
        rows = np.asarray(rows)
        sides = list(ends) if isinstance(ends, list) else [np.asarray(ends)] * 3
        channels = rows.shape[-1]
        names: dict[str, Any] = {
            "description": "",
            "fingerprint": "",
            "audit": "",
            "longest": 1,
            "horizon": 0,
            "channels": tuple("abcdefgh"[:channels]),
            "classes": (),
            "variables": (),
            "target_channels": (),
            "mean": (0.0,) * channels,
            "scale": (1.0,) * channels,
            "truth_mean": (),
            "truth_scale": (),
            "scaled_apart": {},
        }
        numbers = np.zeros(len(rows), dtype=int) if recordings is None else np.asarray(recordings)
        ends_by_side: dict[Any, Array] = dict(zip(SIDES, sides, strict=True))
        return SequenceData(
            card=SequenceCard(**(names | card)),
            rows=rows,
            truths=rows if truths is None else np.asarray(truths),
            ends=ends_by_side,
            recordings={side: numbers[rows_] for side, rows_ in ends_by_side.items()},
        )

    return make
