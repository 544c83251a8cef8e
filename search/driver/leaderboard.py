"""The trials of a study as rows that people read: in the terminal, in MLflow, in a script."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from search.messages import Cost, Member, Outcome, Parameters, Scalar
from search.tasks import break_tie

LEADERS = 10
PALETTE: Mapping[str, str] = {
    "complete": "#0072B2",
    "pruned": "#E69F00",
    "overtime": "#CC79A7",
    "out_of_memory": "#D55E00",
    "diverged": "#D55E00",
    "oversized": "#D55E00",
    "invalid": "#D55E00",
    "failed": "#000000",
    "interrupted": "#56B4E9",
    "running": "#56B4E9",
}
"""The colour of each outcome, in MLflow and in figures: Okabe and Ito's, which people with any colour
vision tell apart."""
LENGTHS = 8
"""Sequence lengths that are told apart; more are put together in ranges."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial.

    Attributes:
        number: From 0; trial 0 has the default hyperparameters.
        outcome: What became of it; ``None`` while it runs.
        value: The objective at its best epoch so far.
        best_epoch: From 0.
        epochs: How many epochs ended.
        parameters: Every hyperparameter's value.
        parameter_count: Weights of the model.
        metrics: The metrics of the best epoch.
        seconds: Time that it took, in seconds.
        reason: Why it ended, where the outcome needs a reason.
        seed: The seed that it was trained with.
        weights: Path of its kept weights, or empty.
        latency_ms: The median time of a prediction for one window, in milliseconds.
        cost: What one of its epochs consists of, where that is known.
        epoch_seconds: What one of them takes, after the first, which compiles; ``None`` before.
        continues: The number of the pruned trial that it goes on with, if it does.
        begun_at: Epochs that were trained as that trial's.
        spared: Why it would have been pruned, were it not immune; else empty.
    """

    number: int
    outcome: Outcome | None = None
    value: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    parameters: Parameters = field(default_factory=dict)
    parameter_count: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    seed: int = 0
    weights: str = ""
    latency_ms: float | None = None
    cost: Cost | None = None
    epoch_seconds: float | None = None
    continues: int | None = None
    begun_at: int = 0
    spared: str = ""

    @property
    def own_epochs(self) -> int:
        """The epochs that it took itself; none before its first one has ended."""
        return max(0, self.epochs - self.begun_at)

    def as_member(self) -> Member:
        """Name the candidate as the search trained it."""
        return Member(
            number=self.number,
            parameters=self.parameters,
            seed=self.seed,
            weights=self.weights,
            epochs=(self.best_epoch or 0) + 1,
        )


def rank(rows: Iterable[TrialRow], direction: str) -> list[TrialRow]:
    """Order the complete trials from best to worst.

    Args:
        rows: Trials of any outcome.
        direction: "maximize" or "minimize".

    Returns:
        The complete ones; of equals, the one that ``break_tie`` prefers first, else the earlier.
    """
    return sorted(filter(is_ranked, rows), key=partial(rank_key, direction))


def is_ranked(row: TrialRow) -> bool:
    """Tell whether a trial is complete and has a value."""
    return row.outcome is Outcome.COMPLETE and row.value is not None


def rank_key(direction: str, row: TrialRow) -> tuple[float, float, int]:
    """Say where a ranked trial stands: what sorts before it is better."""
    sign = -1.0 if direction == "maximize" else 1.0
    return (sign * (row.value or 0.0), break_tie(row.metrics), row.number)


def find_front(
    leaders: Sequence[TrialRow], direction: str, costs: Sequence[Callable[[TrialRow], float | None]]
) -> list[TrialRow]:
    """Find the Pareto front: of equals, the one that is ranked first.

    Args:
        leaders: Complete trials, best first.
        direction: "maximize" or "minimize".
        costs: What a trial costs; one of which a cost is not known is left out.

    Returns:
        The trials that no other one is as good as in value and every cost, best first.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    front: list[tuple[TrialRow, list[float]]] = []
    for row in leaders:
        known = [sign * (row.value or 0.0), *(cost(row) for cost in costs)]
        point = [value for value in known if value is not None]
        if len(point) < len(known):
            continue
        if not any(_is_as_good(other, point) for _, other in front):
            # of those before it, which are as good in value or better, only equals can fall
            front = [one for one in front if not _is_as_good(point, one[1])] + [(row, point)]
    return [row for row, _ in front]


