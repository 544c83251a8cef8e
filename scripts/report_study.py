"""Write a study's report, one page that needs no network: python scripts/report_study.py STUDY."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.errors import SearchError

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and say where it is.

    Args:
        argv: The command line without the program.

    Returns:
        0, 2 after a mistake that the person can mend, or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        description="Write a study's report, one page that needs no network, and keep it with the "
        "study in MLflow. The study may still run."
    )
    parser.add_argument("study")
    parser.add_argument("--storage.folder", dest="folder", type=Path, default=Path("mlflow_runs"))
    parser.add_argument("--tracking.uri", dest="uri", help="another store than the folder's own")
    arguments = parser.parse_args(argv)
    from search.results.report import write_report  # noqa: PLC0415  # --help answers at once

    try:
        report = write_report(arguments.study, folder=arguments.folder, uri=arguments.uri)
    except SearchError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    print(f"{report.path}: {len(report.figures)} figures.")
    if report.not_kept:
        print(f"Not kept with the study's run: {report.not_kept}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
