"""Exports of small real studies: what is written, what is refused, what MLflow holds."""

import hashlib
import http
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import keras_tuner
import numpy as np
import optuna
import pandas as pd
import pytest
from asking import ask, served
from exports import HAS_EXTRA
from mlflow.entities import Run
from mlflow.models import Model
from studies import run_small_study

from search.driver.storage import open_storage
from search.driver.tracking.store import KIND, open_client, search_runs, store_uri
from search.errors import StudyError, TrackingError
from search.results.building import build_model
from search.results.checking import check_formats
from search.results.comparison import BATCHES
from search.results.export import (
    NOT_INSTALLED,
    Export,
    _convert,
    _keep_others,
    _make_exports,
    _replace,
    export_best,
)
from search.results.formats import CONVERTED, FORMATS, KERAS, TOLERANCES
from search.results.registry import (
    CANDIDATE,
    CHAMPION,
    FINGERPRINT,
    METRIC,
    PACKAGE,
    STUDY_RUN,
    VALUE,
    Standing,
    _hash_files,
    open_registry,
)
from search.results.winner import load_winner
from search.worker.spaces import load_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
PREDICT = HERE.parents[2] / "scripts" / "predict.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> Path:
    """A storage folder with a finished study of the built-in space."""
    place = tmp_path_factory.mktemp("finished") / "mlflow_runs"
    turned = {"rotate": [["load", "flow", "current"]]}  # as if these were a sensor's axes
    run_small_study(place, store_template, "small", space_arguments=turned)
    return place


@pytest.fixture(scope="module")
def trial_run(folder: Path) -> Run:
    """The trial's run as the study left it."""
    return find_trial_run(folder)


@pytest.fixture(scope="module")
def export(folder: Path, trial_run: Run) -> Export:
    return export_best("small", folder=folder)


@pytest.fixture
def own_layers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(HERE)
    yield
    sys.modules.pop("own_layers", None)


def find_trial_run(folder: Path) -> Run:
    client = open_client(store_uri(None, folder))
    experiments = [e.experiment_id for e in client.search_experiments()]
    (run,) = search_runs(client, experiments, {KIND: "trial"})
    return run


def read_example(export: Export) -> dict[str, np.ndarray]:
    with np.load(export.folder / "example.npz", allow_pickle=False) as file:
        return dict(file)


def run_python(code: str, folder: Path) -> list[str]:
    """Run code as a person does who has not this project: nothing of it may be loaded."""
    alone = "import sys; assert not {'search', 'spaces'} & {m.split('.')[0] for m in sys.modules}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{alone}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_export_holds_every_format_and_each_agrees_in_a_fresh_process(export: Export) -> None:
    assert set(export.differences) == {*FORMATS, *(CONVERTED if HAS_EXTRA else ())}
    assert export.left_out.keys() == (set() if HAS_EXTRA else CONVERTED.keys())
    assert all(export.differences[name] <= TOLERANCES[name] for name in export.differences)
    assert all(milliseconds > 0 for milliseconds in export.milliseconds.values())
    assert (export.trials, export.model, export.version) == ((0,), "small", "1")
    names = {path.name for path in export.folder.iterdir()}
    assert names - CONVERTED.keys() == {
        "README.md",
        "SHA256SUMS",
        "example.npz",
        "model.keras",
        "preprocessing.json",
        "saved_model",
    }


