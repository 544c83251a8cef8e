import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from search.config import ClusterConfig, make_config
from search.driver.executors.base import Executor
from search.driver.executors.inline import InlineExecutor
from search.driver.executors.processes import ProcessExecutor
from search.driver.executors.ray import RayExecutor
from search.messages import (
    EpochReport,
    FromWorker,
    Outcome,
    ScoreMembers,
    TrainTrial,
    TrialEnded,
    TrialScored,
    Verdict,
    WorkerDied,
    WorkerFailed,
    WorkerReady,
    WorkerSetup,
)

WORKER = "scripted_worker:serve"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def setup(tmp_path: Path) -> WorkerSetup:
    return WorkerSetup(
        config=make_config({"name": "conformance"}),
        data=tmp_path,
        weights=tmp_path,
        log=tmp_path / "worker.log",
    )


@pytest.fixture(params=["inline", "processes", "ray"])
def executor(request: pytest.FixtureRequest, setup: WorkerSetup) -> Iterator[Executor]:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    made: dict[str, Callable[[], Executor]] = {
        "inline": lambda: InlineExecutor(WORKER),
        "processes": lambda: ProcessExecutor(2, WORKER),
        "ray": lambda: RayExecutor(2, ClusterConfig(), WORKER),
    }
    executor = made[request.param]()
    executor.start(setup)
    yield executor
    executor.stop()


@pytest.fixture
def processes(setup: WorkerSetup) -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(2, WORKER)
    executor.start(setup)
    yield executor
    executor.stop()


def wait_for(executor: Executor, kind: type, count: int = 1) -> list[tuple[int, FromWorker]]:
    """Collect arrivals until enough of one kind have come."""
    seen: list[tuple[int, FromWorker]] = []
    while sum(isinstance(message, kind) for _, message in seen) < count:
        seen += executor.receive(5.0)
    return seen


def test_every_slot_comes_up_and_says_so(executor: Executor) -> None:
    ready = wait_for(executor, WorkerReady, executor.slots)
    assert sorted(slot for slot, _ in ready) == list(range(executor.slots))


def test_reports_and_verdicts_pass_both_ways(executor: Executor) -> None:
    wait_for(executor, WorkerReady)
    executor.send(0, TrainTrial(number=1, seed=0))
    for epoch in range(2):
        reports = [m for _, m in wait_for(executor, EpochReport) if isinstance(m, EpochReport)]
        assert [report.epoch for report in reports] == [epoch]
        outcome = Outcome.PRUNED if epoch == 1 else None
        executor.send(0, Verdict(outcome=outcome))
    ended = wait_for(executor, TrialEnded)[-1][1]
    assert isinstance(ended, TrialEnded)
    assert ended.epochs == 2


def test_a_thread_that_waits_for_a_verdict_has_left_when_it_is_stopped(setup: WorkerSetup) -> None:
    known = set(threading.enumerate())
    executor = InlineExecutor(WORKER)
    executor.start(setup)
    executor.send(0, TrainTrial(number=1, seed=0))
    wait_for(executor, EpochReport)
    assert set(threading.enumerate()) > known
    executor.stop()
    assert set(threading.enumerate()) <= known


def test_nothing_arrives_when_nothing_is_said(executor: Executor) -> None:
    wait_for(executor, WorkerReady, executor.slots)
    assert list(executor.receive(0.05)) == []


def test_a_replaced_worker_comes_up_again(executor: Executor) -> None:
    wait_for(executor, WorkerReady, executor.slots)
    executor.replace(0)
    assert [slot for slot, _ in wait_for(executor, WorkerReady)] == [0]


def test_a_prepared_worker_takes_the_place_of_the_old_one(executor: Executor) -> None:
    wait_for(executor, WorkerReady, executor.slots)
    executor.send(0, TrainTrial(number=1, seed=0))
    wait_for(executor, EpochReport)
    executor.prepare(0)
    executor.prepare(0)
    executor.send(0, Verdict(outcome=Outcome.PRUNED))
    assert isinstance(wait_for(executor, TrialEnded)[-1][1], TrialEnded)
    executor.replace(0)
    assert wait_for(executor, WorkerReady)[-1][0] == 0
    executor.send(0, TrainTrial(number=2, seed=0))
    assert wait_for(executor, EpochReport)[-1][0] == 0


def test_a_worker_that_died_before_its_turn_is_followed_by_another(
    processes: ProcessExecutor,
) -> None:
    ready = wait_for(processes, WorkerReady, 2)
    known = {message.pid for _, message in ready if isinstance(message, WorkerReady)}
    processes.prepare(0)
    (spare,) = {child.pid for child in multiprocessing.active_children()} - known
    assert spare is not None
    os.kill(spare, signal.SIGKILL)
    processes.replace(0)
    assert wait_for(processes, WorkerDied)[-1][0] == 0
    assert wait_for(processes, WorkerReady)[-1][0] == 0


