"""Ctrl-C and SIGTERM: once, the study ends at the next epochs; twice, or while the disk is full, at once."""

import signal
import threading
from collections.abc import Callable, Iterator
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
        self._waiting = False
        self._over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take in a signal.

        Raises:
            KeyboardInterrupt: At the second one, or if the driver waits for room on a disk: no
                epoch ends meanwhile.
        """
        if self.requested or self._waiting:
            self._over = True
            raise KeyboardInterrupt
        self.requested = True

    def watch_wait(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Let a signal end the driver's waiting for room.

        Args:
            say: What the person is told by.

        Returns:
            The same, for ``search.disk.wait_for_room``, which says when it begins to wait and when
            that is over. Once the launch was ended, it raises KeyboardInterrupt instead: what
            would only tidy up waits for nothing.
        """

        def tell(text: str) -> None:
            if self._over:
                raise KeyboardInterrupt
            self._waiting = not self._waiting
            say(f"{text} Ctrl-C stops at once." if self._waiting else text)

        return tell


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