def test_the_checksums_are_those_of_the_files(export: Export) -> None:
    lines = (export.folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {
        path.relative_to(export.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in export.folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    assert sums == files


def test_the_preprocessing_names_what_the_study_knew(export: Export, folder: Path) -> None:
    facts = json.loads((export.folder / "preprocessing.json").read_text())
    (card_file,) = folder.glob("data/*/card.json")
    card = json.loads(card_file.read_text())
    assert facts["sequence_length"] == 16
    for name in ("channels", "classes", "mean", "scale"):
        assert facts[name] == card[name]
    assert facts["data_fingerprint"] == card["fingerprint"]
    assert {"keras", "numpy", "python"} <= facts["versions"].keys()


def test_the_lines_of_the_card_predict_without_this_project(export: Export, folder: Path) -> None:
    card = (export.folder / "README.md").read_text()
    use, serve, *_, registry = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    compare = """
expected = np.load("example.npz")["predictions"]
answer = model.predict(np.load("example.npz")["raw"])
for found in (
    outputs,
    served.serve(tf.constant(scaled, "float32")).numpy(),
    answer[[f"probability of {name}" for name in preprocessing["classes"]]].to_numpy(),
):
    assert np.abs(found - expected).max() <= 1e-5
print(answer["class"].tolist())
"""
    printed = run_python(use + serve + registry + compare, export.folder)
    classes = json.loads((export.folder / "preprocessing.json").read_text())["classes"]
    numbers = read_example(export)["predictions"].argmax(axis=1)
    assert printed[0] == printed[-1] == str([classes[number] for number in numbers])


@pytest.mark.parametrize(
    ("name", "library", "predict"),
    [
        (
            "model.onnx",
            "onnxruntime",
            'session.run(None, {"windows": scaled.astype("float32")})[0]',
        ),
        ("model.tflite", "ai_edge_litert", 'runner(windows=scaled.astype("float32"))["output_0"]'),
    ],
)
def test_the_lines_of_the_card_predict_in_other_runtimes(
    export: Export, name: str, library: str, predict: str
) -> None:
    pytest.importorskip(library, reason="needs the export extra")
    card = (export.folder / "README.md").read_text()
    use, *others = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    (lines,) = (code for code in others if name in code)
    compare = f"""
expected = np.load("example.npz")["predictions"]
for found in ({predict}, outputs):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= {TOLERANCES[name]}
"""
    run_python(use + lines + compare, export.folder)


def test_what_another_runtime_has_not_is_said_and_the_rest_is_exported(
    own_layers: None, tmp_path: Path, store_template: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    run_small_study(tmp_path / "runs", store_template, "own", space="own_layers:build_root")
    export = export_best("own", folder=tmp_path / "runs")
    assert export.left_out.keys() == CONVERTED.keys()
    assert set(export.differences) == set(FORMATS)
    card = (export.folder / "README.md").read_text()
    for name, reason in export.left_out.items():
        assert "Cholesky" in reason
        assert not (export.folder / name).exists()
        assert f"There is no `{name}`: {reason}" in card


def test_what_is_not_installed_is_said_with_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = dict.fromkeys(CONVERTED, ("no_such_library",))
    monkeypatch.setattr("search.results.export.CONVERTED", needs)
    export = export_best("small", folder=folder)
    assert export.left_out == dict.fromkeys(CONVERTED, NOT_INSTALLED)
    assert "scripts/run --extra export" in (export.folder / "README.md").read_text()


def test_ctrl_c_ends_what_is_being_converted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.results.export.CONVERTED", dict.fromkeys(CONVERTED, ()))
    monkeypatch.setattr("search.results.export.CONVERT", "exports:convert_for_ever")

    def interrupt() -> None:
        while len([*tmp_path.glob("*.begun")]) < len(CONVERTED):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background has none
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            _convert(CONVERTED.keys(), "sensor", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_runtime_that_does_not_get_through_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.results.export.CONVERTED", {"model.onnx": ()})
    monkeypatch.setattr("search.results.export.CONVERT", "builtins:dict")
    monkeypatch.setattr("search.results.export.COMPARE", "exports:compare_for_ever")
    monkeypatch.setattr("search.results.export.CONVERSION_SECONDS", 5.0)
    found = _convert({"model.onnx"}, "sensor", tmp_path)
    assert found == {"model.onnx": "writing or loading it took longer than 5 s."}


def test_the_card_says_what_was_scored_and_how_often(export: Export) -> None:
    card = (export.folder / "README.md").read_text()
    assert "looked at once" in card
    for name in ("majority class | validation", "majority class | test", "trial 0 | test"):
        assert f"| {name} |" in card


def test_the_registered_model_has_signature_example_and_pinned_libraries(
    export: Export, folder: Path
) -> None:
    client = open_client(store_uri(None, folder))
    version = client.get_model_version_by_alias("small", "champion")
    assert str(version.version) == export.version
    place = Path(version.source.removeprefix("file://"))
    model = Model.load(place)
    assert model.signature.inputs.inputs[0].shape == (-1, 16, 5)
    assert model.load_input_example(str(place)).shape == (2, 16, 5)
    pins = (place / "requirements.txt").read_text().split()
    assert all("==" in pin for pin in pins)
    assert {pin.split("==")[0] for pin in pins} >= {"keras", "mlflow", "numpy"}


def test_the_trials_run_ends_as_it_ended_and_names_the_model(
    export: Export, folder: Path, trial_run: Run
) -> None:
    run = find_trial_run(folder)
    assert (run.info.status, run.info.end_time) == (
        trial_run.info.status,
        trial_run.info.end_time,
    )
    client = open_client(store_uri(None, folder))
    version = client.get_model_version("small", export.version)
    assert version.run_id == run.info.run_id
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert logged.artifact_location == version.source
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "small", "version": 1}]


def test_a_second_export_replaces_the_folder_and_makes_no_second_version(
    export: Export, folder: Path
) -> None:
    (export.folder / "predictions.csv").write_text("somebody's own")
    (export.folder / "model.old").write_text("of an older export")
    with (export.folder / "SHA256SUMS").open("a") as file:
        file.write("0  model.old\n")
    again = export_best("small", folder=folder)
    assert not (again.folder / "model.old").exists()
    assert (again.folder / "predictions.csv").read_text() == "somebody's own"
    (again.folder / "predictions.csv").unlink()
    client = open_client(store_uri(None, folder))
    (version,) = client.search_model_versions("name = 'small'")
    assert str(version.version) == export.version
    assert replace(again, milliseconds={}) == replace(export, milliseconds={})
    assert [path.name for path in again.folder.parent.iterdir() if path.is_dir()] == ["small"]


def test_a_persons_own_file_is_never_replaced(export: Export, folder: Path) -> None:
    sums, own = export.folder / "SHA256SUMS", export.folder / "README.md"
    before = sums.read_text()
    others = [line for line in before.splitlines(keepends=True) if not line.endswith("README.md\n")]
    sums.write_text("".join(others))  # as if an export without a card had been before
    try:
        with pytest.raises(StudyError, match=r"README\.md', which no export wrote. Move it away"):
            export_best("small", folder=folder, formats=[])
        assert own.is_file()
        assert sums.read_text() == "".join(others)
    finally:
        sums.write_text(before)


def test_a_persons_own_files_stay_until_the_new_export_has_its_name(tmp_path: Path) -> None:
    place, export = tmp_path / "small", tmp_path / "export"
    (place / "plots").mkdir(parents=True)
    (place / "plots" / "own.txt").write_text("somebody's own")
    (place / "SHA256SUMS").touch()
    export.mkdir()
    _keep_others(place, export)
    for kept in (place, export):
        assert (kept / "plots" / "own.txt").read_text() == "somebody's own"
    shutil.rmtree(export)
    with pytest.raises(FileNotFoundError):
        _replace(place, export, tmp_path / "replaced")
    assert (place / "plots" / "own.txt").is_file()
    export.mkdir()
    (export / "plots").touch()
    with pytest.raises(StudyError, match=r"own\.txt', which no export wrote"):
        _keep_others(place, export)


def test_an_exports_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "exports").symlink_to("/proc/self")  # where root cannot either
    with pytest.raises(StudyError, match=r"folder that can be written: .*exports'"):
        _make_exports(tmp_path)


def test_a_served_model_answers_raw_windows_as_the_script_does(
    export: Export, folder: Path, tmp_path: Path, free_port: int
) -> None:
    out = tmp_path / "out.csv"
    windows = np.load(export.folder / "example.npz")["raw"]

    done = subprocess.run(
        [sys.executable, PREDICT, export.folder, export.folder / "example.npz", "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )
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


def test_a_folder_that_is_no_export_is_not_replaced(folder: Path, export: Export) -> None:
    sums = (export.folder / "SHA256SUMS").rename(export.folder / "kept")
    try:
        with pytest.raises(StudyError, match=r"must be free, or hold an export.*Move it away"):
            export_best("small", folder=folder)
    finally:
        sums.rename(export.folder / "SHA256SUMS")


def test_the_best_so_far_of_a_study_that_is_not_finished_is_no_champion(
    folder: Path, export: Export
) -> None:
    winner = load_winner("small", folder)
    early = open_registry(replace(winner, test={}), folder, None).compare()
    assert early.alias == CANDIDATE
    assert early.reason.startswith("the study is not finished")


def test_another_study_of_the_name_has_to_be_better_on_the_same_data(
    folder: Path, export: Export
) -> None:
    winner = load_winner("small", folder)
    registry = open_registry(winner, folder, None)
    assert registry.compare() == Standing()  # its own champion
    of_another = {**registry.facts, STUDY_RUN: "another run"}
    better = {**of_another, VALUE: str(winner.value - 0.1)}  # of the log loss
    assert replace(registry, facts=better).compare() == Standing()
    no_better = replace(registry, facts=of_another).compare()
    assert no_better.alias == CANDIDATE
    assert no_better.reason.startswith("version 1 stays champion: its log_loss on validation is")
    metric = replace(registry, facts={**better, METRIC: "accuracy"}).compare()
    assert metric.reason.endswith("chosen by another metric, log_loss.")
    data = replace(registry, facts={**better, FINGERPRINT: "0"}).compare()
    assert data.reason == "version 1 stays champion: it is of other data."

    client = open_client(store_uri(None, folder))
    version = client.get_model_version("small", export.version)
    registry.crown(version, CANDIDATE)
    aliases = client.get_registered_model("small").aliases
    assert aliases.keys() == {CANDIDATE, CHAMPION}
    registry.crown(version, CHAMPION)
    assert client.get_registered_model("small").aliases.keys() == {CHAMPION}


@pytest.mark.parametrize("place", ["code/evil.py", "MLmodel", "data/registering/model.keras"])
def test_files_that_were_not_registered_are_not_loaded(
    folder: Path, export: Export, tmp_path: Path, place: str
) -> None:
    registry = open_registry(load_winner("small", folder), folder, None)
    version = registry.find_version()
    assert version is not None
    store = Path(str(version.source).removeprefix("file://"))
    compiled = store / "code" / "__pycache__" / "lookback_answering.pyc"
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_bytes(b"by a server that loaded it there")
    (store / "registered_model_meta").write_text("by MLflow, which loaded it by its alias")
    whole = registry.fetch(version, tmp_path / "whole")
    assert not (whole / "code" / "__pycache__").exists()
    assert compiled.is_file()
    file = store / place
    before = file.read_bytes() if file.exists() else None
    try:
        file.write_bytes((before or b"") + b"\n")
        with pytest.raises(StudyError, match="files that it was registered with"):
            registry.fetch(version, tmp_path / "other")
    finally:
        file.unlink() if before is None else file.write_bytes(before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("loader_module: lookback_answering", "loader_module: mlflow.sklearn"),
        ("data: data/registering", "data: input_example.json"),
        ("code: code", "code: data"),
        ("streamable: false", "streamable: true"),
        ("streamable: false", "predict_fn: __init__"),
        ("python_function:", "sklearn:"),
        ("flavors:", "- flavors:"),
    ],
)
def test_files_that_have_others_code_run_are_not_loaded_whatever_the_version_says(
    folder: Path, export: Export, tmp_path: Path, before: str, after: str
) -> None:
    registry = open_registry(load_winner("small", folder), folder, None)
    version = registry.find_version()
    assert version is not None
    store = Path(str(version.source).removeprefix("file://"))
    shutil.rmtree(store / "code" / "__pycache__", ignore_errors=True)
    file, tag = store / "MLmodel", version.tags[PACKAGE]
    text = file.read_text()
    assert text.count(before) == 1
    try:
        file.write_text(text.replace(before, after))
        registry.client.set_model_version_tag("small", version.version, PACKAGE, _hash_files(store))
        version = registry.find_version()
        assert version is not None
        with pytest.raises(StudyError, match="files that it was registered with"):
            registry.fetch(version, tmp_path / "other")
    finally:
        file.write_text(text)
        registry.client.set_model_version_tag("small", version.version, PACKAGE, tag)
    registry.fetch(registry.find_version(), tmp_path / "own")


def test_a_version_is_compared_by_what_is_known_by_now(folder: Path, export: Export) -> None:
    registry = open_registry(load_winner("small", folder), folder, None)
    version = registry.find_version()
    assert version is not None
    replace(registry, facts={**registry.facts, VALUE: "0.125"}).update(version)
    assert registry.client.get_model_version("small", version.version).tags[VALUE] == "0.125"
    changed = registry.find_version()
    assert changed is not None
    registry.update(changed)
    tags = registry.client.get_model_version("small", version.version).tags
    assert tags[VALUE] == registry.facts[VALUE]


def test_a_winner_of_whom_every_training_failed_has_its_value_of_the_search(
    folder: Path, export: Export
) -> None:
    winner = load_winner("small", folder)
    failed = replace(winner, decision={"together": None, "means": {}})
    assert failed.value == winner.row.value


def test_a_models_own_layers_are_found_in_the_spaces_module(
    own_layers: None, tmp_path: Path, store_template: Path
) -> None:
    run_small_study(tmp_path / "runs", store_template, "own", space="own_layers:build_halving")
    export = export_best("own", folder=tmp_path / "runs")
    assert set(export.differences) == {*FORMATS, *(CONVERTED if HAS_EXTRA else ())}
    assert "\nimport own_layers  #" in (export.folder / "README.md").read_text()


def test_a_model_that_predicts_otherwise_in_a_fresh_process_replaces_and_registers_nothing(
    own_layers: None, tmp_path: Path, store_template: Path
) -> None:
    folder = tmp_path / "runs"
    run_small_study(folder, store_template, "own", space="own_layers:build_restless")
    older = folder / "exports" / "own" / "older.txt"
    older.parent.mkdir(parents=True)
    older.touch()
    (older.parent / "SHA256SUMS").touch()
    with pytest.raises(StudyError, match=r"within 1e-06\. Received: a difference of 0\.\d+ in "):
        export_best("own", folder=folder)
    lock = folder / "exports" / ".own.lock"
    sums = older.with_name("SHA256SUMS")
    assert {path for path in folder.glob("exports/**/*") if path.is_file()} == {lock, older, sums}
    client = open_client(store_uri(None, folder))
    assert client.search_registered_models() == []
    assert client.search_logged_models([find_trial_run(folder).info.experiment_id]) == []


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("build_forgotten", r"register_keras_serializable\(\)"),
        ("build_lambda", "use no keras.layers.Lambda"),
    ],
)
def test_a_model_that_keras_cannot_load_is_refused_with_what_to_write_instead(
    own_layers: None, tmp_path: Path, function: str, message: str
) -> None:
    hp, windows = keras_tuner.HyperParameters(), np.zeros((2, 16, 5), dtype="float32")
    model = load_space(f"own_layers:{function}")(hp)
    predictions = np.stack([model.predict_on_batch(windows)] * len(BATCHES))
    samples = {"windows": windows, "predictions": predictions, "raw": windows, "answers": windows}
    np.savez(tmp_path / "samples.npz", **samples)
    model.save(tmp_path / KERAS)
    with pytest.raises(StudyError, match=message):
        check_formats(
            samples=str(tmp_path / "samples.npz"),
            space=f"own_layers:{function}",
            places={KERAS: str(tmp_path / KERAS)},
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 0.5}, "must build the model that the trial trained"),
        ({"lstm_units": 17}, "must build the model whose weights were kept"),
        ({"lstm_units": None}, "lstm_units was not recorded with the trial"),
    ],
)
def test_a_space_that_builds_another_model_than_the_trials_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, float | None], message: str
) -> None:
    winner = load_winner("small", folder)
    (member,) = [asdict(member) for member in winner.members]
    if "value" not in change:
        member["parameters"] |= change
    if None in change.values():
        del member["parameters"]["lstm_units"]
    with pytest.raises(StudyError, match=message):
        build_model(
            config=winner.config.model_dump(mode="json"),
            members=[member],
            value=change.get("value", winner.test["log_loss"]),
            data=str(winner.data),
            folder=str(tmp_path),
            side="test",
        )
    assert list(tmp_path.iterdir()) == []


