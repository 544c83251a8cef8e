"""What a person sees of a running study: live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from search.driver.leaderboard import TrialRow, count_outcomes, write_parameters
from search.messages import Outcome

READ_AT_ONCE = 20
"""Files up to this number are read without a word in a log file."""
COLOURS = {Outcome.COMPLETE: "green", Outcome.PRUNED: "yellow", Outcome.INTERRUPTED: "cyan"}


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Where a study stands.

    Attributes:
        study: Its name.
        metric: The objective's name.
        direction: "maximize" or "minimize".
        baseline: The best naive baseline's value of the objective, or ``None``.
        budget: Trials in the whole study.
        spent: Trials charged to the budget that have ended.
        rows: Every trial, running ones included.
        leaders: The complete ones, best first.
        elapsed_seconds: Since this launch.
        seconds_left: An estimate, or ``None`` before the first trial's end.
    """

    study: str
    metric: str
    direction: str
    baseline: float | None
    budget: int
    spent: int
    rows: Sequence[TrialRow]
    leaders: Sequence[TrialRow]
    elapsed_seconds: float
    seconds_left: float | None


class View(Protocol):
    """Shows a study; entered when it starts and left when it ends."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing and leave the terminal clean."""

    def say(self, text: str) -> None:
        """Say one thing that stays on the screen."""

    def show_reading(self, what: str, done: int, total: int) -> None:
        """Show how far the data are read; called often."""

    def show(self, status: StudyStatus) -> None:
        """Show where the study stands now; called often."""

    def show_step(self, what: str, done: int, total: int, elapsed_seconds: float) -> None:
        """Show how far a step after the search is; called often."""

    def end_trial(self, row: TrialRow, status: StudyStatus) -> None:
        """Say what became of a trial."""


def make_view(console: Console | None = None) -> View:
    """Choose the view that suits where the output goes.

    Args:
        console: Where to write; standard error by default.

    Returns:
        A live view on a terminal, plain lines elsewhere.
    """
    console = console or Console(stderr=True)
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView:
    """One line a trial and one a step of the study: for log files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing behind: nothing was drawn."""

    def say(self, text: str) -> None:
        """Write one line."""
        self._console.print(
            time.strftime("%H:%M:%S"), text, soft_wrap=True, highlight=False, markup=False
        )

    def show_reading(self, what: str, done: int, total: int) -> None:
        """Write a line at every tenth of the way, and none for what is read at once."""
        tenth = done * 10 // max(total, 1)
        if total > READ_AT_ONCE and tenth != (done - 1) * 10 // max(total, 1):
            self.say(f"{what}: {done} of {total}.")

    def show(self, status: StudyStatus) -> None:
        """Write nothing: a log file wants no repetition."""

    def show_step(self, what: str, done: int, total: int, elapsed_seconds: float) -> None:
        """Write nothing, likewise."""

    def end_trial(self, row: TrialRow, status: StudyStatus) -> None:
        """Write what became of the trial, its hyperparameters and the best so far."""
        parts = [write_row(row, status.metric), write_parameters(row.parameters)]
        self.say(" | ".join([*parts, write_status(status)]))


class LiveView(PlainView):
    """A panel that is redrawn: progress, best so far, running trials, counts, time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show_reading(self, what: str, done: int, total: int) -> None:
        """Draw a bar."""
        self._live.update(_draw_bar(what, done, total))

    def show(self, status: StudyStatus) -> None:
        """Redraw the panel."""
        self._live.update(draw(status))

    def show_step(self, what: str, done: int, total: int, elapsed_seconds: float) -> None:
        """Draw a bar, and how long it took and will take."""
        text = f"{write_seconds(elapsed_seconds)} so far"
        if done:
            text += f", {write_seconds(elapsed_seconds / done * (total - done))} left"
        self._live.update(Group(_draw_bar(what, done, total), Text(text)))

    def end_trial(self, row: TrialRow, status: StudyStatus) -> None:
        """Let the trial's line stay above the panel."""
        colour = COLOURS.get(row.outcome or Outcome.FAILED, "red")
        self._console.print(Text(write_row(row, status.metric), style=colour))


def write_row(row: TrialRow, metric: str) -> str:
    """Write what became of a trial, without its hyperparameters."""
    score = "no score" if row.value is None else f"{metric} {row.value:.4f}"
    parts = [f"trial {row.number}", str(row.outcome or "running"), score]
    took = f" in {write_seconds(row.seconds)}" if row.seconds else ""  # else nobody could say
    parts.append(f"{row.epochs} epochs{took}")
    return " | ".join([*parts, row.reason] if row.reason else parts)


def write_status(status: StudyStatus) -> str:
    """Write where the study stands on one line."""
    best = "none yet"
    if status.leaders:
        first = status.leaders[0]
        best = f"{status.metric} {first.value:.4f} (trial {first.number})"
    left = "" if status.seconds_left is None else f", {write_seconds(status.seconds_left)} left"
    return f"{status.spent}/{status.budget}, best {best}{left}"


def write_seconds(seconds: float) -> str:
    """Write a duration as a person says it: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _draw_bar(what: str, done: int, total: int) -> Progress:
    bar = Progress(
        TextColumn("{task.description}", "bold", markup=False), BarColumn(), MofNCompleteColumn()
    )
    bar.add_task(what, total=total, completed=done)
    return bar


def draw(status: StudyStatus) -> Group:
    """Draw the live panel.

    Args:
        status: Where the study stands.

    Returns:
        A bar, the best so far beside the naive baseline, counts, and a table of running trials.
    """
    bar = _draw_bar(status.study, status.spent, status.budget)
    counts = ", ".join(f"{n} {name}" for name, n in count_outcomes(status.rows).items())
    naive = "" if status.baseline is None else f", naive baseline {status.baseline:.4f}"
    lines = [
        f"best {write_status(status).partition('best ')[2]}{naive}",
        f"{counts or 'starting'}; {write_seconds(status.elapsed_seconds)} so far",
    ]
    running = Table(box=None, pad_edge=False)
    for head in ("trial", "epoch", status.metric):
        running.add_column(head, justify="right", no_wrap=True, min_width=len(head))
    running.add_column("hyperparameters", no_wrap=True, overflow="ellipsis")
    for row in status.rows:
        if row.outcome is None:
            score = "" if row.value is None else f"{row.value:.4f}"
            parameters = Text(write_parameters(row.parameters))
            running.add_row(str(row.number), str(row.epochs), score, parameters)
    return Group(bar, *(Text(line) for line in lines), running)
