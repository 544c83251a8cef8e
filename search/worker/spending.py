"""What a worker's time on one trial goes to."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Spending:
    """Seconds by what they went to.

    ``building`` is the candidate's, its questions included; ``first_step`` begins when it is built
    and ends with the first step of training, which compiles it; ``training`` is all further steps,
    ``scoring`` that of the validation side; ``waiting`` is for the driver's verdicts; ``keeping`` is
    checkpoints and weights; ``latency`` is its measurement.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._mark = time.monotonic()

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by what they went to, so far."""
        return dict(self._seconds)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count what is done in the block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._mark = time.monotonic()
            self._seconds[what] += self._mark - began

    def since(self, what: str) -> None:
        """Count what was done since the last thing that was counted or marked."""
        now = time.monotonic()
        self._seconds[what] += now - self._mark
        self._mark = now

    def mark(self) -> None:
        """Leave what was done since then uncounted."""
        self._mark = time.monotonic()

    def watch_first_step(self, model: Any) -> None:
        """Count everything up to the end of a model's first training step.

        Args:
            model: As ``fit`` is about to train it; its step is put back after the first. A loop of a
                person's own has none.
        """
        step: Callable[..., Any] | None = model.train_function
        if step is None:
            return

        def first(*args: Any) -> Any:
            model.train_function = step
            made = step(*args)
            self.since("first_step")
            return made

        model.train_function = first
