import subprocess
import sys
from pathlib import Path

import pytest

from search.config import (
    SOURCES,
    ObjectiveConfig,
    StudyConfig,
    load_config,
    make_config,
    parse_config,
)
from search.errors import ConfigError

STUDIES = Path(__file__).parents[2] / "scripts" / "studies"


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text('name = "mine"\n[budget]\ntrials = 7\n[training]\nmax_epochs = 3\n')
    return path


def test_the_command_line_replaces_single_settings_of_the_file(study_file: Path) -> None:
    config = parse_config([str(study_file), "--budget.trials", "9", "--seed=4"], study_file)
    assert (config.budget.trials, config.training.max_epochs, config.seed) == (9, 3, 4)


def test_none_takes_back_what_the_file_sets(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('name = "a"\n[training]\nmax_seconds = 60\n')
    assert load_config(path).training.max_seconds == 60
    assert (
        parse_config([str(path), "--training.max_seconds", "None"], path).training.max_seconds
        is None
    )


def test_without_a_file_the_default_study_is_read(study_file: Path) -> None:
    assert parse_config([], default=study_file).name == "mine"


def test_settings_can_be_replaced_from_python(study_file: Path) -> None:
    assert load_config(study_file, budget={"trials": 2}).budget.trials == 2


def test_a_data_path_in_a_file_starts_at_that_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('name = "a"\n[data]\nsource = "arrays"\npath = "clips.npz"\n')
    assert getattr(load_config(path).data, "path") == tmp_path / "clips.npz"  # noqa: B009


def test_a_data_path_on_the_command_line_starts_at_the_working_directory(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('name = "a"\n[data]\nsource = "arrays"\npath = "clips.npz"\n')
    config = parse_config([str(path), "--data.path", "other.npz"], path)
    assert getattr(config.data, "path") == Path("other.npz")  # noqa: B009


def test_another_source_on_the_command_line_replaces_the_files(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('name = "a"\n[data]\nsource = "machine"\nrows = 900\n')
    words = [str(path), "--data.source", "arrays", "--data.path", "x.npz"]
    assert parse_config(words, path).data.source == "arrays"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_study_file_that_comes_along_is_right(path: Path) -> None:
    assert load_config(path).name == path.stem


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({}, r"^name must be given", id="no name"),
        pytest.param(
            {"name": "a", "budgte": {}},
            r"^budgte is not a setting. Did you mean 'budget'",
            id="section",
        ),
        pytest.param(
            {"name": "a", "budget": {"trails": 3}},
            r"^budget.trails is not a setting. Did you mean 'trials'",
            id="unknown key",
        ),
        pytest.param(
            {"name": "a", "data": {"source": "arrays", "path": "x", "chanels": "c"}},
            r"^data.chanels is not a setting. Did you mean 'channels'",
            id="unknown data key",
        ),
        pytest.param(
            {"name": "a", "data": {"rows": 900}}, r"^data.source must be given", id="no source"
        ),
        pytest.param(
            {"name": "a", "data": {"source": "array"}},
            r"^data.source must be a source.*'arrays'",
            id="source",
        ),
        pytest.param(
            {"name": "a", "budget": {"trials": 0}}, r"^budget.trials: .*Received: 0", id="too small"
        ),
        pytest.param(
            {"name": "a", "budget": {"trials": "many"}}, r"^budget.trials: .*'many'", id="type"
        ),
        pytest.param(
            {"name": "a", "table": {"path": "x"}}, r"^table is not a setting", id="source?"
        ),
        pytest.param(
            {"name": "a", "data": {"source": "machine", "digits": 0}},
            r"^data.digits is not a setting. Known: machines",
            id="key named as a source",
        ),
        pytest.param(
            {"name": "a", "training": {"video": 1}},
            r"^training.video is not a setting. Known: batch_size",
            id="key named as another source",
        ),
        pytest.param({"name": "a", "task": {"kind": ["frames"]}}, r"^task.kind: ", id="list"),
        pytest.param({"name": "../../x"}, r"^name: .*Received: '../../x'", id="climbing name"),
        pytest.param({"name": "a" * 65}, r"^name: ", id="long name"),
        pytest.param(
            {"name": "a", "sequence_length": {"low": 9, "high": 3}},
            r"^sequence_length.low must not exceed",
            id="order",
        ),
        pytest.param(
            {"name": "a", "pruner": {"keep": float("nan")}}, r"^pruner.keep: ", id="not a number"
        ),
        pytest.param(
            {"name": "a", "pruner": {"name": "median", "second_chances": True}},
            r"pruner.second_chances must come with pruner.name 'early'",
            id="second chances",
        ),
        pytest.param(
            {"name": "a", "pruner": {"name": "early", "patience": 3}},
            r"pruner.patience must be below pruner.epoch for 'early'.* patience=3, epoch=3\.",
            id="patience that outlasts the bar",
        ),
        pytest.param(
            {"name": "a", "workers": {"count": 0}},
            r"^workers.count: Input should be greater than or equal to 1, or 'auto'. Received: 0.$",
            id="a number or a word",
        ),
        pytest.param(
            {"name": "a", "sampler": {"queue": [{"units": [1]}]}},
            r"^sampler.queue.0.units: [^\n]*valid boolean, or [^\n]*, or a valid string. Received: \[1\].$",
            id="one of many types",
        ),
        pytest.param(
            {"name": "a", "split": {"validation_from": 40}},
            r"split.validation_from must come with split.method='time'.*method='groups'. Leave it out",
            id="a border of another method",
        ),
        pytest.param(
            {"name": "a", "split": {"method": "time", "blocks": 2}},
            r"split.blocks must come with split.method='blocks'.*blocks=2, method='time'",
            id="blocks of another method",
        ),
        pytest.param(
            {"name": "a", "objective": {"also": ["latency_ms"]}, "sampler": {"name": "cmaes"}},
            r"sampler.name must be another than 'cmaes' where objective.also",
            id="one objective alone",
        ),
        pytest.param(
            {"name": "a", "objective": {"also": ["parameters"]}, "pruner": {"name": "hyperband"}},
            r"pruner.name must be another than 'hyperband' where objective.also",
            id="brackets of one objective",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_write_instead(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"name = ", r"is not TOML", id="syntax"),
        pytest.param(b"\xff\xfe", r"is not TOML", id="encoding"),
    ],
)
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_file_of_windows_notepad_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "pump"\n')
    assert load_config(path).name == "pump"


def test_borders_may_be_dates_of_toml(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "a"\n[split]\nmethod = "time"\nvalidation_from = 2013-01-01\n'
        "test_from = 2014-01-01T12:00:00\n"
    )
    split = load_config(path).split
    assert (split.validation_from, split.test_from) == ("2013-01-01", "2014-01-01 12:00:00")


def test_an_objective_made_in_python_keeps_what_it_says_beside_its_metric() -> None:
    objective = ObjectiveConfig(direction="maximize", also=("latency_ms",))
    whole = StudyConfig(name="a", objective=objective).objective
    assert (whole.metric, whole.direction, whole.also) == ("macro_f1", "maximize", ("latency_ms",))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be a readable TOML file.*missing.toml"):
        load_config(tmp_path / "missing.toml")


def test_an_unknown_argument_is_refused_with_the_nearest(study_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"--budget.trails is not a setting.*'--budget.trials'"):
        parse_config([str(study_file), "--budget.trails", "3"], study_file)


@pytest.mark.parametrize("words", [["--budget", "x"], ["--space_arguments", "foo"]])
def test_a_section_without_a_table_is_refused(study_file: Path, words: list[str]) -> None:
    with pytest.raises(ConfigError, match="one value for each setting"):
        parse_config([str(study_file), *words], study_file)


@pytest.mark.parametrize("source", SOURCES)
def test_help_documents_the_settings_of_the_source_in_use(
    study_file: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    with pytest.raises(SystemExit):
        parse_config([str(study_file), "--data.source", source, "--help"], study_file)
    said = " ".join(capsys.readouterr().out.split())
    for name, setting in SOURCES[source].model_fields.items():
        assert f"--data.{name}" in said
        assert " ".join(str(setting.description).split()) in said
    others = {name for one in SOURCES.values() for name in one.model_fields}
    for name in others - SOURCES[source].model_fields.keys():
        assert f"--data.{name} " not in said


def test_help_of_a_study_file_is_of_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_config([str(STUDIES / "ett.toml"), "--help"], STUDIES / "quickstart.toml")
    assert "--data.unit" in capsys.readouterr().out


def test_a_study_file_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.study"
    path.write_text('name = "a"\n[data]\nsource = "arrays"\npath = "x.npz"\n')
    config = parse_config([str(path), "--data.groups", "who"], STUDIES / "quickstart.toml")
    assert config.data.groups == "who"


def test_a_config_cannot_be_changed(study_file: Path) -> None:
    config = load_config(study_file)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_help_documents_every_setting() -> None:
    launch = STUDIES.parent / "launch_study.py"
    done = subprocess.run(
        [sys.executable, launch, "--help"], capture_output=True, text=True, check=True
    )
    said = " ".join(done.stdout.split())
    for section, field in StudyConfig.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        for name, setting in inner.items():
            assert f"--{section}.{name}" in said
            assert " ".join(setting.description.split()) in said
