"""A study's page is written again and again while the study runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.errors import SearchError


@contextmanager
def keep_report(name: str, *, folder: Path, uri: str | None, seconds: float) -> Iterator[None]:
    """Write a study's page from time to time until the block is left.

    Args:
        name: The study's name; it need not exist yet.
        folder: The storage folder.
        uri: Address of the MLflow store; ``None`` for the folder's own.
        seconds: Time between one page and the next.

    Yields:
        Nothing.
    """
    over = threading.Event()

    def write() -> None:
        while not over.wait(seconds):
            # Loaded now, since the launch shall not wait for it.
            from search.results.report import write_report  # noqa: PLC0415

            # No trial yet, or a store that is away: the next page will do, and the last one tells.
            with suppress(SearchError):
                write_report(name, folder=folder, uri=uri)

    thread = threading.Thread(target=write, name="report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
    # Only now: a second Ctrl-C waits for no page.
    thread.join()
