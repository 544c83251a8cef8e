"""Studies through PostgreSQL, an MLflow server and Ray, all real and on this machine."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import tomli_w
from services import load_services, serve_postgres
from studies import differences, small_study, wave_study

from search.driver.provenance import dump_settings
from search.results.audit import audit_study
from search.results.studies import load_study

pytest.importorskip("ray", reason="needs the extra 'cluster'")
psycopg = pytest.importorskip("psycopg", reason="needs the extra 'cluster'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
ENDED = re.compile(r"trial \d+ \| \w+ \|")


@pytest.fixture(scope="module")
def postgres():
    yield from serve_postgres()


def find_processes(words):
    """Find the processes whose command line holds some words."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if words.encode() in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:  # it has just ended
            continue
    return found


def find_actors(machines):
    """Find the workers that train on some machines of a Ray cluster: other tests may have one too."""
    sessions = {machine.pid for machine in machines}
    return [pid for pid in find_processes("ray::_Actor") if os.getsid(pid) in sessions]


def test_one_command_runs_a_study_through_all_three_and_takes_them_down(waves, tmp_path):
    pytest.importorskip("flask_wtf", reason="needs the extra 'cluster'")
    try:
        load_services().find_programs()
    except load_services().Missing as exc:
        pytest.skip(str(exc))
    study = tmp_path / "waves.toml"
    winner = {"repeats": 1, "candidates": 1}
    config = wave_study(waves, tmp_path / "runs", winner=winner, budget={"trials": 3})
    study.write_text(tomli_w.dumps(dump_settings(config)))
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPTS / "cluster" / "try_out.py"),
            str(study),
            "--export.formats",
            "[]",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Starting 2 workers." in said
    assert "registered as waves@champion" in said
    assert "3 trials: all agree." in said
    assert done.stdout.endswith("PostgreSQL, MLflow and Ray are taken down.\n")
    addresses = re.findall(r"127\.0\.0\.1:\d+", done.stdout.partition("Study waves")[0])
    assert len(addresses) == 3
    assert not any(find_processes(address) for address in addresses)
    assert not (tmp_path / "runs").exists()


def test_a_given_server_holds_databases_of_ours_only_for_a_while(postgres):
    services = load_services()
    postgres.create("given")
    given = postgres.address("given")
    with services.use_postgres(given) as server:
        databases = (services.STUDIES, *services.DATABASES)
        for name in databases:
            server.create(name)
        held = [psycopg.connect(server.address(name)) for name in databases]
        prefix = server.prefix
    assert all(is_gone(one) for one in held)
    with psycopg.connect(given) as connection:
        names = [name for (name,) in connection.execute("SELECT datname FROM pg_database")]
    assert "given" in names
    assert not [name for name in names if name.startswith(prefix)]


