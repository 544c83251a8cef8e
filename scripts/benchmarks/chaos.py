"""Kill workers and drivers of a real study at random, and see what is left: chaos.py --help.

The study is launched undisturbed, then once for each seed under another name while processes are killed by
SIGKILL; a driver that was killed is followed by the same command. At the end Optuna, MLflow, the spool and
the checkpoints are compared. Prints a table for each; exit status 1 if anything was lost.
"""

import argparse
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from search.driver.storage import open_storage
from search.driver.tracking.spool import spool_path
from search.results.audit import audit_study

LAUNCH = Path(__file__).parents[1] / "launch_study.py"
STUDY = Path(__file__).parent / "small.toml"
LEAVE_SECONDS = 5.0
"""How long workers may live without their driver."""
ENDED = re.compile(r"^\S+ trial (\d+) \| (\w+)")
GOES_ON = re.compile(r"Trial \d+ goes on after epoch \d+; (\d+) reported")
TAKEN_UP = re.compile(r"Trial \d+ is taken up again")


@dataclass(kw_only=True)
class Tally:
    """What was done to a study, and what was seen of it while it ran."""

    worker_kills: int = 0
    kills_in_trials: int = 0
    driver_kills: int = 0
    most_epochs_again: int = 0
    slowest_leave: float = 0.0
    seconds: float = 0.0
    left_behind: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    driver_mb: list[float] = field(default_factory=list)
    workers_mb: list[float] = field(default_factory=list)


def run_chaos(command: Sequence[str], kills: Sequence[int], drivers: Sequence[int]) -> Tally:
    """Run a study to its end while its processes are killed.

    Args:
        command: Launches the study, or continues it.
        kills: For each kill of a worker, how many trials must have ended before it.
        drivers: The same for kills of the driver.

    Returns:
        What was done and seen.
    """
    tally, start = Tally(), time.monotonic()
    kills, drivers = sorted(kills), sorted(drivers)
    while True:
        driver = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for line in _read_lines(driver):
            before = tally.ends.total()
            _note(line, tally)
            ended = tally.ends.total()
            if ended > before:
                _weigh(driver.pid, tally)
            if drivers and drivers[0] <= ended:
                drivers.pop(0)
                _kill_driver(driver, tally)
                break
            if kills and kills[0] <= ended and (workers := _workers(driver.pid)):
                kills.pop(0)
                os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
                tally.worker_kills += 1
        if driver.wait() == 0:
            break
        if driver.returncode != -signal.SIGKILL:
            raise RuntimeError(f"The driver left with {driver.returncode}.")
    tally.seconds = time.monotonic() - start
    return tally


