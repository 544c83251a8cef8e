"""How much memory a worker may take, and whether it died for want of it."""

import math
import os
import re
import resource
from pathlib import Path

SIGNS = re.compile(
    rb"bad_alloc|out of memory|OOM when allocating|RESOURCE_EXHAUSTED", re.IGNORECASE
)
"""What C++ libraries write before they abort for want of memory."""
TAIL_BYTES = 65_536
_VMSTAT = Path("/proc/vmstat")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def limit_memory(limit_mb: int) -> None:
    """Let this process ask the system for no more than a limit.

    What is asked for beyond it is refused, which Python and TensorFlow make an error of the
    candidate. Files that are mapped and not written, as the data are, do not count.

    Args:
        limit_mb: In MiB.
    """
    limit = limit_mb * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def free_memory_mb() -> float:
    """Say how much memory this process and what it starts may still take, in MiB.

    Returns:
        The least of what Linux has for new work and what a container leaves, whose cache of files that
        nobody reads any more can be had too; infinity where the system does not say.
    """
    free = math.inf
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
        free = int(found[1]) / 1024 if found else free
        limit, used = (
            (_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current")
        )
        cache = re.search(
            r"^inactive_file (\d+)$", (_CGROUP / "memory.stat").read_text(), re.MULTILINE
        )
        if limit.isdecimal():
            free = min(free, (int(limit) - int(used) + int(cache[1] if cache else 0)) / 2**20)
    except OSError:
        return free
    return free


def count_fitting(slots: int, each_mb: float, free_mb: float) -> int:
    """Count how many workers find room.

    Args:
        slots: As many as there may be.
        each_mb: What each will hold, in MiB.
        free_mb: What there is, in MiB.

    Returns:
        The number, at least one.
    """
    if each_mb * slots <= free_mb:
        return slots
    return max(1, int(free_mb / each_mb))


def count_memory_kills() -> int:
    """Count the processes that Linux has killed since it started because memory ran out.

    Returns:
        The count; 0 where the system does not say.
    """
    try:
        found = re.search(r"^oom_kill (\d+)$", _VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def ran_out_of_memory(log: Path, since: int) -> bool:
    """Tell whether the last that a process wrote speaks of memory that ran out.

    Args:
        log: Its output.
        since: Where in it the last order's begins, in bytes.

    Returns:
        Whether it does.
    """
    with log.open("rb") as file:
        file.seek(max(since, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        return bool(SIGNS.search(file.read()))
