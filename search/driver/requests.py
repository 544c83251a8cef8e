"""What the driver asks of workers outside the loop: the space's listing, trainings again, a test score."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from search.config import StudyConfig
from search.driver.executors.base import Executor
from search.driver.interrupts import Interrupt
from search.driver.progress import View
from search.errors import ConfigError, StudyStopped
from search.messages import (
    DiskNews,
    EpochReport,
    FromWorker,
    ListSpace,
    Outcome,
    RefitTrial,
    RepeatTrial,
    ScoreMembers,
    SpaceListed,
    TrialEnded,
    Verdict,
    WorkerDied,
    WorkerFailed,
    WorkerReady,
)

TICK_SECONDS = 0.5
"""How often the driver looks at the clock and at Ctrl-C while no message comes."""
LATE_SECONDS = 60.0
"""After how long without any worker the person is told what is waited for."""
AWAY_SECONDS = 10.0
"""A driver that has not looked for longer was held up itself, by a full disk or Ctrl-Z."""
Order: TypeAlias = RepeatTrial | RefitTrial | ScoreMembers
Reply = TypeVar("Reply")
Hear: TypeAlias = Callable[[int, EpochReport | Reply], Verdict | None]


class WorkerBug(RuntimeError):
    """A worker met what is nobody's candidate and nobody's setting: a mistake of ours."""


class Starts:
    """Which slots have a worker that is up, and how often in a row one died there before it was.

    Who was up and had nothing to do dies with its machine: however many do, that is nobody's mistake.
    """

    def __init__(self) -> None:
        self._up: set[int] = set()
        self._deaths = Counter[int]()

    def welcome(self, slot: int) -> None:
        """Take in that a slot's worker is up."""
        self._up.add(slot)
        self._deaths.pop(slot, None)

    def bury(self, slot: int, death: WorkerDied, limit: int) -> None:
        """Take in that a slot's worker died, with nothing to do.

        Args:
            slot: Its slot.
            death: How it ended.
            limit: How many workers of a slot may die in a row before they are up.

        Raises:
            StudyStopped: If one more did.
        """
        if slot in self._up:
            self._up.remove(slot)
            return
        self._deaths[slot] += 1
        if self._deaths[slot] > limit:
            raise StudyStopped(
                f"Workers must come up. Received: {self._deaths[slot]} that died in a row before they "
                f"had, the last one because {death.reason}. Mend that, and launch the study again."
            )


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the loop works with.

    Attributes:
        config: The study.
        executor: Its workers.
        view: What the person sees.
        interrupt: Whether the person asked to stop.
        start: When the launch began, on the monotonic clock.
        starts: Which workers are up.
    """

    config: StudyConfig
    executor: Executor
    view: View
    interrupt: Interrupt
    start: float
    starts: Starts = field(default_factory=Starts)


def list_space(room: Room) -> tuple[SpaceListed, dict[int, WorkerReady]]:
    """Have the first worker that is ready build the default candidate once.

    Args:
        room: Executor started.

    Returns:
        What the space asked for, and the workers that are ready.

    Raises:
        ConfigError: If the default candidate cannot be built.
        KeyboardInterrupt: If the person asked to stop meanwhile.
        StudyStopped: If workers do not come up, or die of the default candidate.
        WorkerBug: If one fails.
    """
    listing = _Listing(room)
    late = time.monotonic() + LATE_SECONDS
    while listing.listed is None:
        if room.interrupt.requested:
            raise KeyboardInterrupt
        if not listing.ready and time.monotonic() > late:
            late = math.inf
            room.view.say(_explain_wait(room.config))
        listing.dispatch()
        for slot, message in room.executor.receive(TICK_SECONDS):
            listing.handle(slot, message)
    return listing.listed, listing.ready


class _Listing:
    """Who is up, and whether the space is listed; see ``list_space``."""

    def __init__(self, room: Room) -> None:
        self.ready: dict[int, WorkerReady] = {}
        self.listed: SpaceListed | None = None
        self._room = room
        self._asked = -1
        self._deaths = 0

    def dispatch(self) -> None:
        """Have one worker list the space, unless one does."""
        if self.ready and self._asked < 0:
            self._asked = min(self.ready)
            self._room.executor.send(self._asked, ListSpace())

    def handle(self, slot: int, message: FromWorker) -> None:
        """Take in what a worker said; see ``list_space``."""
        match message:
            case WorkerReady():
                self.ready[slot] = message
                self._room.starts.welcome(slot)
            case WorkerDied():
                self._bury(slot, message)
                self.ready.pop(slot, None)
            case SpaceListed(error=""):
                self.listed = message
            case SpaceListed():
                raise ConfigError(message.error)
            case _:
                raise_failure(message)

    def _bury(self, slot: int, death: WorkerDied) -> None:
        limit = self._room.config.workers.max_restarts
        if slot != self._asked:
            self._room.starts.bury(slot, death, limit)
            return
        self._asked = -1
        self._deaths += 1
        if self._deaths > limit:
            raise StudyStopped(
                f"The default candidate must be one that a worker can build. Received: {self._deaths} "
                f"workers that died of it, the last one because {death.reason}."
            )


def _explain_wait(config: StudyConfig) -> str:
    """Say why no worker may have come up yet."""
    said = f"No worker has come up in {LATE_SECONDS:g} s. Waiting for one"
    if config.workers.executor != "ray":
        return f"{said}."
    asked = config.cluster
    memory = f", cluster.memory_mb={asked.memory_mb}" if asked.memory_mb else ""
    return (
        f"{said}: Ray places it on a machine that has room for cluster.cpus={asked.cpus:g}, "
        f"cluster.gpus={asked.gpus:g}{memory}. `ray status` says what is free."
    )


def raise_failure(message: FromWorker) -> None:
    """Raise what a worker that cannot go on said.

    Raises:
        ConfigError: If the person who runs the study can mend it.
        WorkerBug: In every other case.
    """
    match message:
        case WorkerFailed(mistake=""):
            raise WorkerBug(f"A worker failed:\n{message.traceback}")
        case WorkerFailed():
            raise ConfigError(message.mistake)
        case _:
            raise WorkerBug(f"A worker said what nobody asked for: {message!r}.")


def ask_workers(
    room: Room,
    idle: set[int],
    orders: Sequence[Order],
    reply: type[Reply],
    what: str,
    hear: Hear[Reply] = lambda number, message: None,
) -> list[Reply]:
    """Give each order to an idle worker and wait for the replies.

    Args:
        room: Executor started, no trial running.
        idle: The slots whose workers wait; kept up to date.
        orders: What to do.
        reply: The kind of message that says that an order is done.
        what: What is done, for the person who waits.
        hear: Told of every epoch and every reply, with the place of its order; what it returns of
            an epoch is the verdict, and nothing means to go on.

    Returns:
        The replies, in the order of the orders.

    Raises:
        KeyboardInterrupt: If the person asked to stop meanwhile.
        StudyStopped: If workers die of an order that is no one candidate's, or do not come up.
        WorkerBug: If a worker cannot.
    """
    asking = _Asking(room, idle, orders, reply, hear)
    start = time.monotonic()
    while len(asking.said) < len(orders):
        if room.interrupt.requested:
            raise KeyboardInterrupt
        asking.dispatch()
        for slot, message in room.executor.receive(TICK_SECONDS):
            asking.handle(slot, message)
        asking.end_silent()
        room.view.show_step(what, len(asking.said), len(orders), time.monotonic() - start)
    return [asking.said[number] for number in range(len(orders))]


def give_up(order: Order, death: WorkerDied) -> Any:
    """Answer an order in the place of workers that died of it.

    Args:
        order: What was to be done.
        death: How the last of them ended.

    Returns:
        What a worker says of a candidate that fails; ``None`` for an order of no one candidate's.
    """
    reason = f"The worker did not live to its end: {death.reason}."
    match order:
        case RepeatTrial() | RefitTrial():
            outcome = Outcome.OUT_OF_MEMORY if death.out_of_memory else Outcome.FAILED
            return TrialEnded(outcome=outcome, parameters=order.parameters, reason=reason)
        case _:
            return None


class _Asking(Generic[Reply]):
    """Who was asked what, and what was said; see ``ask_workers``."""

    def __init__(
        self,
        room: Room,
        idle: set[int],
        orders: Sequence[Order],
        reply: type[Reply],
        hear: Hear[Reply],
    ) -> None:
        self.said: dict[int, Reply] = {}
        self._room = room
        self._idle = idle
        self._orders = orders
        self._reply = reply
        self._hear = hear
        self._waiting = deque(range(len(orders)))
        self._asked: dict[int, int] = {}
        self._heard: dict[int, float] = {}
        self._deaths = Counter[int]()
        self._silent: set[int] = set()
        self._looked = time.monotonic()

    def dispatch(self) -> None:
        """Give orders to workers that wait."""
        while self._idle and self._waiting:
            slot = min(self._idle)
            self._idle.remove(slot)
            self._asked[slot], self._heard[slot] = self._waiting.popleft(), time.monotonic()
            self._room.executor.send(slot, self._orders[self._asked[slot]])

    def handle(self, slot: int, message: FromWorker) -> None:
        """Take in what a worker said.

        Raises:
            ConfigError: If the person who runs the study can mend it.
            StudyStopped: If workers die of an order that is no one candidate's, or do not come up.
            WorkerBug: If the worker cannot go on.
        """
        self._heard[slot] = time.monotonic()
        number = self._asked.get(slot, -1)
        match message:
            case WorkerReady():
                self._silent.discard(slot)
                self._idle.add(slot)
                self._room.starts.welcome(slot)
            case DiskNews():
                self._room.view.say(message.text)
                if message.waiting:
                    self._heard[slot] = math.inf
            case EpochReport() if slot in self._asked:
                verdict = self._hear(number, message)
                self._room.executor.send(slot, verdict or Verdict())
            case WorkerDied() if slot in self._asked:
                self._bury(slot, self._asked[slot], message)
            case WorkerDied():
                self._room.starts.bury(slot, message, self._room.config.workers.max_restarts)
                self._idle.discard(slot)
            case _ if slot in self._asked and isinstance(message, self._reply):
                self.said[self._asked.pop(slot)] = message
                self._free(slot, message)
                self._hear(number, message)
            case _:
                raise_failure(message)

    def end_silent(self) -> None:
        """End workers that hang; the executor then says that they died."""
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        for slot in self._asked:
            if away > AWAY_SECONDS:
                self._heard[slot] += away
            silent = now - self._heard[slot]
            if silent >= self._room.config.workers.max_silent_seconds:
                self._heard[slot] = math.inf
                self._silent.add(slot)
                self._room.executor.kill(slot)

    def _bury(self, slot: int, number: int, death: WorkerDied) -> None:
        """Decide what becomes of an order whose worker died."""
        again = self._deaths[number] < self._room.config.workers.max_restarts
        starved = death.out_of_memory and slot not in self._silent
        if again and not starved:
            self._deaths[number] += 1
            self._waiting.appendleft(self._asked.pop(slot))
            return
        times = self._deaths[number] + 1
        if slot in self._silent:
            raise ConfigError(
                f"workers.max_silent_seconds must leave time for an epoch. Received: "
                f"{self._room.config.workers.max_silent_seconds:g} s, in which a worker said "
                f"nothing, {times} times."
            )
        answer = give_up(self._orders[number], death)
        if answer is None:
            raise StudyStopped(
                f"Scoring must leave its worker alive. Received: {times} workers that died of it, the "
                f"last one because {death.reason}. Mend that, and launch the study again."
            )
        self.said[self._asked.pop(slot)] = answer
        self._hear(number, answer)

    def _free(self, slot: int, message: object) -> None:
        """Let a worker wait for its next order, or replace it where it has grown too large."""
        limit = self._room.config.workers.recycle_mb
        if isinstance(message, TrialEnded) and message.memory_mb > limit:
            self._room.executor.replace(slot)
        else:
            self._idle.add(slot)
