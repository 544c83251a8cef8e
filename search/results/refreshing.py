"""A study's page is written again and again while the study runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.errors import SearchError
from search.results.fresh import FreshProcess, ProcessFailed

WRITE = "search.results.refreshing:write_once"


@contextmanager
def keep_report(name: str, *, folder: Path, uri: str | None, seconds: float) -> Iterator[None]:
    """Write a study's page from time to time until the block is left.

    Each is drawn by a process of its own: the driver stays small, and no trial waits for a page.

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
            # No trial yet, a store that is away, a disk that is full or a process that the system ended:
            # the next page will do, and the last one tells.
            with suppress(SearchError, ProcessFailed, OSError), FreshProcess(WRITE) as process:
                process.call(name=name, folder=str(folder), uri=uri)

    thread = threading.Thread(target=write, name="report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
    # Only now: a second Ctrl-C waits for no page.
    thread.join()


def write_once(*, name: str, folder: str, uri: str | None) -> str:
    """Write a study's page, as a function of JSON values.

    Args:
        name: The study's name.
        folder: The storage folder.
        uri: Address of the MLflow store; ``None`` for the folder's own.

    Returns:
        The page's path.

    Raises:
        SearchError: As ``write_report``.
    """
    # Loaded by the process that draws, and not by the launch, which names it.
    from search.results.report import write_report  # noqa: PLC0415

    return str(write_report(name, folder=Path(folder), uri=uri).path)
