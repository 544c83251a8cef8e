"""Records on their way to the tracking store, in order, without anybody waiting for it."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


class Refused(Exception):
    """The store will never take this record."""


class Unreachable(Exception):
    """The store did not take the record now; it may later."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A record that did not arrive.

    Attributes:
        record: What it was, for a person.
        reason: Why, as the store said it.
    """

    record: str
    reason: str


class Forwarder:
    """One thread that delivers records, and tries again while the store is away."""

    def __init__(self, *, longest_pause: float = 30.0, closing_seconds: float = 30.0) -> None:
        """Start the thread.

        Args:
            longest_pause: Seconds between two tries at most; the first pause is 50 times shorter.
            closing_seconds: How long ``close`` waits for a store that is away, in seconds.
        """
        self._longest_pause = longest_pause
        self._closing_seconds = closing_seconds
        self._records: queue.SimpleQueue[tuple[str, Callable[[], None]] | None]
        self._records = queue.SimpleQueue()
        self._closing = threading.Event()
        self._patient_since = time.monotonic()
        self._gone = ""
        self._lost: list[Lost] = []
        self._bug: BaseException | None = None
        # A daemon, so that a second Ctrl-C ends the process while the store is away.
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def send(self, record: str, deliver: Callable[[], None]) -> None:
        """Queue a record and return at once.

        Args:
            record: What it is, for the person who must know that it did not arrive.
            deliver: Hands it to the store; called again after ``Unreachable``.
        """
        self._records.put((record, deliver))

    def close(self) -> tuple[Lost, ...]:
        """Wait until every record has arrived or is given up.

        Returns:
            The records that did not arrive, in order.
        """
        self._patient_since = time.monotonic()
        self._closing.set()
        self._records.put(None)
        self._thread.join()
        if self._bug is not None:
            raise self._bug
        return tuple(self._lost)

    def _run(self) -> None:
        try:
            while (item := self._records.get()) is not None:
                self._deliver(*item)
        except BaseException as exc:  # noqa: BLE001 - a bug: close raises it
            self._bug = exc

    def _deliver(self, record: str, deliver: Callable[[], None]) -> None:
        pause = self._longest_pause / 50
        while not self._gone:
            try:
                deliver()
            except Refused as exc:
                self._lost.append(Lost(record=record, reason=str(exc)))
                return
            except Unreachable as exc:
                self._wait(pause, str(exc))
                pause = min(2 * pause, self._longest_pause)
            else:
                self._patient_since = time.monotonic()
                return
        self._lost.append(Lost(record=record, reason=self._gone))

    def _wait(self, pause: float, reason: str) -> None:
        """Pause before the next try; once the driver waits, shortly, and not for ever."""
        if not self._closing.wait(pause):
            return
        if time.monotonic() - self._patient_since >= self._closing_seconds:
            self._gone = reason
        else:
            time.sleep(self._longest_pause / 50)
