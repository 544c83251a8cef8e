"""Export the best model of a study: python scripts/export_best.py STUDY."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.disk import is_full
from search.errors import SearchError
from search.results.export import Export, export_best
from search.results.formats import ASKED, list_sizes

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export the model and print what was written.

    Args:
        argv: The command line without the program.

    Returns:
        0, 2 after a mistake that the person can mend, or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(description="Export the best model of a study.")
    parser.add_argument("study")
    parser.add_argument("--storage.folder", dest="folder", type=Path, default=Path("mlflow_runs"))
    parser.add_argument("--tracking.uri", dest="uri", help="another store than the folder's own")
    parser.add_argument(
        "--export.formats",
        dest="formats",
        nargs="*",
        choices=tuple(ASKED),
        help="formats of other runtimes to write; by default those that the study was begun with",
    )
    parser.add_argument(
        "--trial", type=int, help="another complete trial than the winner, as one of the front"
    )
    arguments = parser.parse_args(argv)
    try:
        export = export_best(
            arguments.study,
            folder=arguments.folder,
            uri=arguments.uri,
            formats=arguments.formats,
            trial=arguments.trial,
        )
    except SearchError as exc:
        print(exc, file=sys.stderr)
        return 2
    except OSError as exc:
        if not is_full(exc):
            raise
        place = f" for {exc.filename}" if exc.filename else ""
        print(f"No room is left{place}. Make some and run it again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    _print(export)
    return 0


def _print(export: Export) -> None:
    several = len(export.trials) > 1
    who = f"{'The mean of trials' if several else 'Trial'} {', '.join(map(str, export.trials))}"
    print(f"{who} of study {export.model} is exported to {export.folder}:")
    for name, size in list_sizes(export.folder).items():
        print(f"  {name:20} {size:>12,} bytes")
    print("Predictions differ, after loading in a fresh process, by at most:")
    for name, difference in export.differences.items():
        print(f"  {name:20} {difference:.1e}  {export.milliseconds[name]:8.3g} ms for one window")
    for name, reason in export.left_out.items():
        print(f"  {name:20} not written: {reason}")
    print(
        f"Registered in MLflow: models:/{export.model}@{export.alias} (version {export.version})."
    )
    if export.reason:
        print(f"Not the champion: {export.reason}")


if __name__ == "__main__":
    sys.exit(main())
