"""Studies from end to end: real data, real Keras in real processes, real stores."""

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import optuna
import pytest
from fakes import QuietView
from mlflow import MlflowClient
from studies import differences, small_study, wave_study

from search.driver.loop import Ending
from search.driver.mirror import MirroredStorage
from search.driver.storage import open_storage, study_lock
from search.driver.study import StudySummary, _write_study_file, run_study
from search.driver.tracking.store import KIND, STUDY, search_runs, store_uri
from search.driver.trials import Trials, read_row
from search.errors import ConfigError, DataError, ServiceAway, StudyError
from search.messages import Outcome
from search.results.audit import audit_study
from search.results.studies import load_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def read_study_tags(folder: Path) -> dict[str, str]:
    client = MlflowClient(store_uri(None, folder))
    experiment = client.get_experiment_by_name("lookback")
    assert experiment is not None
    (run,) = search_runs(client, [experiment.experiment_id], {KIND: "study", STUDY: "waves"})
    tags: dict[str, str] = run.data.tags
    return tags


WINNER = {"candidates": 2, "repeats": 2}
USER_SPACES = Path(__file__).parents[1] / "worker"


@pytest.fixture(scope="module")
def finished(
    waves: Path, store_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudySummary, QuietView]:
    """A finished study on two worker processes."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "mlflow.db").write_bytes(store_template.read_bytes())
    view = QuietView()
    return run_study(wave_study(waves, folder, winner=WINNER), view), view


def test_a_study_ends_with_scores_on_validation_and_one_on_test(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    assert summary.ending is Ending.FINISHED
    assert [row.outcome for row in summary.rows] == [Outcome.COMPLETE] * 4
    assert summary.leaders[0].value == max(row.value or 0 for row in summary.rows)
    assert set(summary.test) == {"accuracy", "macro_f1", "log_loss", "auroc"}
    assert summary.test_baselines.keys() == summary.baselines.keys()


def test_the_best_weights_are_kept_and_the_others_removed(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    folder = summary.config.storage.folder / "checkpoints" / "waves"
    kept = {Path(row.weights) for row in summary.leaders if row.weights}
    assert {row.number for row in summary.leaders if row.weights} == {
        *(row.number for row in summary.leaders[:3]),
        0,
    }
    assert summary.winner is not None
    refit = folder / f"refit_{summary.winner.number:05d}.npz"
    assert set(folder.iterdir()) == {*kept, refit}


def test_the_best_and_the_defaults_are_trained_again_and_the_best_mean_wins(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, view = finished
    storage = MirroredStorage(
        open_storage(summary.config.storage.folder), place=Path(), say=view.say
    )
    notes = optuna.load_study(study_name="waves", storage=storage).user_attrs
    numbers = {row.number for row in summary.leaders[:2]} | {0}
    trained = {(one["number"], one["repeat"]): one for one in notes["repeats"]}
    assert trained.keys() == {(number, repeat) for number in numbers for repeat in range(2)}
    assert len({one["seed"] for one in trained.values()}) == len(trained)
    # Groups are drawn anew: the same targets for all trials of a repeat, others in the next one.
    assert all(one["overlap"] > 0 for one in trained.values())
    naive = {
        (one["repeat"], one["naive"]["logistic regression on window statistics"])
        for one in notes["repeats"]
    }
    assert len(naive) == 2
    means = {
        number: np.mean([trained[number, repeat]["value"] for repeat in range(2)])
        for number in numbers
    }
    assert summary.winner is not None
    assert means[summary.winner.number] == max(means.values())
    assert any(text == summary.decision["sentence"] for text in view.said)


def test_every_training_after_the_search_is_a_run(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    address = store_uri(None, summary.config.storage.folder)
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("lookback")
    assert experiment is not None
    runs = search_runs(client, [experiment.experiment_id], {KIND: "repeat", STUDY: "waves"})
    assert len(runs) == 2 * len(summary.decision["finalists"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    refits = search_runs(client, [experiment.experiment_id], {KIND: "refit", STUDY: "waves"})
    assert [run.info.status for run in refits] == ["FINISHED"]
    (study,) = search_runs(client, [experiment.experiment_id], {KIND: "study", STUDY: "waves"})
    assert summary.winner is not None
    assert study.data.tags["winner"] == str(summary.winner.number)
    assert study.data.tags["mlflow.note.content"].startswith(summary.decision["sentence"])


def test_optuna_and_mlflow_agree(finished: tuple[StudySummary, QuietView]) -> None:
    summary, _ = finished
    assert differences(summary.config.storage.folder) == []
    assert len(audit_study("waves", folder=summary.config.storage.folder)) == 5


def test_a_finished_study_says_so_and_does_nothing(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    view = QuietView()
    again = run_study(summary.config, view)
    assert again.leaders == summary.leaders
    assert again.test == summary.test
    assert any("is finished" in text for text in view.said)
    assert not any("workers" in text for text in view.said)


def test_a_finished_study_goes_on_with_a_larger_budget(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    folder = summary.config.storage.folder
    config = wave_study(summary.config.data.path, folder, budget={"trials": 6}, winner=WINNER)
    more = run_study(config, QuietView())
    assert more.winner is not None
    assert len(more.rows) == 6
    assert len({json.dumps(dict(row.parameters)) for row in more.rows}) == 6
    assert differences(folder) == []
    note = read_study_tags(folder)["mlflow.note.content"]
    assert note.startswith(more.decision["sentence"])
    assert "On the test targets" in note


@pytest.mark.parametrize("last", ["winner", "test"])
def test_a_driver_that_dies_as_it_has_noted_a_result_has_told_mlflow(
    waves: Path, storage_folder: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    config = wave_study(waves, storage_folder, budget={"trials": 2}, winner=WINNER)
    note = Trials.note

    def die_after(trials: Trials, name: str, value: object) -> None:
        note(trials, name, value)
        if name == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trials, "note", die_after)
        with pytest.raises(KeyboardInterrupt):
            run_study(config, QuietView())
    summary = run_study(config, QuietView())
    tags = read_study_tags(storage_folder)
    assert tags["decision"] == summary.decision["sentence"]
    assert tags["test_looks"] == "1"
    assert not (storage_folder / "checkpoints" / "waves" / "repeats").exists()


def test_a_driver_that_dies_as_it_has_made_the_study_s_run_can_be_launched_again(
    waves: Path, storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = wave_study(waves, storage_folder, budget={"trials": 1}, winner={"repeats": 0})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("search.driver.tracking.mlflow_tracker.Spool", die)
        with pytest.raises(KeyboardInterrupt):
            run_study(config, QuietView())
    assert run_study(config, QuietView()).ending is Ending.FINISHED
    assert differences(storage_folder) == []


def test_a_report_is_read_while_the_driver_writes(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    folder = summary.config.storage.folder
    with closing(sqlite3.connect(folder / "optuna.db")) as driver:
        driver.execute("BEGIN IMMEDIATE")
        driver.execute("UPDATE studies SET study_name = study_name")
        assert load_study("waves", folder).trials


def test_a_study_stays_in_the_project_that_holds_its_runs(
    finished: tuple[StudySummary, QuietView],
) -> None:
    summary, _ = finished
    settings = {"budget": {"trials": 9}, "winner": WINNER, "tracking": {"project": "other"}}
    folder = summary.config.storage.folder
    with pytest.raises(StudyError, match=r"tracking\.project must stay .* begun with 'lookback'"):
        run_study(wave_study(summary.config.data.path, folder, **settings), QuietView())


def test_where_labels_are_noise_the_winner_is_no_better_than_chance(
    storage_folder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    labels = np.tile([0, 1], 80)
    np.savez(path, x=rng.normal(size=(160, 8, 2)).astype("float32"), y=labels)
    config = wave_study(
        path,
        storage_folder,
        data={"source": "arrays", "path": path},
        split={"method": "stratified"},
        training={"max_epochs": 10},
        budget={"trials": 6},
        winner={"candidates": 2, "repeats": 3},
        workers={"count": 1},  # one draw of noise, the same every time: one in 25 deceives
        seed=1,
    )
    summary = run_study(config, QuietView())
    mean = summary.decision["means"][str(summary.decision["trial"])]
    assert mean["low"] < 0.5 < mean["high"]
    assert summary.decision["naive"]["low"] < 0
    assert "not shown to be better than" in summary.decision["sentence"]
    # What the search promised was luck, and it is said how much of it.
    best = summary.leaders[0].value
    assert best is not None
    assert best > 0.5
    assert summary.winner is not None
    assert summary.decision["gap"] == pytest.approx(summary.winner.value - mean["value"])


def test_what_trials_cost_is_kept(finished: tuple[StudySummary, QuietView]) -> None:
    summary, _ = finished
    assert all(row.cost and row.cost.work > 0 for row in summary.rows)
    assert all(row.epoch_seconds and row.epoch_seconds > 0 for row in summary.rows)
    stored = load_study(summary.config.name, summary.config.storage.folder)
    kept = [read_row(trial) for trial in stored.trials[: len(summary.rows)]]
    assert [row.cost for row in kept] == [row.cost for row in summary.rows]
    assert [row.epoch_seconds for row in kept] == [row.epoch_seconds for row in summary.rows]


def test_fewer_workers_are_started_where_there_is_no_room_for_more(
    waves: Path, storage_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = wave_study(
        waves,
        storage_folder,
        budget={"trials": 1},
        training={"max_epochs": 1, "refit": False},
        winner={"repeats": 0},
        workers={"count": "auto"},
    )
    monkeypatch.setattr("search.driver.study.choose_slots", lambda count: 2)
    monkeypatch.setattr("search.driver.study.free_memory_mb", lambda: 0.001)
    view = QuietView()
    summary = run_study(config, view)
    assert summary.ending is Ending.FINISHED
    assert any(text.startswith("Starting 1 workers in place of 2: ") for text in view.said)


def test_a_study_in_half_precision_keeps_its_weights_and_scores_in_single(
    waves: Path, storage_folder: Path
) -> None:
    config = wave_study(
        waves,
        storage_folder,
        budget={"trials": 1},
        training={"max_epochs": 4, "precision": "mixed_bfloat16"},
        winner={"repeats": 0},
    )
    summary = run_study(config, QuietView())
    assert summary.winner is not None
    with np.load(summary.winner.weights) as weights:
        assert {weights[name].dtype.name for name in weights.files} == {"float32"}
    assert summary.test["accuracy"] > summary.test_baselines["majority class"]["accuracy"]


def test_a_finished_studys_best_are_compared_further_on_demand(
    waves: Path, storage_folder: Path
) -> None:
    few = {"budget": {"trials": 2}, "training": {"max_epochs": 1}}
    first = run_study(wave_study(waves, storage_folder, **few), QuietView())
    assert first.decision == {}
    assert first.winner == first.leaders[0]
    for repeats in (1, 2):
        view = QuietView()
        winner = {"candidates": 1, "repeats": repeats}
        further = run_study(wave_study(waves, storage_folder, winner=winner, **few), view)
        # What was trained for one repeat is not trained again for two.
        again = [text for text in view.said if " again, training " in text]
        assert len(again) == len(further.decision["finalists"])
        assert further.decision["repeats"] == repeats


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"seed": 5}, r"^seed must stay", id="seed"),
        pytest.param({"training": {"max_epochs": 9}}, r"^training must stay", id="training"),
    ],
)
def test_a_study_is_not_continued_with_other_settings(
    finished: tuple[StudySummary, QuietView], settings: dict[str, object], message: str
) -> None:
    summary, _ = finished
    config = wave_study(summary.config.data.path, summary.config.storage.folder, **settings)
    with pytest.raises(StudyError, match=message):
        run_study(config, QuietView())


def test_a_study_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_study(tmp_path)
    whole = _write_study_file(config, tmp_path)

    def write_half(path: Path, text: str, **_: str) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        _write_study_file(config, tmp_path)
    assert (tmp_path / "small.toml").read_text() == whole


def test_a_second_driver_is_refused(finished: tuple[StudySummary, QuietView]) -> None:
    summary, _ = finished
    with (
        study_lock(summary.config.storage.folder, "waves"),
        pytest.raises(StudyError, match=r"process \d+"),
    ):
        run_study(summary.config, QuietView())


@pytest.mark.parametrize(
    ("space", "arguments"),
    [
        pytest.param("user_spaces:build_stack", {}, id="a loop of layers"),
        pytest.param("user_spaces:ConditionalModel", {"width": 8}, id="conditional_scope"),
        pytest.param("user_spaces:CONDITIONAL", {}, id="an instance"),
        pytest.param("user_spaces:OwnFit", {}, id="a fit of its own"),
    ],
)
def test_a_hypermodel_written_for_kerastuner_runs_unchanged(
    waves: Path,
    storage_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    space: str,
    arguments: dict[str, object],
) -> None:
    monkeypatch.syspath_prepend(USER_SPACES)
    config = wave_study(
        waves, storage_folder, space=space, space_arguments=arguments, budget={"trials": 3}
    )
    summary = run_study(config, QuietView())
    assert [row.outcome for row in summary.rows] == [Outcome.COMPLETE] * 3
    assert differences(storage_folder) == []


def test_kerastuners_own_hyperresnet_runs_unchanged(storage_folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 10)
    images = rng.normal(size=(40, 32, 32, 3)) + labels[:, None, None, None]
    path = tmp_path / "images.npz"
    np.savez(path, x=images.astype("float32"), y=labels)
    config = wave_study(
        path,
        storage_folder,
        data={"source": "arrays", "path": path},
        split={"method": "stratified"},
        space="keras_tuner.applications:HyperResNet",
        training={"max_epochs": 1, "refit": False},
        limits={"parameters": 50_000_000},
        budget={"trials": 1},
        workers={"count": 1},
    )
    summary = run_study(config, QuietView())
    assert [row.outcome for row in summary.rows] == [Outcome.COMPLETE]
    assert summary.rows[0].parameters["version"] == "v2"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        pytest.param({"space": "sensr"}, ConfigError, r"^space must .*'sensor'", id="space"),
        pytest.param(
            {"space": "user_spaces:raises"},
            ConfigError,
            r"NameError.*user_spaces.py, line",
            id="bug",
        ),
        pytest.param(
            {"space": "user_spaces:wrong_width"}, ConfigError, r"each of 4 classes", id="width"
        ),
        pytest.param(
            {"space": "user_spaces:uncompiled"}, ConfigError, r"a compiled model", id="uncompiled"
        ),
        pytest.param(
            {"space": "user_spaces:wrong_loss"}, ConfigError, r"must be buildable", id="loss"
        ),
        pytest.param({"objective": {"metric": "acuracy"}}, ConfigError, r"'accuracy'", id="metric"),
        pytest.param(
            {"objective": {"metric": "accuracy", "direction": "minimize"}},
            ConfigError,
            r"objective.direction must be 'maximize'",
            id="direction",
        ),
        pytest.param(
            {"sequence_length": {"high": 999}},
            DataError,
            r"sequence_length\.high must fit into every recording",
            id="length",
        ),
        pytest.param({"limits": {"parameters": 10}}, ConfigError, r"limits.parameters", id="size"),
        pytest.param(
            {"tracking": {"uri": "http://127.0.0.1:9"}},
            ServiceAway,
            r"tracking.uri",
            id="tracking",
        ),
    ],
)
def test_a_mistake_is_told_before_the_first_trial_and_leaves_no_study(
    waves: Path,
    storage_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.syspath_prepend(USER_SPACES)
    config = wave_study(waves, storage_folder, **{"workers": {"count": 1}, **settings})
    with pytest.raises(error, match=message):
        run_study(config, QuietView())
    storage = MirroredStorage(open_storage(storage_folder), place=storage_folder, say=print)
    assert optuna.get_all_study_names(storage) == []


def test_an_objective_that_the_validation_targets_do_not_define_is_told(
    storage_folder: Path,
) -> None:
    task = {"kind": "forecasting", "season": 599}
    config = small_study(storage_folder, task=task, objective={"metric": "mase"})
    with pytest.raises(ConfigError, match=r"objective\.metric must be defined.*metric='mase'"):
        run_study(config, QuietView())


def test_every_executor_finds_the_same(
    waves: Path, tmp_path: Path, store_template: Path, ray_cluster: ModuleType
) -> None:
    found = {}
    for executor in ("inline", "processes", "ray"):
        folder = tmp_path / executor
        folder.mkdir()
        (folder / "mlflow.db").write_bytes(store_template.read_bytes())
        workers = {"executor": executor, "count": 1}
        config = wave_study(waves, folder, workers=workers, budget={"trials": 2})
        rows = run_study(config, QuietView()).rows
        found[executor] = [(dict(r.parameters), r.value) for r in rows]
    for other in ("processes", "ray"):
        assert [one for one, _ in found[other]] == [one for one, _ in found["inline"]]
        values = [value for _, value in found["inline"]]
        assert [value for _, value in found[other]] == pytest.approx(values)
