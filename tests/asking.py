"""A registered model is served as a person does, and asked over HTTP."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def find_free_port() -> int:
    """Find a port that nobody listens on, away from those that the scripts try first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(place: str, port: int, log: Path) -> Iterator[None]:
    """Serve a registered model as its card says, and wait until it answers."""
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", place]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as file:
        # MLflow starts uvicorn by its name
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path}
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            while not is_up(port):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(0.2)
                assert server.returncode is None, log.read_text()
            yield
        finally:
            server.terminate()
            server.wait(30)


def is_up(port: int) -> bool:
    try:
        return _request(port, "GET", "/ping")[0] == http.HTTPStatus.OK
    except OSError:
        return False


def ask(port: int, windows: object) -> tuple[int, str]:
    """Send raw windows, and return the status and what was answered."""
    return _request(port, "POST", "/invocations", json.dumps({"inputs": windows}))


def _request(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
