"""A function called in a fresh Python process, which shares nothing with this one but files."""

import errno
import json
import os
import pkgutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from search.disk import is_full
from search.driver.executors.starting import (
    bury,
    leave_with_parent,
    preload,
    send_output,
    start_process,
)
from search.errors import SearchError, StudyError

SETTINGS = {
    # A model is exported and checked on the processor: what is traced on a GPU holds cuDNN's own
    # LSTM kernels and runs nowhere else, and TensorFloat-32 differs by more than the tolerance.
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


class ProcessFailed(RuntimeError):
    """The function raised what nobody foresaw, or its process was ended.

    Attributes:
        reason: The exception in one line, or how the process ended.
    """

    def __init__(self, function: str, code: int, log: str) -> None:
        super().__init__(f"{function} ended with {code}:\n{log}")
        _, traced, last = log.rpartition("Traceback (most recent call last):\n")
        raised = (line for line in last.splitlines() if traced and not line.startswith(" "))
        self.reason = next(raised, f"its process ended with {code}")


class FreshProcess:
    """A process that loads one function with its libraries, answers one call and ends.

    It loads while its caller does something else. Keras stays out of the caller's own process;
    where workers are forked from a server that has imported it, so are these.
    """

    def __init__(self, function: str, **settings: str) -> None:
        """Start the process.

        Args:
            function: ``package.module:name`` of a function of JSON values that returns one.
            **settings: Environment variables of the process, beside ``SETTINGS``.

        Raises:
            ConfigError: If Keras's backend is not installed.
        """
        self._function = function
        self._code: int | None = None
        file, name = tempfile.mkstemp(prefix="lookback-", suffix=".log")
        os.close(file)
        self._log = Path(name)
        self._line, theirs = Pipe()
        preload()
        environment = {**os.environ, **SETTINGS, **settings}
        self._process = start_process(answer_one_call, function, theirs, environment, self._log)
        theirs.close()

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process if it was not called, or is still at work."""
        self._line.close()
        if self._code is None:
            self._process.kill()
            self._code = bury(self._process)
        self._log.unlink()

    def ask(self, **arguments: Any) -> None:
        """Call the function, and wait for nothing.

        Args:
            **arguments: Its arguments, as JSON.
        """
        self._asked = time.monotonic()
        with suppress(ConnectionError):  # it has ended: ``answer`` tells how
            self._line.send_bytes(json.dumps(arguments).encode())

    def answer(self, seconds: float | None = None) -> Any:
        """Wait for what the function returns that was asked.

        Args:
            seconds: How long it may take since it was asked; ``None`` for as long as it takes.

        Returns:
            Its result, as JSON.

        Raises:
            StudyError: If the function raised an error that the person can mend.
            OSError: If a disk was full, with the file's name where that is known.
            ProcessFailed: If it ended in any other way; with its traceback.
            TimeoutError: If it took longer.
        """
        left = None if seconds is None else max(0.0, self._asked + seconds - time.monotonic())
        try:
            if not self._line.poll(left):
                raise TimeoutError(f"{self._function} took longer than {seconds:g} s.")
            reply = json.loads(self._line.recv_bytes())
        except (EOFError, ConnectionError):
            self._code = bury(self._process)
            log = self._log.read_text(encoding="utf-8", errors="replace")
            raise ProcessFailed(self._function, self._code, log) from None
        if "mistake" in reply:
            raise StudyError(reply["mistake"])
        if "full" in reply:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), reply["full"])
        return reply["result"]

    def call(self, **arguments: Any) -> Any:
        """Call the function and wait for what it returns, as long as it takes.

        Args:
            **arguments: Its arguments, as JSON.

        Returns:
            As ``answer``.

        Raises:
            StudyError: As ``answer``, and so the others.
            OSError: Likewise.
            ProcessFailed: Likewise.
        """
        self.ask(**arguments)
        return self.answer()


def answer_one_call(
    function: str, line: Connection, environment: Mapping[str, str], log: Path
) -> None:
    """Read a call's arguments from a line and write what becomes of it there.

    Args:
        function: As for ``FreshProcess``.
        line: The line to the caller.
        environment: The process's environment, whole.
        log: The file that the output of all libraries goes to.
    """
    os.environ.clear()  # a fork server has that of when it was started
    os.environ.update(environment)
    leave_with_parent()
    send_output(log)
    called = pkgutil.resolve_name(function)
    arguments = json.loads(line.recv_bytes())
    try:
        reply = {"result": called(**arguments)}
    except SearchError as exc:
        reply = {"mistake": str(exc)}
    except Exception as exc:
        if not is_full(exc):
            raise
        file = getattr(exc, "filename", None)
        reply = {"full": file and str(file)}
    line.send_bytes(json.dumps(reply).encode())
