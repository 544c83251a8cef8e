"""Workers on a Ray cluster of this machine: what is lost with an actor or a machine, and what is said of it."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from search.config import ClusterConfig, make_config
from search.driver.executors.ray import TRIES, RayExecutor, connect
from search.errors import ConfigError, ServiceAway
from search.messages import (
    EpochReport,
    FromWorker,
    ScoreMembers,
    TrainTrial,
    TrialScored,
    WorkerDied,
    WorkerFailed,
    WorkerReady,
    WorkerSetup,
)

WORKER = "scripted_worker:serve"
ROOT = Path(__file__).parents[4]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
def setup(tmp_path: Path) -> WorkerSetup:
    return WorkerSetup(
        config=make_config({"name": "cluster"}),
        data=tmp_path,
        weights=tmp_path,
        log=tmp_path / "worker.log",
    )


@pytest.fixture
def executor(ray_cluster: ModuleType, setup: WorkerSetup) -> Iterator[RayExecutor]:
    executor = RayExecutor(2, ClusterConfig(), WORKER)
    executor.start(setup)
    yield executor
    executor.stop()


def wait_for(executor: RayExecutor, kind: type, count: int = 1) -> list[tuple[int, FromWorker]]:
    seen: list[tuple[int, FromWorker]] = []
    while sum(isinstance(message, kind) for _, message in seen) < count:
        seen += executor.receive(5.0)
    return seen


def test_a_killed_actor_is_noticed_and_followed_by_another(executor: RayExecutor) -> None:
    wait_for(executor, WorkerReady, 2)
    executor.send(1, TrainTrial(number=666, seed=0))
    slot, death = wait_for(executor, WorkerDied)[-1]
    assert slot == 1
    assert isinstance(death, WorkerDied)
    assert "worker 1 was lost: The actor died" in death.reason
    assert not death.out_of_memory
    assert [slot for slot, _ in wait_for(executor, WorkerReady)] == [1]


def test_a_busy_actor_is_ended_at_once(executor: RayExecutor) -> None:
    wait_for(executor, WorkerReady, 2)
    executor.send(0, TrainTrial(number=99, seed=0))
    wait_for(executor, EpochReport)
    executor.kill(0)
    assert wait_for(executor, WorkerDied)[-1][0] == 0
    assert wait_for(executor, WorkerReady)[-1][0] == 0


def test_output_goes_to_the_slots_log(executor: RayExecutor, setup: WorkerSetup) -> None:
    wait_for(executor, WorkerReady, 2)
    executor.send(1, TrainTrial(number=1, seed=0))
    wait_for(executor, EpochReport)
    assert "worker speaks" in setup.log.with_name("worker_1.log").read_text()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores to share")
def test_actors_have_cores_of_their_own(executor: RayExecutor) -> None:
    wait_for(executor, WorkerReady, 2)
    for slot in range(2):
        executor.send(slot, ScoreMembers(members=()))
        scored = wait_for(executor, TrialScored)[-1][1]
        assert isinstance(scored, TrialScored)
        assert scored.metrics["cores"] == 1


def test_no_actor_stays_behind(executor: RayExecutor) -> None:
    ready = wait_for(executor, WorkerReady, 2)
    lines = [os.pidfd_open(m.pid) for _, m in ready if isinstance(m, WorkerReady)]
    executor.stop()
    for line in lines:
        assert select.select([line], [], [], 10.0)[0] == [line]
        os.close(line)


def test_a_slot_without_room_has_its_worker_once_there_is_some(
    ray_cluster: ModuleType, setup: WorkerSetup
) -> None:
    executor = RayExecutor(3, ClusterConfig(), WORKER)
    executor.start(setup)
    try:
        ready = wait_for(executor, WorkerReady, 2)
        assert list(executor.receive(0.5)) == []
        there = {slot for slot, _ in ready}
        (missing,) = {0, 1, 2} - there
        first = min(there)
        executor.send(first, TrainTrial(number=666, seed=0))
        # In the room of the one that died comes up the one that waited, or its own successor.
        assert wait_for(executor, WorkerReady)[-1][0] in (missing, first)
    finally:
        executor.stop()


def test_as_many_workers_as_there_is_room_for(ray_cluster: ModuleType, setup: WorkerSetup) -> None:
    executor = RayExecutor("auto", ClusterConfig(cpus=1), WORKER)
    executor.start(setup)
    executor.stop()
    assert executor.slots == 2


def test_a_worker_that_cannot_begin_is_a_bug_and_not_a_death(
    ray_cluster: ModuleType, setup: WorkerSetup
) -> None:
    executor = RayExecutor(1, ClusterConfig(), "no_such_module:serve")
    executor.start(setup)
    try:
        told = wait_for(executor, WorkerFailed)[-1][1]
    finally:
        executor.stop()
    assert isinstance(told, WorkerFailed)
    assert "No module named 'no_such_module'" in told.traceback


def test_a_folder_that_an_actor_does_not_see_is_the_persons_to_mend(
    executor: RayExecutor, setup: WorkerSetup
) -> None:
    wait_for(executor, WorkerReady, 2)
    assert executor._home is not None
    executor._home.probe.unlink()
    executor.replace(0)
    told = wait_for(executor, WorkerFailed)[-1][1]
    assert isinstance(told, WorkerFailed)
    assert told.mistake.startswith(
        "storage.folder must be one that all machines of the cluster see"
    )


def test_a_cluster_that_does_not_answer_is_named(free_port: int) -> None:
    address = f"127.0.0.1:{free_port}"
    script = (
        "from search.config import ClusterConfig\n"
        "from search.driver.executors.ray import connect, load_ray\n"
        f"connect(load_ray(), ClusterConfig(address={address!r}))\n"
    )
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert "cluster.address must be that of a Ray cluster that answers" in done.stderr
    assert "ray start --head" in done.stderr


LOST = """
import os, signal, sys
from pathlib import Path
from services import load_services
from search.config import ClusterConfig, make_config
from search.driver.executors.ray import RayExecutor
from search.errors import ServiceAway
from search.messages import WorkerReady, WorkerSetup

