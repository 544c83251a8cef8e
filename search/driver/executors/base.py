"""What every executor can do: start workers, carry messages, say when a worker has died."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from search.messages import FromWorker, ToWorker, WorkerSetup

WORKER = "search.worker.serving:serve"
"""The workers' entry point, by path: the driver never imports it."""
Arrival: TypeAlias = tuple[int, FromWorker]
"""A slot and what its worker said."""


class Executor(Protocol):
    """Workers in numbered slots, from 0.

    A slot's first message is ``WorkerReady``; after ``WorkerDied`` another worker is on its
    way to the same slot and says ``WorkerReady`` in turn.
    """

    @property
    def slots(self) -> int:
        """How many workers there are."""

    def start(self, setup: WorkerSetup) -> None:
        """Start a worker in every slot and return at once.

        Args:
            setup: What the workers share; cores and GPU are filled in for each slot.
        """

    def send(self, slot: int, message: ToWorker) -> None:
        """Hand a message to a slot's worker; if it is dead, ``receive`` says so."""

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        """Wait for messages.

        Args:
            max_seconds: How long to wait at most.

        Returns:
            What arrived, in order for each slot; empty if nothing did.
        """

    def prepare(self, slot: int) -> None:
        """Start what will take a busy worker's place at the next ``replace``, where there can be two."""

    def replace(self, slot: int) -> None:
        """End an idle worker and start a fresh one in its slot."""

    def kill(self, slot: int) -> None:
        """End a busy worker at once, where it can be; ``receive`` then says that it died."""

    def stop(self) -> None:
        """End all workers and wait until they are gone."""
