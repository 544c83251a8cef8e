"""Show a study in the MLflow UI: python scripts/browse.py [STUDY]."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from search.driver.tracking.store import store_uri
from search.errors import SearchError
from search.results.browsing import link_study
from search.results.serving import DEFAULT_PORT, HOST, choose_port, serve_store


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the store, print the link and wait for Ctrl-C.

    Args:
        argv: The command line without the program.

    Returns:
        0, or 2 after a mistake that the person can mend.
    """
    arguments = _parser().parse_args(argv)
    try:
        _browse(arguments)
    except SearchError as exc:
        print(exc, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print()
    return 0


def _browse(arguments: argparse.Namespace) -> None:
    uri = store_uri(arguments.uri, arguments.folder)
    if uri.startswith("http"):
        print(link_study(arguments.study, uri, uri.rstrip("/")))
        return
    port = (arguments.port or DEFAULT_PORT) if arguments.no_server else choose_port(arguments.port)
    link = link_study(arguments.study, uri, f"http://{HOST}:{port}")
    if arguments.no_server:
        print(link)
        return
    print("Starting the MLflow UI.", flush=True)
    with serve_store(uri, port, arguments.folder / "artifacts") as server:
        print(f"{link}\nCtrl-C ends the server.", flush=True)
        server.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Show a study in the MLflow UI.")
    parser.add_argument("study", nargs="?", help="by default the one that was begun last")
    parser.add_argument("--storage.folder", dest="folder", type=Path, default=Path("mlflow_runs"))
    parser.add_argument("--tracking.uri", dest="uri", help="another store than the folder's own")
    parser.add_argument(
        "--port",
        type=int,
        choices=range(1, 65_536),
        metavar="PORT",
        help="by default the first free one from 5000 on",
    )
    parser.add_argument(
        "--no-server", action="store_true", help="only print the link: a server runs already"
    )
    return parser


if __name__ == "__main__":
    # SIGINT too: a shell script starts what it puts into the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