def _is_as_good(point: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether a point, the smaller the better, is as good as another in everything."""
    return all(one <= its for one, its in zip(point, other, strict=True))


def count_outcomes(rows: Iterable[TrialRow]) -> dict[str, int]:
    """Count trials by outcome, in the order of ``Outcome``, running ones last."""
    counts = dict.fromkeys([*(outcome.value for outcome in Outcome), "running"], 0)
    for row in rows:
        counts[row.outcome.value if row.outcome else "running"] += 1
    return {name: count for name, count in counts.items() if count}


def write_scalar(value: Scalar) -> str:
    """Write a hyperparameter's value as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_parameters(parameters: Parameters) -> str:
    """Write hyperparameters on one line."""
    return " ".join(f"{name}={write_scalar(value)}" for name, value in parameters.items())


def write_markdown(leaders: Sequence[TrialRow], metric: str) -> str:
    """Write the best trials as a Markdown table.

    Args:
        leaders: The complete trials, best first.
        metric: The objective's name.

    Returns:
        A table of at most ten trials, or one sentence if none is complete.
    """
    if not leaders:
        return "No trial is complete yet."
    lines = [f"| trial | {metric} | epoch | weights | hyperparameters |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.number} | {row.value:.4f} | {(row.best_epoch or 0) + 1} "
        f"| {row.parameter_count or 0:,} | {write_parameters(row.parameters)} |"
        for row in leaders[:LEADERS]
    ]
    return "\n".join(lines)


def rank_lengths(leaders: Sequence[TrialRow]) -> list[tuple[str, int, TrialRow]]:
    """Find the best complete trial of each sequence length.

    Args:
        leaders: The complete trials, best first.

    Returns:
        For each length, or range of lengths where there are many: its name, how many complete
        trials have it, and the best of them; the shortest first. Nothing where all trials have
        one length.
    """
    known = [row for row in leaders if "sequence_length" in row.parameters]
    lengths = sorted({int(row.parameters["sequence_length"] or 0) for row in known})
    if len(lengths) <= 1:
        return []
    count = min(len(lengths), LENGTHS)
    edges = [lengths[len(lengths) * part // count] for part in range(count)]
    groups: dict[int, list[TrialRow]] = {edge: [] for edge in edges}
    for row in known:
        length = int(row.parameters["sequence_length"] or 0)
        groups[max(edge for edge in edges if edge <= length)].append(row)
    return [(_write_range(group), len(group), group[0]) for group in groups.values()]


def _write_range(rows: list[TrialRow]) -> str:
    lengths = [int(row.parameters["sequence_length"] or 0) for row in rows]
    low, high = min(lengths), max(lengths)
    return str(low) if low == high else f"{low} to {high}"


def write_study(leaders: Sequence[TrialRow], metric: str) -> str:
    """Write what is known of a study as Markdown: the best trials, and the best by length.

    Args:
        leaders: The complete trials, best first.
        metric: The objective's name.

    Returns:
        Markdown.
    """
    text = write_markdown(leaders, metric)
    lengths = rank_lengths(leaders)
    if not lengths:
        return text
    lines = [f"| sequence length | trials | best {metric} | trial |", "|---|---|---|---|"]
    lines += [f"| {name} | {n} | {row.value:.4f} | {row.number} |" for name, n, row in lengths]
    return f"{text}\n\nBest by sequence length, complete trials:\n\n" + "\n".join(lines)
