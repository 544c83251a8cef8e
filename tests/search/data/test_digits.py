from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from search.config import DigitsData, TaskConfig
from search.data.digits import POOLS, SPEEDS, load_digits
from search.data.recordings import Recordings
from search.data.sequences import Array
from search.errors import ConfigError, DataError, SearchError

MNIST = Path(__file__).parents[3].parent / "shared/data/mnist/mnist.npz"


def load(kind: str = "frames", horizon: int = 1, **settings: Any) -> Recordings:
    task = TaskConfig.model_validate({"kind": kind, "horizon": horizon})
    return load_digits(DigitsData(**({"sequences": 60} | settings)), task)


def write_images(folder: Path, images: Array) -> Path:
    path = folder / "digits.npz"
    np.savez(path, x_train=images)
    return path


def find_corners(frames: Array) -> Array:
    """Where the light of each frame is centred, in pixels, of shape (frames, 2)."""
    light = frames[..., 0].astype(float)
    whole = light.sum(axis=(1, 2))
    lines, columns = np.arange(light.shape[1]), np.arange(light.shape[2])
    down = (light.sum(axis=2) * lines).sum(axis=1) / whole
    right = (light.sum(axis=1) * columns).sum(axis=1) / whole
    return np.stack([down, right], axis=1)


def test_each_sequence_is_a_recording_of_bytes() -> None:
    recordings = load(frames=7, canvas=20)
    assert recordings.rows.shape == (60 * 7, 20, 20, 1)
    assert recordings.rows.dtype == np.uint8
    assert recordings.truths is recordings.rows
    assert recordings.starts.tolist() == list(range(0, 421, 7))
    assert recordings.clips
    assert recordings.channels == ("grey",)
    assert len(recordings.names) == 60


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again, other = load(), load(), load(simulation_seed=1)
    assert first.rows.tobytes() == again.rows.tobytes()
    assert first.groups is not None
    assert again.groups is not None
    assert first.groups.tolist() == again.groups.tolist()
    assert first.rows.tobytes() != other.rows.tobytes()


def test_a_block_moves_in_straight_lines_and_turns_at_the_walls(tmp_path: Path) -> None:
    path = write_images(tmp_path, np.full((60, 4, 4), 200, dtype=np.uint8))
    rows = load(path=path, canvas=24, frames=40).rows.reshape(60, 40, 24, 24, 1)
    assert abs(rows.reshape(60, 40, -1).sum(axis=2, dtype=int) - 200 * 16).max() < 30
    turns = 0
    for frames in rows:
        corners = find_corners(frames)
        assert corners.min() > 1.4
        assert corners.max() < 21.6
        steps = np.diff(corners, axis=0)
        away = np.all((corners > 4.6) & (corners < 18.4), axis=1)  # a frame from any wall
        straight = away[1:-1]
        np.testing.assert_allclose(steps[1:][straight], steps[:-1][straight], atol=0.1)
        speeds = np.linalg.norm(steps[1:][straight], axis=1)
        assert speeds.min(initial=1) > SPEEDS[0] * 24 - 0.1
        assert speeds.max(initial=1) < SPEEDS[1] * 24 + 0.1
        turns += np.count_nonzero(steps[1:] * steps[:-1] < -0.1)
    assert turns > 60


def test_a_digit_at_a_wall_is_drawn_whole(tmp_path: Path) -> None:
    path = write_images(tmp_path, np.full((60, 8, 8), 255, dtype=np.uint8))
    assert (load(path=path, canvas=8).rows == 255).all()


def test_digits_are_shrunk_by_the_mean_of_their_pixels(tmp_path: Path) -> None:
    images = np.zeros((60, 8, 8), dtype=np.uint8)
    images[:, ::2] = 100
    rows = load(path=write_images(tmp_path, images), shrink=2, canvas=8, frames=2).rows
    assert rows.reshape(len(rows), -1).astype(int).sum(axis=1) == pytest.approx(16 * 50, rel=0.05)


