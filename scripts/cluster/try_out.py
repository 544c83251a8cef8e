"""Run a study through PostgreSQL, an MLflow server and Ray, all on this machine: try_out.py STUDY.toml [--section.field VALUE ...].

Starts the three on the loopback, each behind a secret of its own, launches the study with two workers of Ray's, compares
what PostgreSQL and MLflow hold, and takes everything down. With --stay it waits before that, so that the UI can be looked at. What the
study leaves is removed with it, unless --storage.folder names a folder to keep. Where --storage.uri names a database, the study is kept there,
and the MLflow server's databases beside it for as long as it runs.
"""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from services import Missing, run_mlflow, run_postgres, run_ray, use_postgres

from search.config import parse_config
from search.errors import SearchError

SCRIPTS = Path(__file__).parents[1]
WORKERS = 2
TERMINATED = 128 + signal.SIGTERM


def main(arguments: list[str]) -> int:
    """Start all, run the study, compare, take all down.

    Args:
        arguments: The command line without the program.

    Returns:
        The exit code of the launch, or of the comparison where that found something; 2 where something is not
        installed or the study file is wrong.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # taking down what was started
    stay = "--stay" in arguments
    study = [word for word in arguments if word != "--stay"]
    try:
        config = parse_config(study, default=SCRIPTS / "studies" / "quickstart.toml")
        with ExitStack() as stack:
            folder = config.storage.folder
            if "--storage.folder" not in study:
                place = tempfile.TemporaryDirectory(prefix="lookback-cluster-")
                folder = Path(stack.enter_context(place))
            uri = config.storage.uri
            postgres = stack.enter_context(use_postgres(uri) if uri else run_postgres())
            if uri is None:
                postgres.create("studies")
                uri = postgres.address("studies")
            print(f"PostgreSQL: {uri}", flush=True)
            mlflow = stack.enter_context(run_mlflow(postgres, folder / "server_artifacts"))
            print(f"MLflow: {mlflow.address}", flush=True)
            ray = stack.enter_context(run_ray(WORKERS))
            print(f"Ray: {ray.address}", flush=True)
            os.environ.update({**postgres.environment, **mlflow.environment, **ray.environment})
            launch = [sys.executable, str(SCRIPTS / "launch_study.py"), *study]
            launch += ["--storage.folder", str(folder), "--tracking.uri", mlflow.address]
            launch += ["--storage.uri", uri]
            launch += ["--workers.executor", "ray", "--cluster.address", ray.address]
            if config.workers.count == "auto":
                launch += ["--workers.count", str(WORKERS)]
            code = subprocess.run(launch, check=False).returncode
            audit = [sys.executable, str(SCRIPTS / "audit_study.py"), config.name]
            audit += ["--storage.folder", str(folder), "--tracking.uri", mlflow.address]
            code = code or subprocess.run(audit, check=False).returncode
            if stay:
                user, password = mlflow.environment.values()
                print(f"MLflow lets in {user} with the password {password}.", flush=True)
                input("Press Enter to take everything down. ")
        print("PostgreSQL, MLflow and Ray are taken down.")
    except (Missing, SearchError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
