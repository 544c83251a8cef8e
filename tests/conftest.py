"""What several test modules need."""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import find_free_port

from search.driver.executors.ray import SETTINGS, load_ray

os.environ.update(SETTINGS)  # read as Ray is loaded, which a test module may do that looks for it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="take a skipped test for a failed one")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and --no-skips was given: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without experiments: making one takes seconds, copying it none."""
    from search.driver.tracking.store import make_store  # noqa: PLC0415 - imports MLflow

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    make_store(path)
    return path


@pytest.fixture(scope="session")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of four frequencies with random phase, 24 steps of 3 channels."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 60)
    time = np.arange(24)[None, :, None]
    phase = rng.uniform(0, 2 * np.pi, (240, 1, 3))
    clips = np.sin(time * (0.3 + 0.4 * labels[:, None, None]) + phase)
    path = tmp_path_factory.mktemp("waves") / "waves.npz"
    np.savez(path, x=clips.astype("float32"), y=labels, group=np.arange(240) // 8)
    return path


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return find_free_port()


@pytest.fixture
def storage_folder(store_template: Path, tmp_path: Path) -> Path:
    """A storage folder of the test's own, with an MLflow store in it."""
    folder = tmp_path / "mlflow_runs"
    folder.mkdir()
    shutil.copyfile(store_template, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Ray on this machine, for all tests of this process: it takes seconds to start.

    Its workers claim cores in a folder of their own: beside it tests of another process may run, or a study.
    """
    pytest.importorskip("ray", reason="needs the extra 'cluster'")
    ray = load_ray()
    small = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # longer paths are none of a socket
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("cores")))
        ray.init(address="local", num_cpus=2, log_to_driver=False, **small)
    yield ray
    ray.shutdown()
