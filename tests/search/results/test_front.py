"""A real study of two objectives with a limit: its front, and what is exported of it."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from studies import differences, wave_study

from search.config import StudyConfig
from search.driver.study import StudySummary, run_study
from search.driver.tracking.store import CONTINUES, KIND, STUDY, open_client, search_runs, store_uri
from search.errors import StudyError
from search.messages import Outcome
from search.results.export import export_best
from search.results.report import write_report
from search.results.studies import load_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LIMIT_MS = 200.0


@pytest.fixture(scope="module")
def config(
    waves: Path, store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> StudyConfig:
    folder = tmp_path_factory.mktemp("front")
    (folder / "mlflow.db").write_bytes(store_template.read_bytes())
    return wave_study(
        waves,
        folder,
        objective={"metric": "accuracy", "also": ["latency_ms", "parameters"]},
        limits={"latency_ms": LIMIT_MS, "size_mb": 2.0},
        pruner={"name": "early", "epoch": 1, "keep": 0.5, "second_chances": True},
        budget={"trials": 14},
        training={"max_epochs": 2, "refit": False},
        workers={"count": 1},
    )


@pytest.fixture(scope="module")
def summary(config: StudyConfig) -> StudySummary:
    return run_study(config)


def test_every_trial_on_the_front_keeps_the_limits_and_is_beaten_by_none(
    summary: StudySummary, config: StudyConfig
) -> None:
    folder = config.storage.folder
    best = load_study("waves", folder).best_trials
    assert {row.number for row in summary.front} <= {trial.number for trial in best}
    values = {(row.value, row.latency_ms, row.parameter_count) for row in summary.front}
    assert values == {tuple(trial.values) for trial in best}
    for row in summary.front:
        assert 0 < (row.latency_ms or 0) <= LIMIT_MS
        assert 4 * (row.parameter_count or 0) <= 2 * 2**20
        assert Path(row.weights).is_file()
    assert differences(folder) == []
    oversized = [row for row in summary.rows if row.outcome is Outcome.OVERSIZED]
    assert all("limits.size_mb allows 524,288 weights" in row.reason for row in oversized)


def test_a_second_chance_is_in_both_stores_with_its_reason(
    summary: StudySummary, config: StudyConfig
) -> None:
    again = [row for row in summary.rows if row.continues is not None]
    client = open_client(store_uri(None, config.storage.folder))
    ids = [one.experiment_id for one in client.search_experiments()]
    runs = search_runs(client, ids, {KIND: "trial", STUDY: "waves"})
    told = {int(run.data.tags["lookback.trial"]): run.data.tags for run in runs}
    assert {number for number, tags in told.items() if CONTINUES in tags} == {
        row.number for row in again
    }
    for row in again:
        assert told[row.number][CONTINUES] == f"{row.continues:03d}"
        assert told[row.number]["promotion"].startswith(f"Continues trial {row.continues}: its ")
        assert (row.begun_at, row.own_epochs) == (1, 1)
    pruned = [row for row in summary.rows if row.outcome is Outcome.PRUNED]
    assert all("is not among the best 50%" in told[row.number]["reason"] for row in pruned)


def test_a_trial_of_the_front_is_exported_by_its_number(
    summary: StudySummary, config: StudyConfig
) -> None:
    assert summary.winner is not None
    folder = config.storage.folder
    chosen = next(row for row in reversed(summary.leaders) if row.weights and row != summary.winner)
    export = export_best("waves", folder=folder, formats=[], trial=chosen.number)
    assert export.folder == folder / "exports" / f"waves@trial_{chosen.number}"
    assert (export.trials, export.alias) == ((chosen.number,), "candidate")
    assert export.reason.startswith("a person chose this trial")
    assert export.milliseconds["model.keras"] <= LIMIT_MS
    facts = json.loads((export.folder / "preprocessing.json").read_text())
    assert facts["sequence_length"] == chosen.parameters["sequence_length"]
    card = (export.folder / "README.md").read_text()
    assert f"Chosen by a person of {len(summary.rows)} trials of study `waves`: trial" in card
    assert "The test targets were not looked at for this trial, and once for others." in card
    own = export_best("waves", folder=folder, formats=[])
    assert own.folder == folder / "exports" / "waves"
    assert (own.trials, own.alias) == ((summary.winner.number,), "champion")
    with pytest.raises(
        StudyError, match=r"trial must be the number of a complete trial\. Received: 99"
    ):
        export_best("waves", folder=folder, formats=[], trial=99)


def test_the_report_draws_a_study_of_several_objectives(
    summary: StudySummary, config: StudyConfig
) -> None:
    write_report("waves", folder=config.storage.folder)
    text = (config.storage.folder / "reports" / "waves.html").read_text()
    assert "Score by latency" in text
    assert "Hyperparameters side by side" in text


def test_the_summary_names_the_front(summary: StudySummary, config: StudyConfig) -> None:
    script = Path(__file__).parents[3] / "scripts" / "launch_study.py"
    study = config.storage.folder / "studies" / "waves.toml"
    done = subprocess.run(
        [sys.executable, str(script), str(study)], capture_output=True, text=True, check=True
    )
    assert "trial on the front" in done.stdout
    assert "scripts/export_best.py waves --trial NUMBER" in done.stdout.replace("\n", " ")


def test_optuna_alone_reads_the_study(config: StudyConfig, summary: StudySummary) -> None:
    storage = f"sqlite:///{config.storage.folder / 'optuna.db'}"
    study = optuna.load_study(study_name="waves", storage=storage)
    assert len(study.directions) == 3
    assert len(study.trials) == len(summary.rows)
