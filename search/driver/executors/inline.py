"""One worker in a thread of the driver's own process, where a debugger can reach it."""

import pkgutil
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from search.driver.executors.base import WORKER, Arrival
from search.messages import FromWorker, Stop, ToWorker, WorkerSetup

LEAVE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A channel between two threads."""

    orders: "queue.SimpleQueue[ToWorker]"
    arrivals: "queue.SimpleQueue[FromWorker]"

    def send(self, message: FromWorker) -> None:
        self.arrivals.put(message)

    def recv(self) -> ToWorker:
        order = self.orders.get()
        if isinstance(order, Stop):  # in the middle of a trial it is no answer to anything
            raise EOFError
        return order


class InlineExecutor:
    """Runs its one worker in a thread; a worker that ends takes nothing with it.

    Args:
        worker: Path of the worker's entry point.
    """

    slots = 1

    def __init__(self, worker: str = WORKER) -> None:
        self._worker = worker

    def start(self, setup: WorkerSetup) -> None:
        """Start the worker's thread."""
        self._setup = setup
        self._line = _Line(orders=queue.SimpleQueue(), arrivals=queue.SimpleQueue())
        serve = pkgutil.resolve_name(self._worker)
        self._thread = threading.Thread(target=serve, args=(self._line, setup), daemon=True)
        self._thread.start()

    def send(self, slot: int, message: ToWorker) -> None:
        """Hand the worker a message."""
        self._line.orders.put(message)

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        """Wait for the worker's next message."""
        try:
            return [(0, self._line.arrivals.get(timeout=max_seconds))]
        except queue.Empty:
            return []

    def prepare(self, slot: int) -> None:
        """Do nothing: one process has room for one worker."""

    def replace(self, slot: int) -> None:
        """Start a fresh thread in the place of the idle one."""
        self.stop()
        self.start(self._setup)

    def kill(self, slot: int) -> None:
        """Do nothing: a thread cannot be ended."""

    def stop(self) -> None:
        """Tell the worker to leave, and wait for it: a backend aborts the process that ends beside it.

        In the middle of an epoch that takes longer it leaves with the process.
        """
        self._line.orders.put(Stop())
        self._thread.join(LEAVE_SECONDS)
