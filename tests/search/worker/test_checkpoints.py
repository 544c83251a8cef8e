import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from search.worker.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

WHO = {"seed": 7, "parameters": {"units": 32, "cell": "lstm"}, "targets": "abc"}


def make_checkpoint(epochs: int, size: int = 5) -> Checkpoint:
    rng = np.random.default_rng(epochs)
    return Checkpoint(
        identity=WHO,
        values=[0.1 * epoch for epoch in range(epochs)],
        metrics=[{"val_accuracy": 0.1 * epoch} for epoch in range(epochs)],
        seconds=2.5,
        random={"python": [3, [1, 2], None]},
        variables=[rng.normal(size=(size, 3)), np.array(4, "uint32")],
        optimizer=[rng.normal(size=size)],
        best=[rng.normal(size=(size, 3))],
    )


def assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    for name in ("identity", "values", "metrics", "seconds", "random"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("variables", "optimizer", "best"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trial.checkpoint"


@pytest.fixture
def two(path: Path) -> Path:
    """A file of three epochs, with the one of two epochs beside it."""
    for epochs in (1, 2, 3):
        save_checkpoint(make_checkpoint(epochs), path)
    return path


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 2 KiB, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_saved_last_is_read(two: Path) -> None:
    assert_same(load_checkpoint(two, WHO), make_checkpoint(3))
    assert len(list(two.parent.iterdir())) == 2


def test_where_there_is_none_none_is_read(path: Path) -> None:
    assert load_checkpoint(path, WHO) is None


@pytest.mark.parametrize("left", [0, 1, 31, 32, 33, 200, -1])
def test_a_file_that_was_cut_short_gives_way_to_the_one_before(two: Path, left: int) -> None:
    two.write_bytes(two.read_bytes()[:left])
    assert_same(load_checkpoint(two, WHO), make_checkpoint(2))


def test_one_wrong_bit_anywhere_is_noticed(two: Path) -> None:
    whole = two.read_bytes()
    for place in range(0, len(whole), 97):
        two.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert_same(load_checkpoint(two, WHO), make_checkpoint(2))


def test_killed_between_the_two_renames_the_one_before_is_read(two: Path) -> None:
    two.unlink()
    assert_same(load_checkpoint(two, WHO), make_checkpoint(2))


def test_with_both_broken_the_trial_begins_again(two: Path) -> None:
    for file in two.parent.iterdir():
        file.write_bytes(b"")
    assert load_checkpoint(two, WHO) is None


@pytest.mark.parametrize(
    "other", [{"seed": 8}, {"parameters": {"units": 33, "cell": "lstm"}}, {"targets": "abd"}]
)
def test_the_checkpoint_of_another_trial_is_not_taken(two: Path, other: dict[str, object]) -> None:
    assert load_checkpoint(two, {**WHO, **other}) is None


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_what_was_there(path: Path) -> None:
    save_checkpoint(make_checkpoint(1), path)
    with pytest.raises(OSError, match="File too large"):
        save_checkpoint(make_checkpoint(2, size=5000), path)
    assert_same(load_checkpoint(path, WHO), make_checkpoint(1))
