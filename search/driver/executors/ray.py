"""Workers that Ray places on the machines of a cluster, one actor a slot."""

import importlib
import importlib.util
import os
import pkgutil
import queue
import re
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from search.config import ClusterConfig
from search.driver.executors.base import WORKER, Arrival
from search.driver.executors.claims import claim_cores
from search.driver.executors.devices import USABLE, gpu_memory_mb, visible_gpus
from search.driver.executors.memory import limit_memory, ran_out_of_memory
from search.driver.executors.starting import QUIET, send_output
from search.errors import ConfigError, ServiceAway
from search.messages import (
    Answer,
    FromWorker,
    Stop,
    ToWorker,
    Verdict,
    WorkerDied,
    WorkerFailed,
    WorkerSetup,
)

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` it would make an environment for each worker of its own, from a copy of the working directory.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""Set before Ray is loaded: nothing is sent to anybody, and workers run as the driver does."""
CONNECT_SECONDS = 10.0
TRIES = 3
"""Ray starts a server for each driver from outside, which on a busy machine now and then dies at birth."""
REASON = 500
"""Letters of what Ray says of an actor that died."""
NODE = re.compile(r"\bnode\b.*\b(died|dead|terminated|preempted)\b", re.IGNORECASE)
"""What Ray says where a machine was lost."""
CALLS = 3
"""Calls that an actor answers at once: what it is told, while it is waited for."""


class RayExecutor:
    """One actor a slot, each with the cores, memory and part of a GPU that Ray was asked for.

    Ray never runs anything twice of itself: what becomes of a dead worker's trial is decided by the
    driver. A slot for which the cluster has no room has its worker once there is some, so that machines that
    come bring slots and those that leave take theirs.

    Args:
        count: Workers at once, where there is room; "auto" for as many as there is room for at the start.
        cluster: Where Ray is, and what each worker gets.
        worker: Path of the workers' entry point.
    """

    slots = 0

    def __init__(
        self, count: int | Literal["auto"], cluster: ClusterConfig, worker: str = WORKER
    ) -> None:
        self._count = count
        self._cluster = cluster
        self._worker = worker
        self._actors: dict[int, Any] = {}
        self._waited: dict[Any, int] = {}
        self._placed: dict[int, float] = {}
        self._logged: dict[int, int] = {}
        self._losses: tuple[type[Exception], ...] = (ConnectionError,)
        self._ours = self._gone = False
        self._home: _Home | None = None

    def start(self, setup: WorkerSetup) -> None:
        """Ask Ray for an actor a slot, and return at once.

        Raises:
            ConfigError: If Ray is not installed, or no cluster answers.
            ServiceAway: If it does not answer any more.
        """
        self._ray = load_ray()
        # What the client's own calls raise of a server that has forgotten them, as after a restart.
        self._losses += (importlib.import_module("grpc").RpcError,)
        self._ours = connect(self._ray, self._cluster)
        self.slots = (
            _count_slots(self._ray, self._cluster) if self._count == "auto" else self._count
        )
        self._setup = setup
        probe = setup.weights / f".seen_{uuid.uuid4().hex}"
        probe.touch()
        self._home = _Home(probe=probe, place=Path.cwd(), path=tuple(sys.path))
        with self._reaching():
            for slot in range(self.slots):
                self._start(slot)

    def send(self, slot: int, message: ToWorker) -> None:
        """Send to a slot's actor; what a dead one misses, ``receive`` makes known.

        Raises:
            ServiceAway: If the cluster does not answer any more, here as in all that follows.
        """
        # Once an order: the file may be on the network.
        if not isinstance(message, Answer | Verdict):
            log = self._log(slot)
            self._logged[slot] = log.stat().st_size if log.exists() else 0
        with self._reaching():
            self._actors[slot].hear.remote(message)

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        """Wait until any actor says something or dies."""
        with self._reaching():
            arrivals = self._receive(max_seconds)
            self._end_stuck()
        return arrivals

    def _receive(self, max_seconds: float) -> list[Arrival]:
        arrivals: list[Arrival] = []
        for ref in self._wait(max_seconds):
            slot = self._waited.pop(ref)
            try:
                said = self._ray.get(ref)
            except self._ray.exceptions.RayError as exc:
                arrivals.append((slot, self._bury(slot, exc)))
                self._start(slot)
                continue
            if said:
                self._placed.pop(slot, None)
            else:
                self._placed[slot] = time.monotonic()
            arrivals += [(slot, message) for message in said]
            self._listen(slot)
        return arrivals

    def _wait(self, max_seconds: float) -> Sequence[Any]:
        """Wait until something is there, then take all that is."""
        waited = list(self._waited)
        try:
            done, _ = self._ray.wait(waited, timeout=max_seconds)
            if done:
                done, _ = self._ray.wait(waited, num_returns=len(waited), timeout=0)
        except SystemError as exc:  # Ray's way to say that a signal's handler raised meanwhile
            raise exc.__cause__ or exc from None
        return list(done)

    def prepare(self, slot: int) -> None:
        """Do nothing: a second actor would need the room of the first."""

    def replace(self, slot: int) -> None:
        """End an idle actor, and have another in its slot."""
        self._forget(slot)
        with self._reaching():
            self._ray.kill(self._actors.pop(slot))
            self._start(slot)

    def kill(self, slot: int) -> None:
        """End an actor at once."""
        with self._reaching():
            self._ray.kill(self._actors[slot])

    def stop(self) -> None:
        """End all actors at once, and Ray where it was started here."""
        with suppress(ServiceAway), self._reaching():
            # Without one, Ray would look for another cluster.
            for actor in () if self._gone else self._actors.values():
                self._ray.kill(actor)
        self._actors.clear()
        self._waited.clear()
        if self._home is not None:
            self._home.probe.unlink(missing_ok=True)
        if self._ours:
            self._ray.shutdown()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say in one sentence that the cluster is gone, as Ray's client finds out."""
        try:
            yield
        except self._losses as exc:
            self._gone = True
            raise ServiceAway(
                f"The Ray cluster at {self._cluster.address} does not answer any more: "
                f"{' '.join(str(exc).split())[:REASON].rstrip('.')}. Launch the study again when it does."
            ) from None

    def _end_stuck(self) -> None:
        """End the actors that have a place and hang while they come up; then they have died."""
        limit = self._setup.config.workers.max_silent_seconds
        for slot, since in list(self._placed.items()):
            if time.monotonic() - since >= limit:
                del self._placed[slot]
                self._ray.kill(self._actors[slot])

    def _log(self, slot: int) -> Path:
        log = self._setup.log
        return log.with_name(f"{log.stem}_{slot}{log.suffix}")

    def _start(self, slot: int) -> None:
        asked = {
            "num_cpus": self._cluster.cpus,
            "num_gpus": self._cluster.gpus,
            "memory": self._cluster.memory_mb and self._cluster.memory_mb * 2**20,
        }
        setup = replace(self._setup, log=self._log(slot))
        made = self._ray.remote(_Actor).options(
            **asked, max_restarts=0, max_task_retries=0, max_concurrency=CALLS
        )
        self._actors[slot] = made.remote(self._worker, setup, self._cluster, self._home)
        self._listen(slot)

    def _listen(self, slot: int) -> None:
        self._waited[self._actors[slot].speak.remote()] = slot

    def _forget(self, slot: int) -> None:
        self._waited = {ref: other for ref, other in self._waited.items() if other != slot}

    def _bury(self, slot: int, error: Exception) -> WorkerDied:
        self._ray.kill(self._actors.pop(slot))  # one that is only out of reach must not go on
        self._placed.pop(slot, None)
        words = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())
        by_ray = isinstance(error, self._ray.exceptions.OutOfMemoryError)
        since, log = self._logged.get(slot), self._log(slot)
        machine = getattr(error, "preempted", False) or NODE.search(words)
        by_itself = since is not None and log.exists() and ran_out_of_memory(log, since)
        return WorkerDied(
            reason=f"worker {slot} was lost: {words[:REASON]}; its output is in {log}",
            out_of_memory=by_ray or "low on memory" in words or (by_itself and not machine),
        )


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A channel between the worker's thread and those that answer Ray."""

    orders: "queue.SimpleQueue[ToWorker]"
    said: "queue.SimpleQueue[FromWorker]"

    def send(self, message: FromWorker) -> None:
        self.said.put(message)

    def recv(self) -> ToWorker:
        order = self.orders.get()
        if isinstance(order, Stop):
            raise EOFError
        return order


@dataclass(frozen=True, kw_only=True)
class _Home:
    """Where the driver runs, for actors that run there too or see the same files.

    Attributes:
        probe: A file that all see who see the storage folder.
        place: The working directory, from which paths in a study file start.
        path: Where Python finds modules, those of a person's own space among them.
    """

    probe: Path
    place: Path
    path: tuple[str, ...]

    def enter(self) -> None:
        """Be there, as far as it exists."""
        if self.place.is_dir():
            os.chdir(self.place)
        sys.path += [one for one in self.path if one not in sys.path]


class _Actor:
    """A worker in a process of Ray's: what it says is waited for, what it is told is queued."""

    def __init__(
        self, worker: str, setup: WorkerSetup, cluster: ClusterConfig, home: _Home
    ) -> None:
        self._line = _Line(orders=queue.SimpleQueue(), said=queue.SimpleQueue())
        self._greeted = False
        told = (worker, setup, cluster, home)
        threading.Thread(target=self._work, args=told, daemon=True).start()

    def _work(self, worker: str, setup: WorkerSetup, cluster: ClusterConfig, home: _Home) -> None:
        try:
            if not home.probe.exists():
                self._line.send(_refuse_folder(setup.config.storage.folder))
                return
            home.enter()
            setup = replace(setup, **_prepare(setup, cluster))
            serve = pkgutil.resolve_name(worker)
        except Exception:  # noqa: BLE001 - the driver raises it; raised here, another worker would follow
            self._line.send(WorkerFailed(traceback=traceback.format_exc()))
            return
        serve(self._line, setup)

    def hear(self, message: ToWorker) -> None:
        """Take what the driver says."""
        self._line.orders.put(message)

    def speak(self) -> list[FromWorker]:
        """Wait until the worker says something, and hand out all that it has said.

        The first time there is nothing to hand out: that tells that the actor has its place.
        """
        if not self._greeted:
            self._greeted = True
            return []
        said = [self._line.said.get()]
        while not self._line.said.empty():
            said.append(self._line.said.get())
        return said


def _prepare(setup: WorkerSetup, cluster: ClusterConfig) -> dict[str, Any]:
    """Give this process its share of the machine; return what the worker is to know of it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    send_output(setup.log)
    if setup.config.workers.max_memory_mb is not None:
        limit_memory(setup.config.workers.max_memory_mb)
    if not cluster.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # Ray hides none from whoever asked for none
    gpus = visible_gpus() if cluster.gpus else ()
    if not gpus:
        return {"cores": claim_cores(cluster.cpus)}
    sharers = max(1, int(1 / cluster.gpus))
    memory = gpu_memory_mb(gpus[0])
    if sharers > 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{USABLE / sharers:.3f}")
        memory = memory and int(USABLE * memory / sharers)
    return {"gpu": gpus[0], "gpu_sharers": sharers, "gpu_memory_mb": memory}


def _refuse_folder(folder: Path) -> WorkerFailed:
    where = os.uname().nodename
    return WorkerFailed(
        traceback="",
        mistake=f"storage.folder must be one that all machines of the cluster see under the same path, "
        f"where checkpoints and weights are handed on. Received: {str(folder)!r}, which {where} does "
        f"not see. Name one on shared files, and launch again.",
    )


def load_ray() -> Any:
    """Load Ray.

    Returns:
        The module.

    Raises:
        ConfigError: If it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "workers.executor must be 'processes' where Ray is not installed. Received: 'ray'. "
            "Launch by `scripts/run --extra cluster ...`."
        )
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    return importlib.import_module("ray")


def connect(ray: Any, cluster: ClusterConfig) -> bool:
    """Connect to a cluster, unless this process is.

    Args:
        ray: The module.
        cluster: Where it is.

    Returns:
        Whether this process has connected now, and is to disconnect.

    Raises:
        ConfigError: If none answers, or it does not let us in.
    """
    if ray.is_initialized():
        return False
    before = signal.getsignal(signal.SIGTERM)
    host, _, port = cluster.address.rpartition(":")
    try:
        if host and port.isdecimal() and "//" not in host:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        _join(ray, cluster.address)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as exc:
        raise ConfigError(
            f"cluster.address must be that of a Ray cluster that answers: {' '.join(str(exc).split())}. "
            f"Received: {cluster.address!r}. Start one with `ray start --head`, or write 'local'. Where it "
            f"asks for a token, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN must be set here as there."
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own handler leaves at once
    return True


def _join(ray: Any, address: str) -> None:
    for left in reversed(range(TRIES)):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except ConnectionAbortedError:
            if not left:
                raise
        else:
            return


def _count_slots(ray: Any, cluster: ClusterConfig) -> int:
    """Count the workers that a cluster has room for, one at least."""
    there = ray.cluster_resources()
    rooms = [there.get("CPU", 0) / cluster.cpus] if cluster.cpus else []
    rooms += [there.get("GPU", 0) / cluster.gpus] if cluster.gpus else []
    rooms += [there.get("memory", 0) / 2**20 / cluster.memory_mb] if cluster.memory_mb else []
    return max(1, int(min(rooms)))
