import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import expect, sync_playwright

from search.config import TrackingConfig
from search.driver.leaderboard import PALETTE, TrialRow, rank, write_study
from search.driver.tracking.mlflow_tracker import open_tracker
from search.driver.tracking.store import store_uri
from search.messages import CandidateBuilt, EpochReport, Outcome, TrialEnded
from search.results.browsing import find_study
from search.results.serving import HOST, choose_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SCRIPT = Path(__file__).parents[2] / "scripts" / "browse.py"
PARAMETERS = {"sequence_length": 64, "optimizer": "adam"}
ENDINGS = [
    TrialEnded(outcome=Outcome.COMPLETE, value=0.8125, best_epoch=1, epochs=2),
    TrialEnded(outcome=Outcome.PRUNED, value=0.25, epochs=2, reason="not in the best quarter"),
    TrialEnded(outcome=Outcome.COMPLETE, value=0.9375, best_epoch=1, epochs=2),
    TrialEnded(outcome=Outcome.OUT_OF_MEMORY, reason="the device is too small"),
    TrialEnded(outcome=Outcome.OVERTIME, value=0.1875, epochs=2, reason="too slow"),
]


def fill_store(folder: Path, study: str, direction: str) -> None:
    tracker = open_tracker(
        study=study,
        config=TrackingConfig(),
        folder=folder,
        tags={"lookback.direction": direction},
        params={"objective.metric": "accuracy"},
        say=print,
    )
    for number, ended in enumerate(ENDINGS):
        tracker.start_trial(number)
        parameters = {**PARAMETERS, "sequence_length": 60 + number}
        tracker.log_built(number, CandidateBuilt(parameters=parameters, parameter_count=1))
        for epoch in range(ended.epochs):
            best = (ended.value or 0.0) - 0.125 * (ended.epochs - 1 - epoch)
            tracker.log_epoch(
                number,
                EpochReport(
                    epoch=epoch,
                    metrics={"val_accuracy": best},
                    objective=best,
                    best=best,
                    seconds=1.0,
                ),
            )
        tracker.end_trial(number, ended)
    rows = [
        TrialRow(
            number=number,
            outcome=ended.outcome,
            value=ended.value,
            best_epoch=ended.best_epoch,
            epochs=ended.epochs,
            parameters={**PARAMETERS, "sequence_length": 60 + number},
        )
        for number, ended in enumerate(ENDINGS)
    ]
    tracker.log_study(
        metrics={"best_objective": 0.9375},
        description=write_study(rank(rows, direction), "accuracy"),
    )
    tracker.close("FINISHED")


@pytest.fixture
def folder(storage_folder: Path) -> Path:
    """A storage folder with two studies; ``har`` was begun last."""
    fill_store(storage_folder, "older", "minimize")
    fill_store(storage_folder, "har", "maximize")
    return storage_folder


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )


def as_rgb(colour: str) -> str:
    """Write a colour as a browser does."""
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgb({red}, {green}, {blue})"


@pytest.fixture
def browsing(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--storage.folder", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.terminate()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_link_shows_the_trials_of_the_newest_study_sorted_by_the_objective(
    browsing: subprocess.Popen[str], folder: Path, tmp_path: Path
) -> None:
    study = find_study(MlflowClient(store_uri(None, folder)), "har")
    assert browsing.stdout.readline() == "Starting the MLflow UI.\n"
    line = browsing.stdout.readline()
    assert line.startswith("Study har: http://127.0.0.1:")
    link = line.split()[-1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.goto(link)
        names = page.get_by_role("link", name=re.compile("^trial "))
        expect(names).to_have_text(
            ["trial 002", "trial 000", "trial 001", "trial 004", "trial 003"], timeout=60_000
        )
        scores = page.get_by_role("gridcell").filter(has_text=re.compile(r"^0\.\d+$"))
        expect(scores).to_have_text(["0.9375", "0.8125", "0.25", "0.1875"])
        for text in ("pruned: not in the best quarter", "out_of_memory: the device is too small"):
            expect(page.get_by_text(text)).to_be_visible()
        for column in ("objective", "optimizer", "sequence_length"):
            expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
        expect(page.get_by_text("5 matching runs")).to_be_visible()
        page.screenshot(path=tmp_path / "browse.png")
        # The same view's charts: chosen beforehand, in the colours of the outcomes.
        page.goto("about:blank")
        page.goto(link.replace("compareRunsMode=TABLE", "compareRunsMode=CHART"))
        section = page.get_by_text(re.compile("^Study"))
        expect(section).to_be_visible(timeout=60_000)
        expect(section.locator("..")).to_contain_text("(4)")
        lines = page.locator(".js-plotly-plot .scatterlayer .js-line")
        expect(lines.nth(3)).to_be_attached(timeout=60_000)
        strokes = {
            lines.nth(n).evaluate("line => getComputedStyle(line).stroke")
            for n in range(lines.count())
        }
        outcomes = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.OVERTIME)
        assert strokes >= {as_rgb(PALETTE[outcome]) for outcome in outcomes}
        expect(page.get_by_text("Parallel Coordinates").first).to_be_visible()
        expect(page.get_by_text("val_accuracy").first).to_be_visible()
        page.screenshot(path=tmp_path / "charts.png")
        # The study's own run shows the leaderboard, best first, where its description stands.
        page.goto("about:blank")
        page.goto(link.partition("?")[0] + f"/{study.run_id}")
        board = page.locator("table").filter(has_text="0.9375").first
        expect(board).to_be_visible(timeout=60_000)
        scores = board.get_by_role("cell").filter(has_text=re.compile(r"^0\.\d{4}$"))
        expect(scores).to_have_text(["0.9375", "0.8125"])
        page.screenshot(path=tmp_path / "study.png")
        browser.close()

    browsing.send_signal(signal.SIGINT)
    _, errors = browsing.communicate()
    port = int(re.search(r":(\d+)/", link)[1])
    assert browsing.returncode == 0
    assert errors == ""
    assert choose_port(port) == port


def test_without_a_server_only_the_link_is_printed(folder: Path) -> None:
    done = run_script("older", "--storage.folder", str(folder), "--no-server", "--port", "7000")

    assert done.returncode == 0
    assert done.stdout.startswith("Study older: http://127.0.0.1:7000/#/experiments/")
    assert done.stdout.count("\n") == 1


def test_an_unknown_study_is_one_line_with_the_nearest_name(folder: Path) -> None:
    done = run_script("hat", "--storage.folder", str(folder))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "study must name a study of this store. Received: study='hat'. Did you mean 'har'?\n"
    )


def test_a_missing_store_is_one_line_and_nothing_is_created(tmp_path: Path) -> None:
    done = run_script("--storage.folder", str(tmp_path / "missing"))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storage.folder must hold a tracking store.")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_taken_port_that_was_asked_for_is_one_line(folder: Path) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = str(listener.getsockname()[1])
        done = run_script("--storage.folder", str(folder), "--port", port)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("port must be free: another program listens on it.")
    assert done.stderr.count("\n") == 1
