"""Run a study through PostgreSQL, an MLflow server and Ray, all on this machine: try_out.py STUDY.toml [--section.field VALUE ...].

Starts the three on the loopback, each behind a secret of its own, launches the study with two workers of Ray's, compares
what PostgreSQL and MLflow hold, and takes everything down. With --stay it waits before that, so that the UI can be looked at. What the
study leaves is removed with it, unless --storage.folder names a folder to keep its files in. Where --storage.uri names a database, no
PostgreSQL is started: the databases lie beside that one, and go in the end too.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from services import STUDIES, Broken, Missing, run_mlflow, run_postgres, run_ray, use_postgres

from search.config import parse_config
from search.errors import SearchError

SCRIPTS = Path(__file__).parents[1]
WORKERS = 2
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
FOLDER = "--storage.folder"


def main(arguments: list[str]) -> int:
    """Start all, run the study, compare, take all down.

    Args:
        arguments: The command line without the program.

    Returns:
        The exit code of the launch, or of the comparison where that found something; 2 where something is not
        installed, does not start or the study file is wrong; 130 where Ctrl-C came before or after the study.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # taking down what was started
    stay = "--stay" in arguments
    study = [word for word in arguments if word != "--stay"]
    try:
        config = parse_config(study, default=SCRIPTS / "studies" / "quickstart.toml")
        with ExitStack() as stack:
            folder = config.storage.folder
            # A folder that the file alone names may hold a study of that name already, of another store.
            if not any(word.partition("=")[0] == FOLDER for word in study):
                place = tempfile.TemporaryDirectory(prefix="lookback-cluster-")
                folder = Path(stack.enter_context(place))
            given = config.storage.uri
            postgres = stack.enter_context(use_postgres(given) if given else run_postgres())
            postgres.create(STUDIES)
            uri = postgres.address(STUDIES)
            print(f"PostgreSQL: {uri}", flush=True)
            mlflow = stack.enter_context(run_mlflow(postgres, folder / "server_artifacts"))
            print(f"MLflow: {mlflow.address}", flush=True)
            ray = stack.enter_context(run_ray(WORKERS))
            print(f"Ray: {ray.address}", flush=True)
            os.environ.update({**postgres.environment, **mlflow.environment, **ray.environment})
            launch = [str(SCRIPTS / "launch_study.py"), *study]
            launch += [FOLDER, str(folder), "--tracking.uri", mlflow.address]
            launch += ["--storage.uri", uri]
            launch += ["--workers.executor", "ray", "--cluster.address", ray.address]
            if config.workers.count == "auto":
                launch += ["--workers.count", str(WORKERS)]
            code = _run(launch)
            audit = [str(SCRIPTS / "audit_study.py"), config.name]
            audit += [FOLDER, str(folder), "--tracking.uri", mlflow.address]
            code = code or _run(audit)
            if stay:
                user, password = mlflow.environment.values()
                print(f"MLflow lets in {user} with the password {password}.", flush=True)
                input("Press Enter to take everything down. ")
        print("PostgreSQL, MLflow and Ray are taken down.")
    except (Missing, Broken, SearchError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; what was started is taken down.", file=sys.stderr)
        return INTERRUPTED
    return code


def _run(words: list[str]) -> int:
    """Run a script of ours, to which the terminal sends Ctrl-C itself, and wait for it to end as it does then."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([sys.executable, *words], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