def test_digits_that_overlap_show_the_brighter_pixel(tmp_path: Path) -> None:
    images = np.full((10, 8, 8), 10, dtype=np.uint8)
    images[:2] = 250  # nine of the ten hold one of them
    assert (load(path=write_images(tmp_path, images), canvas=8, digits=9).rows == 250).all()


def test_no_image_stands_in_two_groups(tmp_path: Path) -> None:
    images = np.zeros((200, 8, 8), dtype=np.uint8)
    images[:] = np.arange(1, 201)[:, None, None]  # each image is told by its one value
    recordings = load(path=write_images(tmp_path, images), canvas=8, sequences=1000, frames=2)
    assert recordings.groups is not None
    assert np.bincount(recordings.groups).tolist() == [20] * POOLS
    seen = recordings.rows[::2, 0, 0, 0]
    pairs = set(zip(seen.tolist(), recordings.groups.tolist(), strict=True))
    assert len(pairs) == len({image for image, _ in pairs}) > 150


def test_few_images_make_fewer_pools(tmp_path: Path) -> None:
    path = write_images(tmp_path, np.ones((10, 8, 8), dtype=np.uint8))
    recordings = load(path=path, digits=3)
    assert recordings.groups is not None
    assert set(recordings.groups.tolist()) == {0, 1, 2}


def test_scikit_learns_digits_need_no_file() -> None:
    """At a whole pixel a drawn digit is the original, from 0 to 255."""
    rows = load(canvas=8, frames=2).rows[..., 0]
    originals = np.rint(datasets.load_digits().images * 255 / 16).astype(np.uint8)
    known = {image.tobytes() for image in originals}
    assert all(row.tobytes() in known for row in rows)
    assert rows.max() == 255


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_thousands_of_sequences_take_seconds() -> None:
    assert len(load(sequences=5_000, digits=2).rows) == 50_000


@pytest.mark.skipif(not MNIST.is_file(), reason=f"there is no {MNIST}")
def test_larger_digits_come_from_a_file() -> None:
    recordings = load(path=MNIST, canvas=40, images="x_test")
    assert recordings.rows.shape == (600, 40, 40, 1)
    assert "10000 handwritten digits, of mnist.npz" in recordings.description


BAD_IMAGES = {
    "float images": (np.ones((40, 8, 8)), {}, DataError, r"data\.images .*uint8.*float64"),
    "flat images": (np.ones((40, 64), np.uint8), {}, DataError, r"data\.images .*\(40, 64\)"),
    "no images": (np.ones((0, 8, 8), np.uint8), {}, DataError, r"data\.images .*\(0, 8, 8\)"),
    "large images": (
        np.ones((40, 8, 28), np.uint8),
        {},
        ConfigError,
        r"data\.canvas must have room.*canvas=16 for images of 8 x 28.*Write data\.canvas=56",
    ),
    "few images": (
        np.ones((2, 8, 8), np.uint8),
        {"digits": 3},
        DataError,
        r"data\.images must hold the digits.*2 images for digits=3",
    ),
    "another name": (
        np.ones((40, 8, 8), np.uint8),
        {"images": "x_trian"},
        ConfigError,
        r"data\.images must name an array.*Did you mean 'x_train'",
    ),
}


@pytest.mark.parametrize(
    ("images", "settings", "error", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES
)
def test_images_that_cannot_be_drawn_are_refused(
    tmp_path: Path,
    images: Array,
    settings: dict[str, Any],
    error: type[SearchError],
    message: str,
) -> None:
    path = write_images(tmp_path, images)
    with pytest.raises(error, match=message):
        load(path=path, **settings)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path must name an \.npz file.*no such file"):
        load(path=tmp_path / "none.npz")


def test_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.kind must be 'frames'.*kind='classification'"):
        load("classification")


def test_a_horizon_as_long_as_a_sequence_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.horizon must leave frames.*Write .*frames=4"):
        load(frames=2, horizon=2)