def is_gone(connection):
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_a_given_server_that_does_not_answer_is_named_before_anything_is_started(
    waves, tmp_path, free_port
):
    study = tmp_path / "waves.toml"
    study.write_text(tomli_w.dumps(dump_settings(wave_study(waves, tmp_path / "runs"))))
    uri = f"postgresql://nobody@127.0.0.1:{free_port}/studies"
    command = [sys.executable, str(SCRIPTS / "cluster" / "try_out.py"), str(study)]
    done = subprocess.run(
        [*command, "--storage.uri", uri], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: storage.uri must be the address of a PostgreSQL")
    assert f"Received: uri='{uri}'" in done.stderr
    assert done.stdout == ""


def test_machines_workers_and_the_database_are_lost_and_no_trial_is(
    waves, tmp_path, storage_folder, postgres
):
    services, chance = load_services(), random.Random(0)
    postgres.create("chaos")
    config = wave_study(
        waves,
        storage_folder,
        budget={"trials": 8},
        training={"max_epochs": 6, "refit": False},
        workers={"executor": "ray", "count": 2, "max_restarts": 5},
    )
    study = tmp_path / "waves.toml"
    study.write_text(tomli_w.dumps(dump_settings(config)))
    with ExitStack() as stack:
        ray = stack.enter_context(services.run_ray(0, alone=False))
        machines = [stack.enter_context(ray.run_node(1)) for _ in range(2)]
        launch = [sys.executable, str(SCRIPTS / "launch_study.py"), str(study)]
        launch += ["--cluster.address", ray.address, "--export.formats", "[]"]
        launch += ["--storage.uri", postgres.address("chaos")]
        driver = stack.enter_context(
            subprocess.Popen(
                launch,
                env={**os.environ, **ray.environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        said, ended = [], 0
        for line in driver.stdout:
            said.append(line)
            ended += bool(ENDED.search(line))
            if not ENDED.search(line):
                continue
            if ended == 1:
                os.killpg(machines.pop().pid, signal.SIGKILL)
                machines.append(stack.enter_context(ray.run_node(1)))
            elif ended in (3, 6):
                os.kill(chance.choice(find_actors(machines)), signal.SIGKILL)
            elif ended == 4:
                postgres.stop()
                back = threading.Timer(30, postgres.start)
                back.start()
        back.join()
    said = "".join(said)
    assert driver.returncode == 0, said
    assert "is taken up again" in said
    assert "The study's database is away" in said
    assert "The study's database is back." in said
    trials = load_study("waves", storage_folder).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    assert differences(storage_folder) == []


def test_drivers_on_a_cluster_and_beside_it_share_both_stores_and_do_not_mix(tmp_path, postgres):
    pytest.importorskip("flask_wtf", reason="needs the extra 'cluster'")
    services, names = load_services(), ("one", "two")
    postgres.create("shared")
    with ExitStack() as stack:
        mlflow = stack.enter_context(services.run_mlflow(postgres, tmp_path / "artifacts"))
        ray = stack.enter_context(services.run_ray(1))
        environment = {**os.environ, **mlflow.environment, **ray.environment}
        for seed, name in enumerate(names):
            config = small_study(
                tmp_path / "runs",
                name,
                seed=seed,
                budget={"trials": 3},
                storage={"folder": tmp_path / "runs", "uri": postgres.address("shared")},
                export={"formats": []},
                workers={"executor": "ray", "count": 1}
                if name == "two"
                else {"executor": "inline"},
                cluster={"address": ray.client_address},
            )
            (tmp_path / f"{name}.toml").write_text(tomli_w.dumps(dump_settings(config)))
        launch = [
            sys.executable,
            str(SCRIPTS / "launch_study.py"),
            "--tracking.uri",
            mlflow.address,
        ]
        drivers = [
            subprocess.Popen(
                [*launch, str(tmp_path / f"{name}.toml")],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in names
        ]
        said = [driver.communicate()[0] for driver in drivers]
        ends = [words[-4000:] for words in said]
        assert [driver.returncode for driver in drivers] == [0, 0], ends
        for name in names:
            audit = [sys.executable, str(SCRIPTS / "audit_study.py"), name]
            audit += ["--storage.folder", str(tmp_path / "runs")]
            audit += ["--tracking.uri", mlflow.address]
            done = subprocess.run(
                audit, env=environment, capture_output=True, text=True, check=False
            )
            assert "3 trials: all agree." in done.stdout, done.stdout + done.stderr
    values = [load_study(name, tmp_path / "runs").trials for name in names]
    assert [len(trials) for trials in values] == [3, 3]
    assert len({trials[1].params["learning_rate"] for trials in values}) == 2


def test_a_driver_whose_database_stays_away_ends_so_that_the_same_command_goes_on(
    tmp_path, storage_folder, postgres
):
    postgres.create("away")
    config = small_study(
        storage_folder,
        training={"max_epochs": 3},
        budget={"trials": 3},
        workers={"count": 1},
        storage={
            "folder": storage_folder,
            "uri": postgres.address("away"),
            "max_away_seconds": 1,
        },
    )
    study = tmp_path / "small.toml"
    study.write_text(tomli_w.dumps(dump_settings(config)))
    launch = [sys.executable, str(SCRIPTS / "launch_study.py"), str(study)]
    launch += ["--export.formats", "[]"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(launch, **pipes) as driver:
        said = []
        for line in driver.stdout:
            said.append(line)
            if ENDED.search(line) and len([one for one in said if ENDED.search(one)]) == 1:
                postgres.stop()
    postgres.start()
    assert driver.returncode == 75, said
    assert "To go on: scripts/run python scripts/launch_study.py" in said[-1]
    again = subprocess.run(launch, check=False, **pipes)
    assert again.returncode == 0, again.stdout
    trials = load_study("small", storage_folder).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert not any(trial.differences for trial in audit_study("small", folder=storage_folder))
