"""Cores of a machine that processes of one user claim for themselves, until they end."""

import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from search.driver.executors.devices import usable_cores

_HELD: list[FileLock] = []


def claim_cores(count: float) -> tuple[int, ...]:
    """Claim cores that no other process of this user has claimed, and stay on them.

    Args:
        count: How many.

    Returns:
        The cores; none, and this process may use all, where ``count`` is no whole number or fewer are
        free.
    """
    if count != int(count) or count < 1:
        return ()
    folder = Path(tempfile.gettempdir()) / f"lookback-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    claimed: dict[int, FileLock] = {}
    for core in usable_cores():
        lock = FileLock(folder / f"{core}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        claimed[core] = lock
        if len(claimed) == count:
            break
    if len(claimed) < count:
        for lock in claimed.values():
            lock.release()
        return ()
    _HELD.extend(claimed.values())
    os.sched_setaffinity(0, claimed)
    return tuple(claimed)
