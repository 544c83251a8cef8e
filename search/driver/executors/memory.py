"""How much memory a worker may take, and whether it died for want of it."""

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


def limit_memory(limit_mb: int) -> None:
    """Let this process ask the system for no more than a limit.

    What is asked for beyond it is refused, which Python and TensorFlow make an error of the
    candidate. Files that are mapped and not written, as the data are, do not count.

    Args:
        limit_mb: In MiB.
    """
    limit = limit_mb * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


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
