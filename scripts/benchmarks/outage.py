"""Take the MLflow server away from a running study, and see what arrives: outage.py --help.

A study writes to an MLflow server; then another does, whose server is killed, or hangs, in the middle and
comes back. Prints a table; exit status 1 if a point is missing, a run stands twice, or a trial failed.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table

from search.driver.tracking.spool import spool_path
from search.driver.tracking.store import KIND, STUDY, make_store, search_runs, store_uri
from search.results.audit import audit_study
from search.results.serving import HOST, choose_port, serve_store

LAUNCH = Path(__file__).parents[1] / "launch_study.py"
STUDY_FILE = Path(__file__).parent / "small.toml"
LONGEST_SECONDS = 3600.0
TICK_SECONDS = 0.2


class Server:
    """An MLflow server that can be taken away and brought back."""

    def __init__(self, folder: Path) -> None:
        self.port = choose_port(None)
        self.uri = f"http://{HOST}:{self.port}"
        self._folder = folder
        make_store(folder / "mlflow.db")
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        serving = serve_store(store_uri(None, self._folder), self.port, self._folder / "artifacts")
        self._process = self._stack.enter_context(serving)

    def end(self) -> None:
        """End it."""
        self._stack.close()

    def take_away(self, seconds: float, hang: bool) -> None:
        """Let it be dead, or hang, for a while."""
        if hang and self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.killpg(self._process.pid, signal.SIGCONT)
        else:
            self.end()
            time.sleep(seconds)
            self.start()


def launch(name: str, folder: Path, server: Server, trials: int) -> subprocess.Popen[bytes]:
    """Launch the study under a name."""
    words = [sys.executable, str(LAUNCH), str(STUDY_FILE), "--name", name]
    words += ["--tracking.uri", server.uri, "--workers.count", "2", "--pruner.name", "none"]
    words += ["--budget.trials", str(trials), "--storage.folder", str(folder)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_records(path: Path, size: int) -> None:
    """Wait until a study's spool has reached a size."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not path.exists() or path.stat().st_size < size:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not reach {size} bytes.")
        time.sleep(TICK_SECONDS)


def catch_up(path: Path) -> float:
    """Wait until all that stands in a spool now is delivered, and return the seconds it took."""
    start, size = time.monotonic(), path.stat().st_size
    note = path.with_suffix(".delivered")
    while note.exists() and int(note.read_text() or 0) < size:
        time.sleep(TICK_SECONDS)
    return time.monotonic() - start


def read_epochs(server: Server, study: str) -> list[float]:
    """Read how long each epoch of a study took, from MLflow, in seconds."""
    client = MlflowClient(server.uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = search_runs(client, ids, {KIND: "trial", STUDY: study})
    return [
        point.value
        for run in runs
        for point in client.get_metric_history(run.info.run_id, "epoch_seconds")
    ]


def show(rows: Sequence[tuple[str, str]]) -> None:
    """Print a table of two columns."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


def main() -> int:
    """Run both studies, and print what came of the second."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--hang", action="store_true", help="stop the server, do not kill it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outage-") as name:
        folder = Path(name)
        server = Server(folder)
        server.start()
        try:
            launch("calm", folder, server, arguments.trials).wait()
            driver = launch("outage", folder, server, arguments.trials)
            spool = spool_path(folder, "outage")
            wait_for_records(spool, 20_000)
            server.take_away(arguments.seconds, arguments.hang)
            caught_up = catch_up(spool)
            code = driver.wait()
            audits = audit_study("outage", folder=folder, uri=server.uri)
            calm, stormy = (read_epochs(server, one) for one in ("calm", "outage"))
        finally:
            server.end()
    differences = [text for audit in audits for text in audit.differences]
    slower = statistics.median(stormy) / statistics.median(calm) - 1
    show(
        [
            ("server", f"{'hung' if arguments.hang else 'dead'} for {arguments.seconds:.0f} s"),
            ("trials", str(arguments.trials)),
            ("exit code of the study", str(code)),
            ("what Optuna and MLflow differ in", "; ".join(differences) or "nothing"),
            ("points of epochs without and with the outage", f"{len(calm)}, {len(stormy)}"),
            ("caught up after the server's return in", f"{caught_up:.1f} s"),
            ("median epoch slower by", f"{slower:.1%}"),
        ]
    )
    return int(bool(code or differences))


if __name__ == "__main__":
    sys.exit(main())
