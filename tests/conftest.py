"""What several test modules need."""

import shutil
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # MLflow 3.17 maps its tables with a loader strategy that SQLAlchemy 2.1 deprecates.
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy")


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without experiments: making one takes seconds, copying it none."""
    from search.driver.tracking.store import make_store  # noqa: PLC0415 - imports MLflow

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    make_store(path)
    return path


@pytest.fixture
def storage_folder(store_template: Path, tmp_path: Path) -> Path:
    """A storage folder of the test's own, with an MLflow store in it."""
    folder = tmp_path / "mlflow_runs"
    folder.mkdir()
    shutil.copyfile(store_template, folder / "mlflow.db")
    return folder
