"""A study becomes one page: tables and figures, in a file that needs no network."""

import html
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from search.config import make_config
from search.driver.examining import TABLES
from search.driver.leaderboard import LEADERS, count_outcomes, write_parameters
from search.driver.progress import write_seconds
from search.driver.pruners import find_first
from search.driver.tracking.store import (
    KIND,
    STUDY,
    TRIAL,
    open_client,
    search_runs,
    store_uri,
    translate_errors,
)
from search.driver.trials import read_row
from search.errors import StudyError, hide_credentials
from search.messages import Table
from search.results.browsing import find_study
from search.results.figures import PICTURES
from search.results.findings import (
    StudyRecord,
    describe_epoch,
    describe_immune,
    describe_pruning,
    find_edges,
)
from search.results.pages import write_page, write_pictures, write_table
from search.results.pictures import draw_tables
from search.results.studies import load_study

ARTIFACT = "report.html"
"""The page's name among the artifacts of the study's run."""
FINALIST_ARTIFACT = "pictures.html"
"""The name of a finalist's page among the artifacts of its own run."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page that was written.

    Attributes:
        path: The file.
        figures: The titles of the figures that it shows.
        not_kept: Why it, or a finalist's page, is not kept with its run; else empty.
    """

    path: Path
    figures: tuple[str, ...]
    not_kept: str = ""


def write_report(name: str, *, folder: Path, uri: str | None = None) -> Report:
    """Write a study's page and keep it with its run, and the finalists' pictures with theirs.

    Args:
        name: The study's name.
        folder: The storage folder, which the page goes to as ``reports/NAME.html``.
        uri: Address of the MLflow store; ``None`` for the folder's own.

    Returns:
        The page. A study that still runs has one too, and one whose artifact store does not take it.

    Raises:
        ConfigError: If the study was begun by a version whose settings are others, or what talks to its
            database is not installed.
        ServiceAway: If that database does not answer.
        StudyError: If Optuna or MLflow has no such study, no trial has begun, or the page cannot be
            written.
        TrackingError: If the MLflow store cannot be opened; ServiceAway if it is a server that does not answer.
    """
    study = load_study(name, folder)
    notes = study.user_attrs
    rows = [read_row(trial) for trial in study.get_trials(deepcopy=False)]
    if not rows or "config" not in notes:
        raise StudyError(f"study must have a trial. Received: study={name!r}. Launch it first.")
    config = make_config(notes["config"])
    metric = config.objective.metric
    address = store_uri(uri, folder)
    client = open_client(address)
    run = find_study(client, name, config.tracking.project)
    curves: dict[int, list[float]] = {}
    run_ids: dict[int, str] = {}
    with translate_errors(address):
        for trial in search_runs(client, [run.experiment_id], {KIND: "trial", STUDY: name}):
            points = client.get_metric_history(trial.info.run_id, f"val_{metric}")
            ordered = sorted(points, key=lambda point: (point.step, point.timestamp))
            by_epoch = {point.step: point.value for point in ordered}
            number = int(trial.data.tags[TRIAL])
            curves[number], run_ids[number] = list(by_epoch.values()), trial.info.run_id
    record = StudyRecord(
        study=study,
        metric=metric,
        rows=rows,
        curves=curves,
        baselines={known: scores[metric] for known, scores in notes["baselines"].items()},
    )
    tested = draw_tables(notes.get("test", {}).get("tables", {}), "test")
    drawn, figures = write_pictures(chain((draw(record) for draw in PICTURES), tested))
    text = write_page(name, chain(_write_head(record, notes), drawn))
    path = folder / "reports" / f"{name}.html"
    try:
        _replace(path, text)
    except OSError as exc:
        raise StudyError(
            f"The report must be a file that can be written: {exc.strerror}. "
            f"Received: {str(path)!r}."
        ) from None
    pages = [(run.run_id, text, ARTIFACT), *_write_finalists_pages(notes.get(TABLES, {}), run_ids)]
    not_kept = ""
    try:
        for page in pages:
            client.log_text(*page)
    except Exception as exc:  # noqa: BLE001 - an artifact store raises the errors of its own library
        with translate_errors(address):
            client.get_run(run.run_id)  # raises where the tracking store is away as well
        not_kept = hide_credentials(f"{type(exc).__name__}: {exc}")
    return Report(path=path, figures=figures, not_kept=not_kept)


def _replace(path: Path, text: str) -> None:
    """Write a whole file in the place of an older one, whoever else is about to."""
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as aside:
        written = Path(aside) / path.name
        written.write_text(text, encoding="utf-8")
        written.replace(path)