def test_a_bug_is_told(executor: Executor) -> None:
    wait_for(executor, WorkerReady, executor.slots)
    executor.send(0, TrainTrial(number=13, seed=0))
    told = wait_for(executor, WorkerFailed)[0][1]
    assert isinstance(told, WorkerFailed)
    assert "a bug" in told.traceback


def test_a_killed_worker_is_noticed_named_and_followed_by_another(
    processes: ProcessExecutor,
) -> None:
    wait_for(processes, WorkerReady, 2)
    processes.send(1, TrainTrial(number=666, seed=0))
    slot, death = wait_for(processes, WorkerDied)[-1]
    assert slot == 1
    assert isinstance(death, WorkerDied)
    assert "killed by SIGKILL" in death.reason
    assert "worker_1.log" in death.reason
    assert [slot for slot, _ in wait_for(processes, WorkerReady)] == [1]


def test_a_worker_that_hangs_while_it_comes_up_is_ended(setup: WorkerSetup) -> None:
    config = make_config({"name": "conformance", "workers": {"max_silent_seconds": 0.5}})
    executor = ProcessExecutor(1, "scripted_worker:hang")
    executor.start(replace(setup, config=config))
    try:
        slot, death = wait_for(executor, WorkerDied)[-1]
    finally:
        executor.stop()
    assert slot == 0
    assert isinstance(death, WorkerDied)
    assert "killed by SIGKILL" in death.reason


def test_workers_do_not_speak_on_the_drivers_screen(
    processes: ProcessExecutor, setup: WorkerSetup, capfd: pytest.CaptureFixture[str]
) -> None:
    wait_for(processes, WorkerReady, 2)
    processes.send(0, TrainTrial(number=1, seed=0))
    wait_for(processes, EpochReport)
    processes.replace(1)
    processes.send(0, Verdict(outcome=Outcome.PRUNED))
    wait_for(processes, TrialEnded)
    processes.stop()
    said = setup.log.with_name("worker_0.log").read_text()
    assert "worker speaks" in said
    assert "and complains" in said
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores to share")
def test_workers_share_the_cores(processes: ProcessExecutor) -> None:
    wait_for(processes, WorkerReady, 2)
    cores = 0.0
    for slot in range(2):
        processes.send(slot, ScoreMembers(members=()))
        scored = wait_for(processes, TrialScored)[-1][1]
        assert isinstance(scored, TrialScored)
        cores += scored.metrics["cores"]
    assert cores == len(os.sched_getaffinity(0))


def test_no_process_stays_behind(processes: ProcessExecutor) -> None:
    ready = wait_for(processes, WorkerReady, 2)
    processes.replace(0)
    ready += wait_for(processes, WorkerReady)
    processes.prepare(1)
    pids = [message.pid for _, message in ready if isinstance(message, WorkerReady)]
    pids += [child.pid for child in multiprocessing.active_children() if child.pid not in pids]
    processes.stop()
    assert len(pids) == 4
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def write_driver(folder: Path, *lines: str) -> list[str]:
    """Write a script that starts one worker, and return its command."""
    script = folder / "script.py"
    text = (
        "print('script runs', flush=True)\n"
        "from search.config import make_config\n"
        "from search.driver.executors.processes import ProcessExecutor\n"
        "from search.messages import EpochReport, TrainTrial, WorkerSetup\n"
        "from pathlib import Path\n"
        f"folder = Path({str(folder)!r})\n"
        "setup = WorkerSetup(config=make_config({'name': 'a'}), data=folder, weights=folder,\n"
        "                    log=folder / 'worker.log')\n"
        f"executor = ProcessExecutor(1, {WORKER!r})\n"
        "executor.start(setup)\n"
        "ready = executor.receive(30.0)[0][1]\n"
    )
    script.write_text(text + "".join(f"{line}\n" for line in lines))
    return [sys.executable, str(script)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def test_a_script_without_a_main_guard_starts_its_workers_once(tmp_path: Path) -> None:
    command = write_driver(tmp_path, "print(ready.device)", "executor.stop()")
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.split("\n") == ["script runs", "script", ""]


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_busy_worker_leaves_when_its_driver_is_killed(tmp_path: Path, backend: str) -> None:
    command = write_driver(
        tmp_path,
        "executor.send(0, TrainTrial(number=99, seed=0))",
        "while not isinstance(executor.receive(30.0)[0][1], EpochReport):",
        "    pass",
        "print(ready.pid, flush=True)",
        "executor.receive(1000.0)",
    )
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**ENVIRONMENT, "KERAS_BACKEND": backend}
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "script runs\n"
        worker = os.pidfd_open(int(driver.stdout.readline()))
        driver.kill()
    assert select.select([worker], [], [], 5.0)[0] == [worker]
    os.close(worker)


def test_ctrl_c_in_the_terminal_does_not_reach_the_workers(processes: ProcessExecutor) -> None:
    ready = wait_for(processes, WorkerReady, 2)
    for _, message in ready:
        assert isinstance(message, WorkerReady)
        os.kill(message.pid, signal.SIGINT)
    processes.send(0, TrainTrial(number=1, seed=0))
    assert wait_for(processes, EpochReport)
