"""Train a trial again from what MLflow knows of it, and compare: python scripts/reproduce_trial.py RUN."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.errors import SearchError

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train the trial again and say whether its curve is the recorded one.

    Args:
        argv: The command line without the program.

    Returns:
        0 if the curves are the same, 1 if they differ, 2 after a mistake that the person can mend,
        130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        description="Train a trial again from what MLflow alone knows of it, and compare the curves."
    )
    parser.add_argument("run", metavar="RUN", help="the id of a trial's run, or of a finalist's")
    parser.add_argument("--storage.folder", dest="folder", type=Path, default=Path("mlflow_runs"))
    parser.add_argument("--tracking.uri", dest="uri", help="another store than the folder's own")
    arguments = parser.parse_args(argv)
    from search.driver.progress import make_view  # noqa: PLC0415  # --help answers at once
    from search.results.reproduction import reproduce_trial  # noqa: PLC0415

    try:
        found = reproduce_trial(
            arguments.run, folder=arguments.folder, uri=arguments.uri, view=make_view()
        )
    except SearchError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    for name, (before, now) in found.changed.items():
        print(f"{name} was {before} and is {now}.")
    epochs = f"{len(found.recorded)} epochs of {found.metric}"
    if found.same:
        print(f"The curve is the recorded one: {epochs} differ by at most {found.difference:.1e}.")
        return 0
    if found.reason:
        print(f"Training ended after {len(found.again)} of {epochs}: {found.reason}")
    else:
        print(f"The curve is another: {epochs} differ by up to {found.difference:.1e}.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
