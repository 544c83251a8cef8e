"""Score new data by an exported model: python scripts/predict.py EXPORT DATA."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.errors import SearchError

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Predict, and print what was written.

    Args:
        argv: The command line without the program.

    Returns:
        0, 2 after a mistake that the person can mend, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(description="Score new data by an exported model.")
    parser.add_argument("export", type=Path, help="the folder that export_best.py wrote")
    parser.add_argument(
        "data",
        type=Path,
        help="a file or folder of the kind that the study read, without labels; or an .npz file "
        "whose array 'raw' holds raw windows of shape (windows, rows, channels)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        help="the file to write: .csv or .parquet; .npz where frames are predicted (%(default)s)",
    )
    parser.add_argument(
        "--normal_rows",
        type=int,
        help="for anomaly: how many rows at the start of each recording are known to be normal",
    )
    parser.add_argument(
        "--module", help="a module to import first, which holds the model's own layers"
    )
    arguments = parser.parse_args(argv)
    from search.driver.progress import make_view  # noqa: PLC0415  # --help answers at once
    from search.results.prediction import predict_data  # noqa: PLC0415

    try:
        with make_view() as view:
            found = predict_data(
                arguments.export,
                arguments.data,
                arguments.out,
                normal_rows=arguments.normal_rows,
                module=arguments.module,
                report=view.show_reading,
            )
    except SearchError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    print(found.description)
    print(
        f"Answers for {found.answers:,} windows of {found.recordings:,} recordings: {found.place}"
    )
    if found.passed_over:
        print(
            f"Recordings without a window, for want of rows or for missing values: "
            f"{found.passed_over:,}."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
