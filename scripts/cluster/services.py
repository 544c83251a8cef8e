"""PostgreSQL, an MLflow server and Ray on this machine's loopback: started, handed out by address, taken down."""

import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

HOST = "127.0.0.1"
USER = "lookback"
START_SECONDS = 120.0
STOP_SECONDS = 30.0
STARTED = b"Ray runtime started"
LOG_BYTES = 100_000
STUDIES = "studies"
"""The database of the studies."""
DATABASES = ("mlflow", "mlflow_users")
"""Those of the MLflow server."""
SERVER = "postgres"
"""The system's user that PostgreSQL runs as where we are root, as whom it refuses to run."""


class Missing(RuntimeError):
    """What a service needs is not installed, or does not let us in."""


class Broken(RuntimeError):
    """A service does not start, or is gone before its time."""


def free_port() -> int:
    """Find a port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A PostgreSQL server of our own.

    Attributes:
        programs: The folder of its programs.
        folder: The folder of its data.
        port: Where it listens, on the loopback alone.
        password: Of the user ``lookback``.
    """

    programs: Path
    folder: Path
    port: int
    password: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment to be let in."""
        return {"PGPASSWORD": self.password}

    def address(self, database: str) -> str:
        """Name a database as ``storage.uri`` does."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses={HOST} -c unix_socket_directories={self.folder}"
        )
        log = str(self.folder / "server.log")
        self._run("pg_ctl", "-D", str(self.folder), "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-m", "immediate", "stop")

    def create(self, database: str) -> None:
        """Create a database."""
        at = ("-h", HOST, "-p", str(self.port), "-U", USER)
        self._run("createdb", *at, database)

    def _run(self, program: str, *arguments: str) -> None:
        _run([str(self.programs / program), *arguments], self.environment)


@dataclass(frozen=True, kw_only=True)
class GivenPostgres:
    """A PostgreSQL server that runs, with databases of ours in it for a while.

    Attributes:
        uri: The address of a database there; the password is in PGPASSWORD or ~/.pgpass.
        prefix: What the names of our databases begin with.
    """

    uri: str
    prefix: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program needs in its environment beside what is there already: nothing."""
        return {}

    def address(self, database: str) -> str:
        """Name a database of ours as ``storage.uri`` does."""
        return urlsplit(self.uri)._replace(path=f"/{self.prefix}{database}").geturl()

    def create(self, database: str) -> None:
        """Create a database."""
        self.execute(f'CREATE DATABASE "{self.prefix}{database}"')

    def execute(self, words: str) -> None:
        """Say something to the server in its own language."""
        psycopg = importlib.import_module("psycopg")
        try:
            with psycopg.connect(self.uri, autocommit=True) as connection:
                connection.execute(words)
        except psycopg.Error as exc:
            reason = str(exc).strip().splitlines()[0]
            raise Missing(
                f"storage.uri must be the address of a PostgreSQL database whose user may create others, "
                f"for the time of the study: {reason}. Received: uri={self.uri!r}. Leave it out, and a server "
                f"is started here."
            ) from None


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a program of PostgreSQL's; as its own user, where we are root."""
    told = {**os.environ, **environment, "LC_ALL": "C"}
    user = {"user": SERVER, "group": SERVER, "extra_groups": []} if os.geteuid() == 0 else {}
    # pg_ctl leaves the server behind, which would hold a pipe open.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            command, env=told, stdout=said, stderr=said, check=False, cwd="/", **user
        )
        if done.returncode:
            said.seek(0)
            raise Broken(f"{command[0]} failed: {said.read().strip()}")


def find_programs() -> Path:
    """Find PostgreSQL's programs.

    Returns:
        Their folder; of several versions the newest.

    Raises:
        Missing: If there are none.
    """
    on_path = shutil.which("pg_ctl")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=_version)
    if not found:
        raise Missing(
            "PostgreSQL's server is not installed. On Debian and Ubuntu: apt-get install postgresql"
        )
    return found[-1].parent


