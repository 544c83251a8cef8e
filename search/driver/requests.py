"""What the driver asks of workers outside the loop: the space's listing, a refit, a test score."""

from dataclasses import dataclass
from typing import TypeVar

from search.config import StudyConfig
from search.driver.executors.base import Executor
from search.driver.interrupts import Interrupt
from search.driver.progress import View
from search.errors import ConfigError
from search.messages import (
    DiskNews,
    FromWorker,
    ListSpace,
    RefitTrial,
    ScoreTrial,
    SpaceListed,
    WorkerDied,
    WorkerFailed,
    WorkerReady,
)

TICK_SECONDS = 0.5
"""How often the driver looks at the clock and at Ctrl-C while no message comes."""
Reply = TypeVar("Reply")


class WorkerBug(RuntimeError):
    """A worker met what is nobody's candidate and nobody's setting: a mistake of ours."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What the loop works with.

    Attributes:
        config: The study.
        executor: Its workers.
        view: What the person sees.
        interrupt: Whether the person asked to stop.
        start: When the launch began, on the monotonic clock.
    """

    config: StudyConfig
    executor: Executor
    view: View
    interrupt: Interrupt
    start: float


def list_space(room: Room) -> tuple[SpaceListed, dict[int, WorkerReady]]:
    """Have the first worker that is ready build the default candidate once.

    Args:
        room: Executor started.

    Returns:
        What the space asked for, and the workers that are ready.

    Raises:
        ConfigError: If the default candidate cannot be built.
        KeyboardInterrupt: If the person asked to stop meanwhile.
        WorkerBug: If workers do not come up.
    """
    ready: dict[int, WorkerReady] = {}
    listed: SpaceListed | None = None
    asked, deaths = -1, 0
    while listed is None:
        if room.interrupt.requested:
            raise KeyboardInterrupt
        if ready and asked < 0:
            asked = min(ready)
            room.executor.send(asked, ListSpace())
        for slot, message in room.executor.receive(TICK_SECONDS):
            match message:
                case WorkerReady():
                    ready[slot] = message
                case WorkerDied() if deaths < room.config.workers.max_restarts:
                    deaths += 1
                    ready.pop(slot, None)
                    asked = -1 if slot == asked else asked
                case SpaceListed(error=""):
                    listed = message
                case SpaceListed():
                    raise ConfigError(message.error)
                case _:
                    raise_failure(message)
    return listed, ready


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
        case WorkerDied():
            raise WorkerBug(f"A worker did not come up: {message.reason}.")
        case _:
            raise WorkerBug(f"A worker said what nobody asked for: {message!r}.")


def ask_worker(
    room: Room, idle: set[int], order: RefitTrial | ScoreTrial, reply: type[Reply]
) -> Reply:
    """Give one order to an idle worker and wait for its reply.

    Args:
        room: Executor started, no trial running.
        idle: The slots whose workers wait; kept up to date.
        order: What to do.
        reply: The kind of message that says it is done.

    Returns:
        That message.

    Raises:
        KeyboardInterrupt: If the person asked to stop meanwhile.
        WorkerBug: If the worker cannot.
    """
    said: list[Reply] = []
    asked, deaths = -1, 0
    while not said:
        if room.interrupt.requested:
            raise KeyboardInterrupt
        if idle and asked < 0:
            asked = idle.pop()
            room.executor.send(asked, order)
        for slot, message in room.executor.receive(TICK_SECONDS):
            match message:
                case WorkerReady():
                    idle.add(slot)
                case DiskNews():
                    room.view.say(message.text)
                case WorkerDied() if deaths < room.config.workers.max_restarts:
                    deaths += 1
                    idle.discard(slot)
                    asked = -1 if slot == asked else asked
                case _ if isinstance(message, reply):
                    idle.add(slot)
                    said.append(message)
                case _:
                    raise_failure(message)
    return said[0]
