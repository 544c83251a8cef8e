"""A disk that is full: whoever has to write waits until there is room, and says so once."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PAUSE_SECONDS = 1.0
FULL = (errno.ENOSPC, errno.EDQUOT)
CUT_SHORT = "requested and"
"""How NumPy says that it wrote less of an array than it should: it tells no reason."""
WORDS = tuple(os.strerror(code) for code in FULL)
"""How TensorFlow says it, in an error of its own."""
Result = TypeVar("Result")


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came of, says that a disk is full.

    Args:
        error: What a write raised, wrapped in whatever a library made of it.

    Returns:
        Whether waiting for room makes sense.
    """
    while error is not None:
        if isinstance(error, OSError) and (error.errno in FULL or CUT_SHORT in str(error)):
            return True
        if any(words in str(error) for words in WORDS):
            return True
        if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def wait_for_room(
    write: Callable[[], Result], *, place: Path, say: Callable[[str], None]
) -> Result:
    """Write, and while the disk is full write again.

    Args:
        write: Writes wholly or not at all.
        place: What is written to, for the person who can make room.
        say: Called when waiting begins and when it is over; what it raises ends the waiting.

    Returns:
        What ``write`` returns.
    """
    waiting = False
    while True:
        try:
            result = write()
        except Exception as exc:
            if not is_full(exc):
                raise
            if not waiting:
                waiting = True
                say(f"No room is left for {place}: waiting until somebody makes some there.")
            time.sleep(PAUSE_SECONDS)
        else:
            if waiting:
                say(f"There is room for {place} again.")
            return result