def test_the_chosen_trial_is_exported_and_not_the_best_of_the_search(
    tmp_path: Path, store_template: Path
) -> None:
    place = tmp_path / "mlflow_runs"
    settings = {"budget": {"trials": 2}, "pruner": {"name": "none"}, "export": {"formats": []}}
    summary = run_small_study(
        place, store_template, "two", winner={"candidates": 2, "repeats": 1}, **settings
    )
    assert summary.winner is not None
    study = optuna.load_study(study_name="two", storage=open_storage(place))
    # As if the other finalist had the better mean.
    other = 1 - summary.winner.number
    held = study.user_attrs["winner"]
    study.set_user_attr("winner", {**held, "trial": other, "members": [other]})
    looked = study.user_attrs["test"]
    study.set_user_attr("test", {})
    winner = load_winner("two", place)
    assert winner.row.number == other
    assert winner.test == {}
    card = (export_best("two", folder=place).folder / "README.md").read_text()
    assert f"trial {other}, {winner.members[0].epochs} epochs" in card
    assert summary.decision["sentence"] in card
    # What was looked at last is exported, and what was decided of another is not said of it.
    study.set_user_attr("test", looked)
    winner = load_winner("two", place)
    assert winner.row.number == summary.winner.number
    assert winner.test == looked["scores"]
    assert winner.decision == {}