def _read_lines(driver: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what the driver says, and an empty line several times a second meanwhile."""
    if driver.stderr is None:
        raise RuntimeError("The driver must be started with a pipe.")
    number, rest = driver.stderr.fileno(), b""
    while True:
        if not select.select([number], [], [], random.uniform(0.05, 1.0))[0]:  # noqa: S311
            yield ""
            continue
        read = os.read(number, 65_536)
        if not read:
            return
        *lines, rest = (rest + read).split(b"\n")
        yield from (line.decode() for line in lines)


def _note(line: str, tally: Tally) -> None:
    if found := ENDED.match(line):
        if found[2] != "interrupted":
            tally.ends[int(found[1])] += 1
    elif found := GOES_ON.search(line):
        tally.most_epochs_again = max(tally.most_epochs_again, int(found[1]))
    elif TAKEN_UP.search(line):
        tally.kills_in_trials += 1


def _weigh(driver: int, tally: Tally) -> None:
    """Note the memory of the driver's own and of its largest worker, after a trial has ended."""
    tally.driver_mb.append(_own_memory_mb(driver))
    tally.workers_mb.append(max(map(_own_memory_mb, _workers(driver)), default=0.0))


def _own_memory_mb(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0.0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _write_course(values: Sequence[float]) -> str:
    """Write the largest of each quarter of a study, to show whether it grows."""
    quarter = -(-len(values) // 4)
    parts = [values[first : first + quarter] for first in range(0, len(values), quarter)]
    return ", ".join(f"{max(part):.0f}" for part in parts)


def _kill_driver(driver: subprocess.Popen[bytes], tally: Tally) -> None:
    """Kill a driver, and wait until its workers have noticed."""
    workers = [os.pidfd_open(pid) for pid in _workers(driver.pid)]
    driver.kill()
    driver.wait()
    start = time.monotonic()
    for worker in workers:
        if not select.select([worker], [], [], LEAVE_SECONDS)[0]:
            tally.left_behind += 1
        os.close(worker)
    tally.driver_kills += 1
    tally.slowest_leave = max(tally.slowest_leave, time.monotonic() - start)


def _workers(driver: int) -> list[int]:
    """Find a driver's worker processes: spawned, or the children of its fork server."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    children = parents.get(driver, [])
    forked = [worker for child in children for worker in parents.get(child, [])]
    return forked or [child for child in children if _is_spawned(child)]


def _is_spawned(process: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False


def inspect(study: str, folder: Path, trials: int) -> dict[str, int]:
    """Count what is wrong with a finished study; all of it must be 0."""
    audits = audit_study(study, folder=folder)
    held = optuna.load_study(study_name=study, storage=open_storage(folder)).trials
    states = Counter(trial.state for trial in held)
    checkpoints = list((folder / "checkpoints" / study).glob("*.checkpoint*"))
    return {
        "trials lost": trials - sum(t.state.is_finished() for t in held),
        "trials RUNNING in Optuna": states[TrialState.RUNNING],
        "trials that failed": states[TrialState.FAIL],
        "trials on which Optuna and MLflow differ": sum(bool(a.differences) for a in audits),
        "records left in the spool": int(spool_path(folder, study).exists()),
        "checkpoints left": len(checkpoints),
    }


def main() -> int:
    """Run one undisturbed study and one under fire, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--worker-kills", type=int, default=50)
    parser.add_argument("--driver-kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one round of kills each")
    arguments = parser.parse_args()
    console = Console(width=100)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        trials = str(arguments.trials)
        command = [sys.executable, str(LAUNCH), str(STUDY)]
        command += ["--budget.trials", trials, "--budget.max_consecutive_failures", trials]
        command += ["--workers.count", str(arguments.workers), "--workers.max_restarts", "20"]
        command += ["--storage.folder", str(folder)]
        calm = run_chaos([*command, "--name", "calm"], [], [])
        console.print(f"undisturbed: {calm.seconds:.0f} s; memory in MiB, by quarter of the study:")
        console.print(f"driver {_write_course(calm.driver_mb)}")
        console.print(f"largest worker {_write_course(calm.workers_mb)}")
        wrong = [_attack(command, seed, folder, calm, arguments) for seed in arguments.seeds]
    return int(any(wrong))


def _attack(
    command: Sequence[str],
    seed: int,
    folder: Path,
    calm: Tally,
    arguments: argparse.Namespace,
) -> bool:
    """Run the study under fire, print what came of it, and say whether anything is wrong."""
    random.seed(seed)
    last, name = arguments.trials - 1, f"chaos-{seed}"
    kills = [random.randint(0, last) for _ in range(arguments.worker_kills)]  # noqa: S311
    drivers = [random.randint(1, last) for _ in range(arguments.driver_kills)]  # noqa: S311
    tally = run_chaos([*command, "--name", name], kills, drivers)
    wrong = inspect(name, folder, arguments.trials)
    wrong["processes left"] = _count_left(folder)
    wrong["trials that ended twice"] = sum(n > 1 for n in tally.ends.values())
    wrong["workers that outlived their driver by 5 s"] = tally.left_behind
    wrong["kills that cost more than one reported epoch"] = int(tally.most_epochs_again > 1)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("seed", str(seed))
    table.add_row("trials, workers", f"{arguments.trials}, {arguments.workers}")
    table.add_row("workers killed", f"{tally.worker_kills}, {tally.kills_in_trials} in a trial")
    table.add_row("drivers killed", str(tally.driver_kills))
    table.add_row("slowest worker to leave its dead driver", f"{tally.slowest_leave:.1f} s")
    table.add_row("under fire", f"{tally.seconds:.0f} s, {tally.seconds / calm.seconds:.2f} times")
    for what, count in wrong.items():
        table.add_row(what, str(count))
    Console(width=100).print(table)
    return any(wrong.values())


def _count_left(folder: Path) -> int:
    """Count the processes that still write to the studies' logs."""
    logs = {str(path) for path in (folder / "logs").iterdir()}
    left = 0
    for output in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            left += str(output.readlink()) in logs
        except (FileNotFoundError, PermissionError):  # it has just ended, or is another person's
            continue
    return left


if __name__ == "__main__":
    sys.exit(main())
