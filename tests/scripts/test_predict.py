"""New data on the command line, and the same over HTTP."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exports import repeat_last_row, write_export
from studies import run_small_study

from search.driver.tracking.store import open_client, store_uri
from search.results.export import export_best

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"


def run_script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


@contextmanager
def served(place: str, port: int, log: Path) -> Iterator[None]:
    """Serve a registered model as its card says, and wait until it answers."""
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", place]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            while not is_up(port):
                assert server.poll() is None, log.read_text()
                time.sleep(0.2)
            yield
        finally:
            server.terminate()
            server.wait(30)


def is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def ask(port: int, windows: object) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"inputs": windows})
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_served_model_answers_raw_windows_as_the_script_does(
    tmp_path: Path, store_template: Path, free_port: int
) -> None:
    folder, out = tmp_path / "runs", tmp_path / "out.csv"
    run_small_study(folder, store_template, "small")
    export = export_best("small", folder=folder)
    windows = np.load(export.folder / "example.npz")["raw"]

    done = run_script(export.folder, export.folder / "example.npz", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"Answers for 2 windows of 2 recordings: {out}"
    table = pd.read_csv(out)

    version = open_client(store_uri(None, folder)).get_model_version("small", export.version)
    with served(version.source, free_port, tmp_path / "log"):
        status, text = ask(free_port, windows.tolist())
        assert status == http.HTTPStatus.OK, text
        answers = pd.DataFrame(json.loads(text)["predictions"])
        assert answers["class"].tolist() == table["class"].tolist()
        numbers = answers.columns.drop("class")
        np.testing.assert_allclose(answers[numbers], table[numbers], rtol=1e-5, atol=1e-7)
        status, text = ask(free_port, windows[:, 1:].tolist())
        assert status == http.HTTPStatus.BAD_REQUEST
        assert "16" in text


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", repeat_last_row())
    (tmp_path / "new.csv").write_text("a,bee\n1,2\n")
    done = run_script(export, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("data.channels must name columns of the table. Received: 'b'")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()
