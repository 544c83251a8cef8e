"""One page holds what is known of a study, and draws it without a network."""

import errno
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from playwright.sync_api import sync_playwright

from search.config import make_config
from search.driver.decision import Repeat, decide
from search.driver.leaderboard import TrialRow
from search.driver.provenance import dump_settings
from search.driver.storage import open_storage
from search.driver.tracking.mlflow_tracker import open_tracker
from search.driver.tracking.store import store_uri
from search.driver.trials import RECORD, STATES
from search.errors import StudyError, TrackingError
from search.messages import CandidateBuilt, EpochReport, Outcome, TrialEnded
from search.results.browsing import find_study
from search.results.figures import (
    PICTURES,
    draw_curves,
    draw_importances,
    draw_latencies,
    draw_lengths,
    draw_progress,
    draw_sizes,
    draw_time,
)
from search.results.findings import (
    StudyRecord,
    describe_epoch,
    describe_immune,
    describe_pruning,
    find_edges,
)
from search.results.fresh import FreshProcess, ProcessFailed
from search.results.refreshing import keep_report
from search.results.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SCRIPT = Path(__file__).parents[3] / "scripts" / "report_study.py"
BASELINES = {"majority class": 0.25, "<b>line</b>": 0.5}
TABLES = {  # what tasks of every kind tell of the test targets
    "confusion matrix": [["true class", "a", "b"], [["a", 5, 1], ["b", 2, 7]]],
    "error by step ahead": [["step", "mae"], [[1, 0.1], [2, 0.2]]],
    "forecasts": [
        ["target", "step", "variable", "truth", "forecast"],
        [[0, 1, "oil", 1.0, 1.5], [0, 2, "oil", 2.0, 2.5]],
    ],
    "predictions": [["target", "variable", "truth", "prediction"], [[0, "oil", 1.0, 1.5]]],
    "score over time": [
        ["recording", "row", "score", "anomalous"],
        [[4, 10, 0.5, 0], [4, 11, 1.5, 1]],
    ],
    "frames": [
        ["target", "what", "step", "line", "0", "1"],
        [
            [2, what, step, line, 0.1 * step, 0.2]
            for what in ("truth", "prediction")
            for step in (1, 2)
            for line in (0, 1)
        ],
    ],
}
# outcome, the curve, sequence length, weights, learning rate
TRIALS: list[tuple[Outcome | None, list[float], int, int, float]] = [
    (Outcome.COMPLETE, [0.4, 0.6, 0.5], 8, 5000, 0.01),
    (Outcome.COMPLETE, [0.5, 0.7, 0.8], 16, 9000, 0.001),
    (Outcome.PRUNED, [0.3], 12, 700, 0.02),
    (Outcome.COMPLETE, [0.6, 0.7, 0.7], 8, 2000, 0.1),
    (Outcome.DIVERGED, [], 10, 100, 0.05),
    (Outcome.COMPLETE, [0.3, 0.2, 0.5], 24, 4000, 0.003),
    (None, [0.55], 9, 300, 0.002),
]


def make_row(number: int) -> TrialRow:
    outcome, curve, length, weights, _ = TRIALS[number]
    return TrialRow(
        number=number,
        outcome=outcome,
        value=max(curve) if curve else None,
        best_epoch=curve.index(max(curve)) if curve else None,
        epochs=len(curve),
        parameters={"sequence_length": length, "rate": TRIALS[number][-1]},
        parameter_count=weights,
        seconds=60.0 * len(curve),
        latency_ms=weights / 1000 if outcome is Outcome.COMPLETE else None,
    )


def fill(study: optuna.Study) -> None:
    """Let a study hold the trials."""
    for number, (outcome, _, length, _, rate) in enumerate(TRIALS):
        study.enqueue_trial({"sequence_length": length, "rate": rate})
        trial = study.ask()
        trial.suggest_int("sequence_length", 8, 64)
        trial.suggest_float("rate", 1e-3, 1.0, log=True)
        if outcome is not None:
            row = make_row(number)
            trial.set_user_attr(RECORD, asdict(row))
            state = STATES[outcome]
            study.tell(trial, row.value if outcome is Outcome.COMPLETE else None, state=state)


@pytest.fixture
def record() -> StudyRecord:
    study = optuna.create_study(direction="maximize")
    fill(study)
    return StudyRecord(
        study=study,
        metric="accuracy",
        rows=[make_row(number) for number in range(len(TRIALS))],
        curves={number: curve for number, (_, curve, *_) in enumerate(TRIALS) if curve},
        baselines=BASELINES,
    )


def lines(figure: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}


