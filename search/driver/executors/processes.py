"""Warm worker processes, each pinned to its share of the cores or to its GPU."""

import os
import pkgutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from search.driver.executors.base import WORKER, Arrival
from search.driver.executors.devices import (
    USABLE,
    find_backend,
    share_cores,
    share_gpus,
)
from search.driver.executors.memory import count_memory_kills, limit_memory, ran_out_of_memory
from search.driver.executors.starting import (
    bury,
    has_ended,
    leave_with_parent,
    preload,
    send_output,
    start_process,
)
from search.messages import Stop, ToWorker, WorkerDied, WorkerSetup

LEAVE_SECONDS = 5.0
"""How long a worker may take to leave before it is killed."""


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """A process and our line to it.

    Attributes:
        process: The process.
        line: The line.
        kills: The system's kills for want of memory before it was last told anything.
        logged: How long its output was then, in bytes.
        began: When it was started, on the monotonic clock.
    """

    process: BaseProcess
    line: Connection
    kills: int
    logged: int
    began: float


class ProcessExecutor:
    """One process a slot, forked from a server that has imported the backend and never used it.

    With the TensorFlow backend a further worker costs a fork and no import, since the fork
    server has imported everything. JAX starts threads on import, so there workers are spawned.

    Args:
        slots: Workers at once.
        worker: Path of the workers' entry point.
    """

    def __init__(self, slots: int, worker: str = WORKER) -> None:
        self.slots = slots
        self._worker = worker
        self._missing: list[int] = []
        self._unheard: set[int] = set()
        self._workers: dict[int, _Worker] = {}
        self._spares: dict[int, _Worker] = {}
        self._leaving: list[tuple[BaseProcess, float]] = []

    def start(self, setup: WorkerSetup) -> None:
        """Start loading what the workers need, and return at once."""
        preload(setup.log)
        cores, gpus = share_cores(self.slots), share_gpus(self.slots)
        self._setups = {
            slot: replace(
                setup,
                log=setup.log.with_name(f"{setup.log.stem}_{slot}{setup.log.suffix}"),
                cores=() if gpus[slot].gpu else cores[slot],
                gpu=gpus[slot].gpu,
                gpu_sharers=gpus[slot].sharers,
                gpu_memory_mb=gpus[slot].memory_mb,
            )
            for slot in range(self.slots)
        }
        self._missing = list(range(self.slots))
        if find_backend() != "tensorflow":  # there is no fork server to wait for
            self._start_missing()

    def send(self, slot: int, message: ToWorker) -> None:
        """Send to a slot's process; what a dead one misses, ``receive`` makes known."""
        worker = self._workers[slot]
        self._workers[slot] = replace(worker, kills=count_memory_kills(), logged=self._logged(slot))
        try:
            worker.line.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        """Wait until any process says something or dies."""
        self._start_missing()
        self._reap()
        slots = {worker.line: slot for slot, worker in self._workers.items()}
        arrivals: list[Arrival] = []
        for line in wait(list(slots), timeout=max_seconds):
            slot = slots[line]  # type: ignore[index]  # only our own lines were given
            self._unheard.discard(slot)
            try:
                arrivals.append((slot, self._workers[slot].line.recv()))
            except (EOFError, OSError):  # OSError: it died in the middle of a message
                arrivals.append((slot, self._bury(slot)))
                self._start(slot)
        self._end_stuck()
        return arrivals

    def prepare(self, slot: int) -> None:
        """Start the process that will follow a slot's, so that it has loaded all by then."""
        if slot not in self._spares:
            self._spares[slot] = self._launch(slot)

    def replace(self, slot: int) -> None:
        """Let an idle process leave, and have another in its slot."""
        self.send(slot, Stop())
        worker = self._workers.pop(slot)
        worker.line.close()
        self._leaving.append((worker.process, time.monotonic() + LEAVE_SECONDS))
        self._start(slot)

    def kill(self, slot: int) -> None:
        """End a process at once."""
        self._workers[slot].process.kill()

    def stop(self) -> None:
        """End all processes at once, busy ones too: what is on disk is whole at any time."""
        self._missing.clear()
        workers = [*self._workers.values(), *self._spares.values()]
        processes = [worker.process for worker in workers]
        processes += [process for process, _ in self._leaving]
        for process in processes:
            process.kill()
        for worker in workers:
            worker.line.close()
        for process in processes:
            bury(process)
        self._workers.clear()
        self._spares.clear()
        self._leaving.clear()

    def _start_missing(self) -> None:
        while self._missing:
            self._start(self._missing.pop(0))

    def _start(self, slot: int) -> None:
        spared = slot in self._spares
        self._workers[slot] = self._spares.pop(slot) if spared else self._launch(slot)
        self._unheard.add(slot)

    def _launch(self, slot: int) -> _Worker:
        ours, theirs = Pipe()
        process = start_process(enter, self._worker, theirs, self._setups[slot])
        theirs.close()
        return _Worker(
            process=process,
            line=ours,
            kills=count_memory_kills(),
            logged=self._logged(slot),
            began=time.monotonic(),
        )

    def _logged(self, slot: int) -> int:
        """Say how long a slot's output is, in bytes."""
        log = self._setups[slot].log
        return log.stat().st_size if log.exists() else 0

    def _end_stuck(self) -> None:
        """End the processes that hang while they come up; ``receive`` then says that they died."""
        for slot in self._unheard:
            worker, limit = self._workers[slot], self._setups[slot].config.workers
            late = time.monotonic() - worker.began >= limit.max_silent_seconds
            if late and not worker.line.poll():
                worker.process.kill()

    def _reap(self) -> None:
        """Forget the processes that have left, and end those that do not."""
        for process, until in list(self._leaving):
            if not has_ended(process) and time.monotonic() < until:
                continue
            process.kill()
            bury(process)
            self._leaving.remove((process, until))

    def _bury(self, slot: int) -> WorkerDied:
        """Wait for a process to end, close its line, and say how it ended."""
        worker = self._workers.pop(slot)
        process = worker.process
        worker.line.close()
        if not has_ended(process, LEAVE_SECONDS):
            process.kill()
        code = bury(process)
        ending = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
        log = self._setups[slot].log
        by_system = code == -signal.SIGKILL and count_memory_kills() > worker.kills
        by_itself = code == -signal.SIGABRT and ran_out_of_memory(log, worker.logged)
        return WorkerDied(
            reason=f"worker {slot} {ending}; its output is in {log}",
            out_of_memory=by_system or by_itself,
        )


def enter(worker: str, line: Connection, setup: WorkerSetup) -> None:
    """Become a worker: the first function that runs in a new process.

    Args:
        worker: Path of the worker's entry point.
        line: The line to the driver.
        setup: What the worker is started with.
    """
    # Systems that end a group of processes signal all of them; only the driver decides.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if setup.cores:
        os.sched_setaffinity(0, setup.cores)
    if setup.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = setup.gpu
        if setup.gpu_sharers > 1:  # how JAX is told; TensorFlow hears it from the worker
            part = f"{USABLE / setup.gpu_sharers:.3f}"
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", part)
    if setup.config.workers.max_memory_mb is not None:
        limit_memory(setup.config.workers.max_memory_mb)
    leave_with_parent()
    send_output(setup.log)
    pkgutil.resolve_name(worker)(line, setup)
