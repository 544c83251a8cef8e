"""Records on their way from the spool to the tracking store, without anybody waiting for it."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.driver.tracking.spool import Record, Spool

WINDOW = 100
"""Records that wait and are looked at together."""
MERGED = 40
"""Epochs of a trial that go in one: MLflow takes a thousand points at once."""
MORE = "more"
NAMES = frozenset(("kind", "number", "name"))
"""What a record that is left out is named by."""
FULL = "as much waited for the store as tracking.max_spool_mb allows"
PATIENCE_SECONDS = 30.0


class Refused(Exception):
    """The store will never take this record."""


class Unreachable(Exception):
    """The store did not take the record now; it may later."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A record that did not arrive.

    Attributes:
        record: What it was.
        reason: Why, as the store said it.
        kept: Whether it waits in the spool for the next launch.
    """

    record: Record
    reason: str
    kept: bool = False


def merge_epochs(records: Sequence[Record]) -> list[Record]:
    """Put the epochs of a trial that wait for the store into one, since each call takes as long.

    Args:
        records: In the order in which they were made.

    Returns:
        The same, in an order that is each trial's own: an epoch goes, under ``more``, with an earlier one of its
        trial if nothing else of that trial lies between.
    """
    merged: list[Record] = []
    open_ones: dict[int, Record] = {}
    for record in records:
        number = record.get("number", -1)
        if record["kind"] != "epoch":
            open_ones.pop(number, None)
            merged.append(record)
        elif number in open_ones and len(open_ones[number][MORE]) < MERGED:
            open_ones[number][MORE].append(record)
        else:
            open_ones[number] = {**record, MORE: []}
            merged.append(open_ones[number])
    return merged


class Forwarder:
    """One thread that delivers records in order, and tries again while the store is away."""

    def __init__(
        self,
        spool: Spool,
        deliver: Callable[[Record], None],
        *,
        longest_pause: float = 30.0,
    ) -> None:
        """Start the thread; what an earlier launch left comes first.

        Args:
            spool: Where records are safe until they are delivered.
            deliver: Hands a record to the store; raises ``Refused`` or ``Unreachable``. A record
                may be handed over twice.
            longest_pause: Seconds between two tries at most; the first pause is 50 times shorter.
        """
        self._spool = spool
        self._hand_over = deliver
        self._longest_pause = longest_pause
        self._patience = 0.0
        self._records: queue.SimpleQueue[tuple[Record, int] | None] = queue.SimpleQueue()
        for item in spool.left:
            self._records.put(item)
        self._closing = threading.Event()
        self._patient_since = time.monotonic()
        self._gone = ""
        self._lost: list[Lost] = []
        self._over = False
        self._bug: BaseException | None = None
        # A daemon, so that a second Ctrl-C ends the process while the store is away.
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def send(self, record: Record) -> None:
        """Put a record on disk, and return without waiting for the store.

        Raises:
            OSError: If the disk does not take it.
        """
        end = self._spool.append(record)
        if end:
            self._records.put((record, end))
        else:
            name = {
                key: record[key] for key in NAMES & record.keys()
            }  # all of many would fill the memory
            self._lost.append(Lost(record=name, reason=FULL))

    def close(self, patience_seconds: float = PATIENCE_SECONDS) -> tuple[Lost, ...]:
        """Wait until every record has arrived or is given up.

        Args:
            patience_seconds: How long to wait for a store that is away, in seconds.

        Returns:
            The records that did not arrive, in order.
        """
        self._patient_since, self._patience = time.monotonic(), patience_seconds
        self._closing.set()
        self._records.put(None)
        self._thread.join()
        self._spool.close()
        if self._bug is not None:
            raise self._bug
        return tuple(self._lost)

    def _run(self) -> None:
        try:
            while window := self._next_window():
                merged = merge_epochs([record for record, _ in window])
                for record in merged[:-1]:
                    self._deliver(record, 0)
                self._deliver(merged[-1], window[-1][1])
        except BaseException as exc:  # noqa: BLE001 - a bug: close raises it
            self._bug = exc

    def _next_window(self) -> list[tuple[Record, int]]:
        """Wait for a record, and take what has come with it; nothing once all has."""
        window: list[tuple[Record, int]] = []
        while not self._over and len(window) < WINDOW:
            try:
                item = self._records.get(block=not window)
            except queue.Empty:
                break
            if item is None:
                self._over = True
            else:
                window.append(item)
        return window

    def _deliver(self, record: Record, end: int) -> None:
        """Hand a record over; ``end`` is noted where all before it has arrived, 0 where it has not."""
        pause = self._longest_pause / 50
        while not self._gone:
            try:
                self._hand_over(record)
            except Refused as exc:
                self._lose(record, str(exc))
                self._note(end)
                return
            except Unreachable as exc:
                self._wait(pause, str(exc))
                pause = min(2 * pause, self._longest_pause)
            else:
                self._patient_since = time.monotonic()
                self._note(end)
                return
        self._lose(record, self._gone, kept=True)

    def _note(self, end: int) -> None:
        if end:
            self._spool.note_delivered(end)

    def _lose(self, record: Record, reason: str, *, kept: bool = False) -> None:
        for one in (record, *record.get(MORE, ())):
            self._lost.append(Lost(record=one, reason=reason, kept=kept))

    def _wait(self, pause: float, reason: str) -> None:
        """Pause before the next try; once the driver waits, shortly, and not for ever."""
        if not self._closing.wait(pause):
            return
        if time.monotonic() - self._patient_since >= self._patience:
            self._gone = reason
        else:
            time.sleep(self._longest_pause / 50)