def test_the_best_so_far_counts_epochs_and_complete_trials_alone(record: StudyRecord) -> None:
    drawn = lines(draw_progress(record).figure)
    assert drawn["best so far"] == ([3, 6, 10, 13], [0.6, 0.8, 0.8, 0.8])
    assert drawn["pruned"] == ([7], [0.3])
    assert drawn["running"] == ([14], [0.55])
    assert "diverged" not in drawn


def test_every_curve_has_the_colour_of_its_outcome(record: StudyRecord) -> None:
    traces = draw_curves(record).figure.data
    assert [list(trace.y) for trace in traces] == [curve for _, curve, *_ in TRIALS if curve]
    assert len({trace.line.color for trace in traces}) == 3
    assert [trace.name for trace in traces if trace.showlegend] == ["complete", "pruned", "running"]


def test_on_the_front_no_smaller_candidate_is_as_good(record: StudyRecord) -> None:
    drawn = lines(draw_sizes(record).figure)
    assert drawn["Pareto front"] == ([9000, 2000], [0.8, 0.7])
    assert sorted(drawn["complete"][0]) == [2000, 4000, 5000, 9000]


def test_on_the_front_no_faster_candidate_is_as_good(record: StudyRecord) -> None:
    drawn = lines(draw_latencies(record).figure)
    assert drawn["Pareto front"] == ([9.0, 2.0], [0.8, 0.7])
    assert sorted(drawn["complete"][0]) == [2.0, 4.0, 5.0, 9.0]


def test_lengths_and_time_are_drawn(record: StudyRecord) -> None:
    (trace,) = draw_lengths(record).figure.data
    assert sorted(zip(trace.x, trace.y, strict=True)) == [(8, 0.6), (8, 0.7), (16, 0.8), (24, 0.5)]
    (bars,) = draw_time(record).figure.data
    minutes = dict(zip(bars.y, bars.x, strict=True))
    assert minutes == {"complete": 12, "pruned": 1, "diverged": 0, "running": 1}


def test_importances_say_on_how_many_trials_they_rest(record: StudyRecord) -> None:
    picture = draw_importances(record)
    assert "on 4 complete trials" in picture.text
    assert picture.figure is not None


def test_the_best_value_at_the_edge_of_its_range_is_named(record: StudyRecord) -> None:
    # By the scale that it is searched on: 0.001 of 0.001 to 1, and 16 of 8 to 64 is in the middle.
    assert list(find_edges(record)) == ["rate = 0.001 is at the low end of its range, 0.001 to 1."]


def test_what_pruning_saved_is_measured_by_complete_trials(record: StudyRecord) -> None:
    assert describe_pruning(record).startswith(
        "1 of 7 trials were pruned after 1 epochs; complete ones took 3.0 on average, so that "
        "about 2 epochs were saved"
    )


def test_a_pruned_trial_that_another_one_goes_on_with_saved_nothing(record: StudyRecord) -> None:
    second = TrialRow(
        number=7, outcome=Outcome.COMPLETE, value=0.6, epochs=3, continues=2, begun_at=1
    )
    went_on = replace(record, rows=[*record.rows, second])
    assert describe_pruning(went_on) == "Every trial that was pruned went on later."
    third = replace(second, outcome=Outcome.PRUNED, epochs=2)
    assert describe_pruning(replace(record, rows=[*record.rows, third])).startswith(
        "1 of 8 trials were pruned after 2 epochs (1 more went on later); complete ones took 3.0 on "
        "average, so that about 1 epochs were saved"
    )


def make_record(values: list[float], weights: list[int]) -> StudyRecord:
    """A study of complete trials with these values and weights, after finalists took 90 s more."""
    study = optuna.create_study(direction="maximize")
    domain = optuna.distributions.IntDistribution(0, 4)
    for number, value in enumerate(values):
        study.add_trial(
            optuna.trial.create_trial(
                value=value, params={"units:index": number}, distributions={"units:index": domain}
            )
        )
    study.set_user_attr("repeats", [{"seconds": 60.0}, {"seconds": 30.0}])
    rows = [
        TrialRow(
            number=number,
            outcome=Outcome.COMPLETE,
            value=value,
            parameter_count=weights[number],
            parameters={"units": 16 * 2**number},
            seconds=1.0,
        )
        for number, value in enumerate(values)
    ]
    return StudyRecord(study=study, metric="accuracy", rows=rows, curves={}, baselines={})


