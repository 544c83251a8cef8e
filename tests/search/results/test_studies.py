"""A study is found by its name."""

from pathlib import Path

import pytest

from search.errors import StudyError
from search.results.studies import find_uri


@pytest.mark.parametrize("damaged", [b"[storage", b"name = '\xff'", b"storage = 3"])
def test_a_damaged_study_file_is_named(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "studies" / "pump.toml"
    path.parent.mkdir()
    path.write_bytes(b"[storage]\nuri = 'postgresql://host/db'")
    assert find_uri("pump", tmp_path) == "postgresql://host/db"
    assert find_uri("other", tmp_path) is None
    path.write_bytes(damaged)
    with pytest.raises(StudyError, match=r"study's file whole: .*pump\.toml'. Copy it"):
        find_uri("pump", tmp_path)