folder = Path(sys.argv[1])
config = make_config({"name": "lost"})
setup = WorkerSetup(config=config, data=folder, weights=folder, log=folder / "worker.log")
with load_services().run_ray(1) as ray:
    os.environ.update(ray.environment, RAY_CLIENT_RECONNECT_GRACE_PERIOD="1")
    executor = RayExecutor(1, ClusterConfig(address=ray.client_address), "scripted_worker:serve")
    executor.start(setup)
    while not any(isinstance(message, WorkerReady) for _, message in executor.receive(5.0)):
        pass
    os.killpg(ray.head.pid, signal.SIGKILL)
    try:
        while True:
            executor.receive(1.0)
    except ServiceAway as exc:
        print(exc)
    executor.stop()
    print("stopped")
"""


def test_a_cluster_that_is_lost_ends_its_driver_with_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", LOST, str(tmp_path)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=150
    )
    said, stopped = done.stdout.splitlines()[-2:]
    assert said.startswith("The Ray cluster at ray://127.0.0.1:"), done.stderr
    assert said.endswith("Launch the study again when it does.")
    assert stopped == "stopped"


def test_a_head_that_came_back_without_its_drivers_is_lost_too(executor: RayExecutor) -> None:
    grpc = pytest.importorskip("grpc", reason="comes with Ray's client")
    with pytest.raises(ServiceAway, match="does not answer any more"), executor._reaching():
        raise grpc.RpcError("NOT_FOUND: the session has been cleaned up")


def test_sigterm_stays_the_drivers_own() -> None:
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    script = (
        "import signal\n"
        "from search.config import ClusterConfig\n"
        "from search.driver.executors.ray import connect, load_ray\n"
        "signal.signal(signal.SIGTERM, print)\n"
        "ray = load_ray()\n"
        "connect(ray, ClusterConfig(address='local'))\n"
        "assert signal.getsignal(signal.SIGTERM) is print\n"
        "ray.shutdown()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_an_actor_that_hangs_while_it_comes_up_is_ended(
    ray_cluster: ModuleType, setup: WorkerSetup
) -> None:
    config = make_config({"name": "cluster", "workers": {"max_silent_seconds": 0.5}})
    executor = RayExecutor(1, ClusterConfig(), "scripted_worker:hang")
    executor.start(replace(setup, config=config))
    try:
        assert wait_for(executor, WorkerDied)[-1][0] == 0
    finally:
        executor.stop()


def test_an_actor_that_memory_ran_out_for_is_told_from_one_that_was_lost(
    executor: RayExecutor,
) -> None:
    wait_for(executor, WorkerReady, 2)
    executor.send(0, TrainTrial(number=667, seed=0))
    death = wait_for(executor, WorkerDied)[-1][1]
    assert isinstance(death, WorkerDied)
    assert death.out_of_memory
    wait_for(executor, WorkerReady)
    executor.send(0, TrainTrial(number=666, seed=0))
    death = wait_for(executor, WorkerDied)[-1][1]
    assert isinstance(death, WorkerDied)
    assert not death.out_of_memory


def test_workers_see_no_gpu_where_none_was_asked_for(executor: RayExecutor) -> None:
    wait_for(executor, WorkerReady, 2)
    executor.send(0, ScoreMembers(members=()))
    scored = wait_for(executor, TrialScored)[-1][1]
    assert isinstance(scored, TrialScored)
    assert scored.metrics["hidden_gpus"] == 1


class BusyRay:
    """Ray on a machine so busy that the server that it starts for a driver dies, some times."""

    exceptions = SimpleNamespace(RayError=type("RayError", (Exception,), {}))

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths

    def is_initialized(self) -> bool:
        return False

    def init(self, **settings: object) -> None:
        if self.deaths:
            self.deaths -= 1
            raise ConnectionAbortedError("Initialization failure from server:\nsee its log")


def test_a_driver_outside_the_cluster_is_not_put_off_by_a_server_that_died_at_birth() -> None:
    cluster = ClusterConfig(address="ray://head:10001")
    assert connect(BusyRay(TRIES - 1), cluster)
    with pytest.raises(ConfigError, match="answers: Initialization failure from server: see"):
        connect(BusyRay(TRIES), cluster)


def test_a_missing_token_is_named() -> None:
    class Guarded(BusyRay):
        def init(self, **settings: object) -> None:
            raise self.exceptions.RayError("Token authentication is enabled but no token was found")

    with pytest.raises(ConfigError, match=r"no token was found.*RAY_AUTH_TOKEN must be set here"):
        connect(Guarded(0), ClusterConfig())


def test_an_executor_that_found_no_cluster_stops() -> None:
    RayExecutor(2, ClusterConfig(), WORKER).stop()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"gpus": 1.5}, "whole number, or below 1"), ({"cpus": 0}, "cluster.cpus must be above 0")],
)
def test_a_wrong_share_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config({"name": "a", "cluster": settings})