def test_how_far_the_first_judged_epoch_tells_the_end_is_said() -> None:
    study = optuna.create_study(direction="maximize")
    ends = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]

    def make(early: list[float]) -> StudyRecord:
        for value, first in zip(ends, early, strict=True):
            study.add_trial(
                optuna.trial.create_trial(value=value, intermediate_values={0: 0.0, 1: first})
            )
        numbers = range(len(study.trials) - len(ends), len(study.trials))
        rows = [
            TrialRow(number=number, outcome=Outcome.COMPLETE, value=value)
            for number, value in zip(numbers, ends, strict=True)
        ]
        return StudyRecord(study=study, metric="accuracy", rows=rows, curves={}, baselines={})

    same = make([value / 2 for value in ends])
    assert describe_epoch(same, 2) == (
        "Among 8 complete trials the ranks after epoch 2, when trials are first judged, and at the "
        "end correlate by 1.00."
    )
    assert describe_epoch(same, 1) == ""  # after the first epoch all are alike
    assert describe_epoch(same, 3) == ""  # nobody reported a third
    turned = describe_epoch(make([-value for value in ends]), 2)
    assert turned.endswith("by -1.00. That is little: a later pruner.epoch may lose less.")


def test_what_pruning_would_have_lost_is_said_of_immune_trials() -> None:
    record = make_record([0.5, 0.9, 0.7], [1] * 3)
    assert describe_immune(record) == ""
    spared = replace(record.rows[1], spared="too bad")
    lost = replace(record, rows=[record.rows[0], spared, record.rows[2]])
    assert describe_immune(lost) == (
        "1 complete trial would have been pruned, were they not immune (pruner.immune): the best of "
        "them, trial 1, ended at 0.9, the best other, trial 2, at 0.7: pruned, it would have been lost."
    )
    spared = replace(record.rows[0], spared="too bad")
    assert describe_immune(replace(record, rows=[spared, *record.rows[1:]])).endswith("at 0.9.")


def test_of_equally_good_trials_the_smaller_stands_on_the_front() -> None:
    record = make_record([0.8, 0.8, 0.6], [9000, 2000, 500])
    front = draw_sizes(record).figure.data[1]
    assert (list(front.x), list(front.y)) == ([2000, 500], [0.8, 0.6])


def test_trials_that_all_score_alike_tell_of_no_importance() -> None:
    assert draw_importances(make_record([1.0] * 5, [1] * 5)).figure is None
    assert draw_importances(make_record([0.1, 0.2, 0.3, 0.4, 0.9], [1] * 5)).figure is not None


def test_the_time_of_the_finalists_trainings_is_told() -> None:
    (bar,) = draw_time(make_record([0.5], [1])).figure.data
    assert dict(zip(bar.y, bar.x, strict=True)) == {
        "complete": pytest.approx(1 / 60),
        "trained again": 1.5,
    }


def test_an_edge_is_told_by_values_and_not_by_what_optuna_was_asked_for() -> None:
    record = make_record([0.1, 0.2, 0.3, 0.4, 0.9], [1] * 5)
    # five places are too few to have an edge
    assert list(find_edges(record)) == []
    study = optuna.create_study(direction="maximize")
    domains = {
        "units:index": optuna.distributions.IntDistribution(0, 7),
        "momentum:mirrored": optuna.distributions.FloatDistribution(0.5, 0.99, log=True),
        "own:index": optuna.distributions.IntDistribution(1, 10),
    }
    domains["dropout"] = optuna.distributions.FloatDistribution(0.0, 0.5)  # at its natural end
    answers = {"units:index": 7, "momentum:mirrored": 0.5, "own:index": 1, "dropout": 0.0}
    study.add_trial(optuna.trial.create_trial(value=1.0, params=answers, distributions=domains))
    row = TrialRow(
        number=0,
        outcome=Outcome.COMPLETE,
        value=1.0,
        parameters={"units": 256, "momentum": 0.99, "own:index": 1, "dropout": 0.0},
    )
    found = StudyRecord(study=study, metric="accuracy", rows=[row], curves={}, baselines={})
    assert list(find_edges(found)) == [
        "units = 256 is at the high end of its range.",
        "momentum = 0.99 is at the high end of its range, 0.5 to 0.99.",
        "own:index = 1 is at the low end of its range, 1 to 10.",
    ]


def test_a_study_that_has_just_begun_is_drawn_as_far_as_it_can_be() -> None:
    study = optuna.create_study(direction="minimize")
    empty = StudyRecord(study=study, metric="mae", rows=[], curves={}, baselines={})
    for draw in PICTURES:
        assert draw(empty).figure is None
    assert list(find_edges(empty)) == []
    assert describe_pruning(empty) == "No trial was pruned."


def log_trial(tracker: Any, number: int) -> None:
    """Tell MLflow of a trial as the driver does."""
    outcome, curve, *_ = TRIALS[number]
    row = make_row(number)
    tracker.start_trial(number)
    built = CandidateBuilt(parameters=row.parameters, parameter_count=row.parameter_count or 0)
    tracker.log_built(number, built)
    for epoch, value in enumerate(curve):
        best = max(curve[: epoch + 1])
        metrics = {"val_accuracy": value}
        tracker.log_epoch(
            number,
            EpochReport(epoch=epoch, metrics=metrics, objective=value, best=best, seconds=1.0),
        )
    if outcome is not None:
        tracker.end_trial(
            number,
            TrialEnded(
                outcome=outcome, value=row.value, epochs=row.epochs, parameters=row.parameters
            ),
        )