def test_an_unknown_study_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"study='smal'\. Did you mean 'small'"):
        export_best("smal", folder=folder)


def test_a_folder_without_a_store_is_refused_and_left_empty(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="must hold Optuna's store"):
        export_best("small", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_complete_trial_has_nothing_to_export(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(tmp_path), study_name="young")
    study.ask()
    with pytest.raises(StudyError, match="with 1 trials and none complete"):
        export_best("young", folder=tmp_path)


def test_missing_weights_are_named(folder: Path) -> None:
    weights = Path(load_winner("small", folder).members[0].weights)
    away = weights.rename(weights.with_suffix(".away"))
    try:
        with pytest.raises(StudyError, match="whose trial 0 has none"):
            export_best("small", folder=folder)
    finally:
        away.rename(weights)


def test_missing_data_are_named(folder: Path) -> None:
    (data,) = folder.glob("data/*")
    away = data.rename(data.with_name("away"))
    try:
        with pytest.raises(StudyError, match=f"{data.name}', which is missing"):
            export_best("small", folder=folder)
    finally:
        away.rename(data)


def test_other_data_than_the_studys_are_refused(folder: Path) -> None:
    (card,) = folder.glob("data/*/card.json")
    text = card.read_text()
    card.write_text(json.dumps({**json.loads(text), "fingerprint": "0" * 64}))
    try:
        with pytest.raises(StudyError, match="fingerprint='0000000000000000'"):
            export_best("small", folder=folder)
    finally:
        card.write_text(text)


def test_a_tracking_store_that_is_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="must hold a tracking store"):
        export_best("small", folder=folder, uri=f"sqlite:///{tmp_path}/none.db")


def test_a_tracking_store_of_other_studies_is_refused(folder: Path, storage_folder: Path) -> None:
    with pytest.raises(StudyError, match="must hold a study"):
        export_best("small", folder=folder, uri=f"sqlite:///{storage_folder}/mlflow.db")
