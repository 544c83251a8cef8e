"""Launch a study, or continue it: launch_study.py [STUDY.toml] [--section.field VALUE ...]."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.config import StudyConfig, parse_config
from search.disk import is_full
from search.errors import SearchError, ServiceAway, StudyStopped, hide_credentials

QUICKSTART = Path(__file__).parent / "studies" / "quickstart.toml"
PIPE_WIDTH = 160
"""Columns of a table in a file or pipe, which have no width of their own."""
INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""
AWAY = 75
"""What sysexits.h calls a failure that passes: the same command may go on later."""


def main(arguments: Sequence[str]) -> int:
    """Launch the study that the command line names.

    Args:
        arguments: The command line without the program.

    Returns:
        The exit code: 0 when the study is finished or its time is over, 130 after Ctrl-C, 75 when its
        database, the cluster or the tracking store does not answer any more, 1 when too many trials failed
        or no worker came up, 2 when something has to be mended first.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    again = shlex.join(["scripts/run", "python", "scripts/launch_study.py", *_show(arguments)])
    try:
        return _launch(parse_config(arguments, default=QUICKSTART), again)
    except StudyStopped as exc:
        console.print(str(exc))
        return 1
    except ServiceAway as exc:
        console.print(f"error: {exc} To go on: {again}")
        return AWAY
    except SearchError as exc:
        console.print(f"error: {exc}")
        return 2
    except OSError as exc:
        if not is_full(exc):
            raise
        place = f" for {exc.filename}" if exc.filename else ""
        console.print(
            f"error: No room is left{place}. Make some in storage.folder. To go on: {again}"
        )
        return 2
    except KeyboardInterrupt:
        console.print(f"Stopped at once. To go on: {again}")
        return INTERRUPTED


def _show(arguments: Sequence[str]) -> list[str]:
    """Take out of a command line what a log must not hold: the tracking store's address may have a password."""
    setting = "--tracking.uri"
    before = ["", *arguments[:-1]]
    return [
        hide_credentials(word) if setting in (one, word.partition("=")[0]) else word
        for one, word in zip(before, arguments, strict=True)
    ]


def _launch(config: StudyConfig, again: str) -> int:
    # Loaded after the command line was understood, so that --help answers at once.
    from search.driver.loop import Ending  # noqa: PLC0415
    from search.driver.study import run_study  # noqa: PLC0415
    from search.driver.tracking.store import store_uri  # noqa: PLC0415
    from search.results.browsing import link_study  # noqa: PLC0415
    from search.results.export import export_best  # noqa: PLC0415
    from search.results.refreshing import keep_report  # noqa: PLC0415
    from search.results.serving import HOST, choose_port  # noqa: PLC0415
    from search.results.summary import show_summary  # noqa: PLC0415

    place = {"folder": config.storage.folder, "uri": config.tracking.uri}
    with keep_report(config.name, **place, seconds=config.tracking.report_seconds):
        summary = run_study(config)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    show_summary(summary, console)
    if summary.rows:
        from search.results.report import write_report  # noqa: PLC0415  # takes a second to load

        report = write_report(config.name, **place)
        console.print(f"Report: {report.path}")
        if report.not_kept:
            console.print(f"Not kept with the study's run: {report.not_kept}")
    uri = store_uri(config.tracking.uri, config.storage.folder)
    address = uri.rstrip("/") if uri.startswith("http") else f"http://{HOST}:{choose_port(None)}"
    if config.tracking.uri is None:
        store = ["--storage.folder", str(config.storage.folder)]
        words = ["scripts/run", "python", "scripts/browse.py", config.name, *store]
        console.print(f"To browse, start the UI: {shlex.join(words)}")
    console.print(link_study(config.name, uri, address, config.tracking.project))
    if summary.ending is Ending.FINISHED and not summary.leaders:
        console.print("No trial is complete, so nothing is exported. Raise --budget.trials.")
    elif summary.ending is Ending.FINISHED:
        console.print("Exporting the best model.")
        export = export_best(config.name, **place, formats=config.export.formats)
        console.print(f"Exported to {export.folder}; registered as {export.model}@{export.alias}.")
        if export.reason:
            console.print(f"Not the champion: {export.reason}")
        for name, reason in export.left_out.items():
            console.print(f"Not written: {name}: {reason}")
    if summary.ending is not Ending.FINISHED:
        console.print(f"The study is {summary.ending}. To go on: {again}")
    return INTERRUPTED if summary.ending is Ending.INTERRUPTED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