@pytest.fixture
def folder(storage_folder: Path) -> Path:
    """A storage folder that holds the trials, a decision and a look at the test set."""
    config = make_config({"name": "fights", "objective": {"metric": "accuracy"}})
    study = optuna.create_study(
        storage=open_storage(storage_folder), study_name="fights", direction="maximize"
    )
    fill(study)
    tracker = open_tracker(
        study="fights", config=config.tracking, folder=storage_folder, tags={}, params={}, say=print
    )
    for number in range(len(TRIALS)):
        log_trial(tracker, number)
    tracker.close("FINISHED")
    repeats = [
        Repeat(number=number, repeat=repeat, seed=0, outcome="complete", value=value + repeat / 100)
        for number, value in ((1, 0.71), (0, 0.65))
        for repeat in range(3)
    ]
    decision = decide([make_row(1), make_row(0)], repeats, "maximize", config)
    notes = {
        "config": dump_settings(config),
        "baselines": {name: {"accuracy": value} for name, value in BASELINES.items()},
        "winner": asdict(decision),
        "test": {
            "looks": 1,
            "members": [{"number": 1}],
            "scores": {"accuracy": 0.6875, "log_loss": 0.5},
            "baselines": {"majority class": {"accuracy": 0.25}},
            "tables": TABLES,
        },
        "tables": {
            "1": {"confusion matrix": [["true class", "a", "b"], [["a", 5, 1], ["b", 2, 7]]]}
        },
    }
    for name, value in notes.items():
        study.set_user_attr(name, value)
    return storage_folder


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_draws_every_figure_without_a_network(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "fights", "--storage.folder", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    path = folder / "reports" / "fights.html"
    assert done.stdout == f"{path}: 15 figures.\n"
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_context(offline=True).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_function(
            "document.querySelectorAll('.js-plotly-plot .main-svg').length >= 15 * 2"
        )
        text = page.locator("body").inner_text()
        drawn = page.locator(".js-plotly-plot").count()
        page.screenshot(path=tmp_path / "report.png", full_page=True)
        browser.close()
    assert drawn == 15
    for title in ("Confusion matrix", "Anomaly score over time", "Predicted frames"):
        assert title in text
    assert said == [path.as_uri()]
    assert "Trial 1 has accuracy 0.7200" in text
    assert "On the test set, looked at once" in text
    assert "0.6875" in text
    assert "naive: <b>line</b>" in text
    assert "rate = 0.001 is at the low end of its range" in text

    client = MlflowClient(store_uri(None, folder))
    run = find_study(client, "fights")
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["report.html"]
    shown = {
        trial.data.tags["mlflow.runName"]: [
            file.path for file in client.list_artifacts(trial.info.run_id)
        ]
        for trial in client.search_runs([run.experiment_id])
    }
    assert [name for name, files in shown.items() if "pictures.html" in files] == ["trial 001"]


def test_the_page_is_written_while_the_study_runs(folder: Path) -> None:
    path = folder / "reports" / "fights.html"
    with keep_report("fights", folder=folder, uri=None, seconds=0.01):
        while not path.exists():  # the test's time limit ends it
            time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "report"]


def test_a_study_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    another = threading.Event()

    class Counted(FreshProcess):
        def __init__(self, function: str) -> None:
            if not tries:
                tries.append("")
                raise OSError(errno.ENOSPC, "No space left on device")
            super().__init__(function)

        def call(self, **named: Any) -> Any:
            tries.append(named["name"])
            if len(tries) == 3:
                raise ProcessFailed("function", -9, "")
            if len(tries) == 4:
                another.set()
            return super().call(**named)

    monkeypatch.setattr("search.results.refreshing.FreshProcess", Counted)
    with keep_report("fights", folder=tmp_path, uri=None, seconds=0.01):
        assert another.wait(200)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_the_artifact_store_does_not_take_is_written_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks_library(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'boto3'")

    monkeypatch.setattr(MlflowClient, "log_text", lacks_library)
    report = write_report("fights", folder=folder)
    assert report.not_kept == "ModuleNotFoundError: No module named 'boto3'"
    assert report.path.is_file()

    def is_away(*_: object) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr(MlflowClient, "get_run", is_away)
    with pytest.raises(TrackingError, match="no answer"):
        write_report("fights", folder=folder)


def test_an_unknown_study_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"study='fight'\. Did you mean 'fights'"):
        write_report("fight", folder=folder)
    assert not (folder / "reports").exists()
