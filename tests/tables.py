"""Tables written by hand, and how a source reads or refuses them."""

from pathlib import Path
from typing import Any

import pytest

from search.config import TableData, TaskConfig
from search.data.recordings import Recordings
from search.data.table import load_table

HOURS = "t,a,b\n2020-01-01 00:00:00,1,5\n2020-01-01 01:00:00,2,6\n2020-01-01 02:00:00,3,7\n"


def load(path: Path, kind: str = "forecasting", **settings: Any) -> Recordings:
    task = TaskConfig.model_validate({"kind": kind})
    return load_table(TableData(path=path, **settings), task, lambda what, done, total: None)


def read(folder: Path, text: str, kind: str = "forecasting", **settings: Any) -> Recordings:
    """Load one CSV file with the given text."""
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return load(path, kind, **settings)


def write_folder(folder: Path, **files: str) -> Path:
    """Write CSV files; two underscores in a name stand for a folder's slash."""
    for name, text in files.items():
        path = folder / "data" / f"{name.replace('__', '/')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "data"


def refusal(error: type[Exception], folder: Path, text: str, *words: Any, **settings: Any) -> str:
    """Return the message with which a table is refused, which names all the words."""
    with pytest.raises(error) as caught:
        read(folder, text, **settings)
    message = str(caught.value)
    assert [word for word in words if str(word) not in message] == [], message
    return message
