"""A function called in a fresh Python process, which shares nothing with this one but files."""

import json
import os
import pkgutil
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

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

    It loads while its caller does something else. Keras stays out of the caller's own process.
    """

    def __init__(self, function: str, *, alone: bool = False, **settings: str) -> None:
        """Start the process.

        Args:
            function: ``package.module:name`` of a function of JSON values that returns one.
            alone: Whether Ctrl-C on a terminal is kept from it, as of what a study does beside.
            **settings: Environment variables of the process, beside ``SETTINGS``.
        """
        self._function = function
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, function],
            env={
                **os.environ,
                **SETTINGS,
                **settings,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=alone,
        )

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
        self._process.kill()
        self._process.communicate()

    def call(self, seconds: float | None = None, /, **arguments: Any) -> Any:
        """Call the function and wait for what it returns.

        Args:
            seconds: How long to wait; ``None`` for as long as it takes.
            **arguments: Its arguments, as JSON.

        Returns:
            Its result, as JSON.

        Raises:
            StudyError: If the function raised an error that the person can mend.
            ProcessFailed: If it ended in any other way; with its traceback.
            TimeoutError: If it took longer.
        """
        try:
            answer, log = self._process.communicate(json.dumps(arguments), seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self._function} took longer than {seconds:g} s.") from None
        if self._process.returncode != 0:
            raise ProcessFailed(self._function, self._process.returncode, log)
        reply = json.loads(answer)
        if "mistake" in reply:
            raise StudyError(reply["mistake"])
        return reply["result"]


def answer_one_call(function: str) -> None:
    """Read a call's arguments from standard input and write what becomes of it to standard output.

    Args:
        function: As for ``FreshProcess``.
    """
    # Whatever a library prints goes to the error stream, so that the answer stands alone.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        called = pkgutil.resolve_name(function)
        arguments = json.loads(sys.stdin.read())
        try:
            reply = {"result": called(**arguments)}
        except SearchError as exc:
            reply = {"mistake": str(exc)}
        json.dump(reply, answer)


if __name__ == "__main__":
    answer_one_call(sys.argv[1])
