"""Ctrl-C and SIGTERM: once, the study ends at the next epochs; twice, at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Whether a person asked the study to end.

    Attributes:
        requested: Set by the first signal.
    """

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take in a signal.

        Raises:
            KeyboardInterrupt: At the second one.
        """
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def watch_interrupts() -> Iterator[Interrupt]:
    """Take in Ctrl-C and SIGTERM until the block ends.

    Outside the main thread, where Python lets nobody handle signals, they stay as they are.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
