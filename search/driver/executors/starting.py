"""How a further process comes up: forked from a server that has imported the backend, or spawned."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running as ensure_tracker_running
from pathlib import Path
from typing import Any

from search.driver.executors.base import WORKER
from search.driver.executors.devices import find_backend

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
"""Set before a worker loads its backend: no chatter, and no worker takes all of a GPU's memory."""
_SERVED = threading.Event()
"""Whether the fork server was started."""
_TURN = threading.RLock()
"""multiprocessing asks after all processes as it starts one: of two threads that read at once how
one ended, the second would read nothing."""


def preload(log: Path = Path(os.devnull)) -> None:
    """Start loading what workers need, and return at once; nothing happens where that has begun.

    Backends that start threads when they are imported cannot be forked, and wait for the process.

    Args:
        log: File that the fork server's output goes to.

    Raises:
        ConfigError: If Keras's backend is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if find_backend() != "tensorflow" or _SERVED.is_set():
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WORKER.partition(":")[0]])
    with _output_to(log), _interrupts_blocked():
        ensure_running()
    _SERVED.set()


def choose_context() -> ForkServerContext | SpawnContext:
    """Choose how processes are made with the backend in use.

    Returns:
        multiprocessing's context.

    Raises:
        ConfigError: If Keras's backend is not installed.
    """
    if find_backend() == "tensorflow":
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def start_process(target: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start a process, which Ctrl-C on a terminal does not reach.

    Args:
        target: A module's function.
        *arguments: Its arguments.

    Returns:
        The process; ``bury`` it.

    Raises:
        ConfigError: If Keras's backend is not installed.
    """
    process = choose_context().Process(target=target, args=arguments, daemon=True)
    with _TURN, _without_main(), _interrupts_blocked():
        process.start()
    return process


def has_ended(process: BaseProcess, max_seconds: float = 0.0) -> bool:
    """Wait for a process to end, and say whether it has.

    Args:
        process: One that was not buried.
        max_seconds: How long to wait.

    Returns:
        Whether it has ended.
    """
    return bool(wait([process.sentinel], max_seconds))


def bury(process: BaseProcess) -> int:
    """Wait for a process to end, and forget it.

    Args:
        process: One that is to end.

    Returns:
        Its exit code, negative for a signal.
    """
    wait([process.sentinel])
    with _TURN:
        process.join()
        code = process.exitcode or 0
        process.close()
    return code


def leave_with_parent() -> None:
    """Have this process leave at once when the one that started it is gone, however it went.

    A worker reads its line once an epoch, and an epoch may take hours. Nothing is lost: what is
    on disk is whole at any time.
    """
    threading.Thread(target=_leave_with_parent, name="parent", daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def send_output(log: Path) -> None:
    """Send what this process and its libraries print to a file, away from the person's screen.

    Args:
        log: The file, which is appended to.
    """
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    before = [(os.dup(number), number) for number in (1, 2)]
    send_output(log)
    try:
        yield
    finally:
        for copy, number in before:
            os.dup2(copy, number)
            os.close(copy)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the program's main module, which multiprocessing would run again in the process.

    So a script needs no ``if __name__ == "__main__"``, and a notebook works. Nothing of the
    main module is needed there: what it calls is found by path.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = type(sys)("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C, which a terminal sends to all processes, from the fork server and its children."""
    ensure_tracker_running()  # started meanwhile by multiprocessing, it would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