def _write_finalists_pages(
    tables: Mapping[str, Mapping[str, Table]], run_ids: Mapping[int, str]
) -> Iterator[tuple[str, str, str]]:
    """Write for the run of each finalist how the search's model does on validation: run, page, name."""
    for number, own in tables.items():
        if int(number) not in run_ids:  # has not arrived, as where the store was away
            continue
        title = f"Trial {number} on the validation targets"
        parts, titles = write_pictures(draw_tables(own, "validation"))
        if titles:
            yield run_ids[int(number)], write_page(title, parts), FINALIST_ARTIFACT


def _write_head(record: StudyRecord, notes: Mapping[str, Any]) -> Iterator[str]:
    """Write what is said in words and tables, before the figures."""
    counts = ", ".join(f"{n} {outcome}" for outcome, n in count_outcomes(record.rows).items())
    seconds = write_seconds(sum(row.seconds for row in record.rows))
    again = f", {write_seconds(record.seconds_again)} more to compare the best again"
    yield (
        f"<p>{len(record.rows)} trials: {counts}. {seconds} of training on one worker"
        f"{again if record.seconds_again else ''}.</p>"
    )
    decision = notes.get("winner", {})
    if decision:
        yield f"<p><b>{html.escape(decision['sentence'])}</b></p>"
    yield "<h2>Best trials</h2>"
    yield write_table(
        ("trial", f"{record.metric} (validation)", "best epoch", "weights", "hyperparameters"),
        [
            (
                f"{row.number} (default)" if row.number == 0 else str(row.number),
                f"{row.value:.4f}",
                f"{(row.best_epoch or 0) + 1} of {row.epochs}",
                f"{row.parameter_count or 0:,}",
                write_parameters(row.parameters),
            )
            for row in record.leaders[:LEADERS]
        ]
        + [(f"naive: {name}", _score(value)) for name, value in record.baselines.items()],
    )
    yield from _write_finalists(record, decision)
    yield from _write_test(record, notes.get("test", {}))
    yield "<h2>What was pruned</h2>"
    config = make_config(notes["config"])
    pruner, seed = config.pruner, config.seed
    judged = 0 if pruner.name == "none" else find_first(pruner, seed, record.study)
    told = (
        describe_pruning(record),
        describe_epoch(record, judged) if judged else "",
        describe_immune(record),
    )
    yield f"<p>{html.escape(' '.join(filter(None, told)))}</p>"
    edges = list(find_edges(record))
    if edges:
        yield "<h2>At the edge of its range</h2>"
        yield "<p>A wider range may hold a better value than the best trial's:</p>"
        yield f"<ul>{''.join(f'<li>{html.escape(edge)}</li>' for edge in edges)}</ul>"


def _write_finalists(record: StudyRecord, decision: Mapping[str, Any]) -> Iterator[str]:
    if not decision.get("means"):
        return
    values = {row.number: row.value for row in record.rows}
    yield "<h2>The best, trained again</h2>"
    means = decision["means"]
    lines = [
        (
            f"trial {number}{', wins' if number == decision['trial'] else ''}",
            _score(values[number]),
            *(_write_mean(means[str(number)]) if str(number) in means else ("failed", "")),
        )
        for number in decision["finalists"]
    ]
    if decision["together"]:
        names = ", ".join(map(str, decision["members"]))
        lines.append((f"mean of trials {names}", "", *_write_mean(decision["together"])))
    heads = ("", f"{record.metric} in the search", "mean afterwards", "95 % interval")
    yield write_table(heads, lines)


def _write_mean(mean: Mapping[str, float]) -> tuple[str, str]:
    known = math.isfinite(mean["low"])
    return _score(mean["value"]), f"{mean['low']:.4f} to {mean['high']:.4f}" if known else ""


def _write_test(record: StudyRecord, test: Mapping[str, Any]) -> Iterator[str]:
    if not test:
        return
    names = [record.metric, *(name for name in test["scores"] if name != record.metric)]
    numbers = ", ".join(str(member["number"]) for member in test["members"])
    several = len(test["members"]) > 1
    lines = {f"mean of trials {numbers}" if several else f"trial {numbers}": test["scores"]}
    lines |= {f"naive: {name}": scores for name, scores in test["baselines"].items()}
    looks = "once" if test["looks"] == 1 else f"{test['looks']} times"
    yield f"<h2>On the test set, looked at {looks}</h2>"
    yield write_table(
        ("", *names),
        [
            (who, *(_score(scores.get(name, math.nan)) for name in names))
            for who, scores in lines.items()
        ],
    )


def _score(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"