def _version(program: Path) -> float:
    return float(program.parts[-3])


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Run a new PostgreSQL server, whose data go when it ends.

    Yields:
        The server, which lets in by password alone.

    Raises:
        Missing: If it is not installed.
        Broken: If it does not start.
    """
    programs = find_programs()
    # Below a private temporary folder its own user could not reach its data.
    place = Path(tempfile.mkdtemp(prefix="lookback-postgres-", dir="/tmp"))
    try:
        secret = place / "password"
        server = Postgres(
            programs=programs,
            folder=place / "data",
            port=free_port(),
            password=secrets.token_urlsafe(24),
        )
        secret.touch(0o600)
        secret.write_text(server.password)
        if os.geteuid() == 0:
            for path in (place, secret):
                shutil.chown(path, SERVER, SERVER)
        words = ["-D", str(server.folder), "-U", USER, "--auth=scram-sha-256", "--encoding=UTF8"]
        _run([str(programs / "initdb"), *words, f"--pwfile={secret}", "--no-sync"], {})
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def use_postgres(uri: str) -> Iterator[GivenPostgres]:
    """Use a PostgreSQL server that runs; what is created there goes in the end.

    Args:
        uri: The address of a database there.

    Yields:
        The server.

    Raises:
        Missing: If it does not let us in, or create.
        Broken: If it is gone in the end, so that what was created stays.
        ConfigError: If what talks to PostgreSQL is not installed.
    """
    from search.driver.postgres import check_driver  # noqa: PLC0415 - Optuna takes a second

    check_driver()
    server = GivenPostgres(uri=uri, prefix=f"lookback_{secrets.token_hex(4)}_")
    server.execute("SELECT 1")
    try:
        yield server
    finally:
        try:
            for name in (STUDIES, *DATABASES):
                server.execute(f'DROP DATABASE IF EXISTS "{server.prefix}{name}" WITH (FORCE)')
        except Missing as exc:
            raise Broken(f"Databases named {server.prefix}* may stay there: {exc}") from None


@dataclass(frozen=True, kw_only=True)
class Service:
    """A server of our own on the loopback.

    Attributes:
        address: Where it is.
        environment: What a program needs in its environment to be let in.
    """

    address: str
    environment: Mapping[str, str]


@contextmanager
def run_mlflow(postgres: Postgres | GivenPostgres, folder: Path) -> Iterator[Service]:
    """Run an MLflow server that asks for a password, with its runs and its users in PostgreSQL.

    Args:
        postgres: A server that runs.
        folder: Where artifacts are kept, which clients send and fetch through the server.

    Yields:
        The server, which answers.

    Raises:
        Missing: If it is not installed.
    """
    if importlib.util.find_spec("flask_wtf") is None:
        raise Missing("MLflow's users need the extra 'cluster': scripts/run --extra cluster ...")
    from search.results.serving import serve_store  # noqa: PLC0415 - MLflow takes a second

    for name in DATABASES:
        postgres.create(name)
    runs, users = (
        postgres.address(name).replace("postgresql:", "postgresql+psycopg:") for name in DATABASES
    )
    port, password = free_port(), secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="lookback-mlflow-") as place:
        settings = Path(place) / "auth.ini"
        settings.write_text(
            f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {users}\n"
            f"admin_username = {USER}\nauth_cache_ttl_seconds = 60\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        environment = {
            **postgres.environment,
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(24),
        }
        words = ["--app-name", "basic-auth"]
        with serve_store(runs, port, folder, words=words, environment=environment):
            told = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": password}
            yield Service(address=f"http://{HOST}:{port}", environment=told)


@dataclass(frozen=True, kw_only=True)
class Ray:
    """A Ray cluster of our own on the loopback.

    Attributes:
        address: Of its head.
        client_address: For a driver that is none of its machines.
        environment: What a program needs in its environment to be let in.
        head: Its head, the first process of its group: to kill the group is to lose it.
    """

    address: str
    client_address: str
    environment: Mapping[str, str]
    head: "subprocess.Popen[bytes]"

    @contextmanager
    def run_node(self, cpus: int) -> "Iterator[subprocess.Popen[bytes]]":
        """Run one more machine of the cluster, for all that Ray knows.

        Args:
            cpus: The cores that it hands out.

        Yields:
            Its process, the first of its group: to kill the group is to lose the machine.
        """
        words = [f"--address={self.address}", f"--num-cpus={cpus}"]
        with _run_ray(words, self.environment) as process:
            yield process


@contextmanager
def run_ray(cpus: int, *, alone: bool = True) -> Iterator[Ray]:
    """Run a Ray cluster of this machine, which asks for a token.

    Args:
        cpus: The cores that its head hands out.
        alone: Whether the head is all of it, and listens on the loopback; else ``run_node`` adds to it.

    Yields:
        The cluster, which answers.

    Raises:
        Missing: If it is not installed.
        Broken: If it does not start.
    """
    if importlib.util.find_spec("ray") is None:
        raise Missing("Ray needs the extra 'cluster': scripts/run --extra cluster ...")
    port, client_port = free_port(), free_port()
    secret = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        **({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if alone else {}),  # of one machine alone
    }
    words = ["--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false"]
    words += [f"--ray-client-server-port={client_port}"]
    with _run_ray(words, secret) as head:
        yield Ray(
            address=f"{HOST}:{port}",
            client_address=f"ray://{HOST}:{client_port}",
            environment=secret,
            head=head,
        )


@contextmanager
def _run_ray(
    words: list[str], environment: Mapping[str, str]
) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, f"--node-ip-address={HOST}", *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_started(process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until_started(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        said = os.pread(log.fileno(), LOG_BYTES, 0)
        if STARTED in said:
            return
        time.sleep(0.1)
    said = os.pread(log.fileno(), LOG_BYTES, 0)
    raise Broken(f"Ray did not start: {said.decode(errors='replace').strip()}")
