"""The weights of a candidate's best epoch, on disk and back."""

import os
from pathlib import Path
from typing import Any

import numpy as np


def save_weights(model: Any, path: Path) -> None:
    """Write weights aside, sync them, and move them into place, so that no half file is read.

    NumPy's format and not Keras's: it holds no optimizer, and any backend reads it.

    Args:
        model: A built Keras model.
        path: The file, ending in ``.npz``.
    """
    aside = path.with_name(f".{path.name}")
    with aside.open("wb") as file:
        np.savez(file, *model.get_weights())
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def load_weights(model: Any, path: Path) -> None:
    """Give a model of the same architecture its saved weights back.

    Args:
        model: A built Keras model.
        path: A file that ``save_weights`` wrote.
    """
    with np.load(path, allow_pickle=False) as file:
        model.set_weights([file[name] for name in file.files])
