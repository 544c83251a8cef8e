"""Compare what Optuna and MLflow hold of a study: python scripts/audit_study.py STUDY."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search.errors import SearchError
from search.results.audit import TrialAudit, audit_study

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison.

    Args:
        argv: The command line without the program.

    Returns:
        0 if both agree, 1 if they differ, 2 after a mistake that the person can mend, or 130 after
        Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        description="Compare Optuna's record of a study with MLflow's."
    )
    parser.add_argument("study")
    parser.add_argument("--storage.folder", dest="folder", type=Path, default=Path("mlflow_runs"))
    parser.add_argument("--tracking.uri", dest="uri", help="another store than the folder's own")
    arguments = parser.parse_args(argv)
    try:
        audits = audit_study(arguments.study, folder=arguments.folder, uri=arguments.uri)
    except SearchError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. Run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    _print(audits)
    return int(any(audit.differences for audit in audits))


def _print(audits: Sequence[TrialAudit]) -> None:
    table = Table("trial", "Optuna", "MLflow", "value", "epochs", "difference")
    for audit in audits:
        table.add_row(
            audit.name,
            audit.optuna,
            audit.mlflow,
            "" if audit.value is None else f"{audit.value:.6g}",
            str(audit.epochs),
            "\n".join(audit.differences),
        )
    console = Console(markup=False)
    console.print(table)
    wrong = sum(bool(audit.differences) for audit in audits)
    trials = len(audits) - 1
    console.print(f"{trials} trials: " + (f"{wrong} rows differ." if wrong else "all agree."))


if __name__ == "__main__":
    sys.exit(main())
