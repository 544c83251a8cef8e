"""Real servers for tests: started once, skipped with the reason where they are not installed."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[1] / "scripts" / "cluster" / "services.py"


def load_services() -> ModuleType:
    """Load the module that starts servers, which stands beside the scripts that use it."""
    if "services_of_cluster" not in sys.modules:
        spec = importlib.util.spec_from_file_location("services_of_cluster", FILE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["services_of_cluster"] = module
        spec.loader.exec_module(module)
    return sys.modules["services_of_cluster"]


def serve_postgres() -> Iterator[object]:
    """Run PostgreSQL, and let this process and what it starts in."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs the extra 'cluster'")
    services = load_services()
    try:
        programs = services.find_programs()
    except services.Missing as exc:
        pytest.skip(str(exc))
    assert programs.is_dir()
    with services.run_postgres() as server:
        before = dict(os.environ)
        os.environ.update(server.environment)
        try:
            yield server
        finally:
            os.environ.clear()
            os.environ.update(before)
