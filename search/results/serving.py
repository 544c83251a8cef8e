"""The MLflow UI as a process of its own, reachable from this machine alone."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from search.errors import ConfigError, TrackingError, hide_credentials

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
_STARTING_SECONDS = 120.0
_ENDING_SECONDS = 10.0


def choose_port(port: int | None) -> int:
    """Find the port that the UI can listen on.

    Args:
        port: The port that was asked for; ``None`` for the first free one from 5000 on.

    Returns:
        A port that nobody listens on.

    Raises:
        ConfigError: If the port that was asked for is taken.
    """
    if port is None:
        return next(number for number in range(DEFAULT_PORT, 65_536) if _is_free(number))
    if not _is_free(port):
        raise ConfigError(
            f"port must be free: another program listens on it. Received: port={port}. "
            "Leave --port away to take the next free one."
        )
    return port


@contextlib.contextmanager
def serve_store(
    uri: str,
    port: int,
    artifacts: Path,
    *,
    words: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the MLflow UI, which is its server too, until the block is left.

    Args:
        uri: Address of a database.
        port: A free port.
        artifacts: Where artifacts go that are sent through the server.
        words: What ``mlflow server`` is told besides.
        environment: What its environment holds besides.

    Yields:
        The server's process, which answers.

    Raises:
        TrackingError: If the server ends before it answers.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", HOST, "--port", str(port)]
    command += ["--artifacts-destination", artifacts.absolute().as_uri(), *words]
    settings = {
        # By the environment, since an address may hold a password and `ps` shows command lines.
        "MLFLOW_BACKEND_STORE_URI": uri,
        # It would start eight more processes, for jobs that a study never has.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **settings, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_up(process, port, log)
            yield process
        finally:
            _end(process)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            time.sleep(0.1)
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
    raise TrackingError(f"The MLflow UI did not start: {hide_credentials(lines[-1])}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and the workers that it started, which share its process group."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, word)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_SECONDS)
