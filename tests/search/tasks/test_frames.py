import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from search.config import make_config
from search.data.sequences import Array, SequenceData
from search.errors import DivergedTraining, InvalidArchitecture
from search.tasks import frames, make_task

MakeData: TypeAlias = Callable[..., SequenceData]
TASK = make_task(make_config({"name": "test", "task": {"kind": "frames"}}))
LONGEST, HORIZON = 4, 3


@pytest.fixture
def film(make_data: MakeData) -> MakeData:
    """What makes clips of bytes, each with one target: the longest window, then the horizon."""

    def film(clips: int = 6, height: int = 9, width: int = 8, channels: int = 2) -> SequenceData:
        steps = LONGEST + HORIZON
        rng = np.random.default_rng(0)
        shape = (clips * steps, height, width, channels)
        ends = np.arange(clips) * steps + LONGEST - 1
        return make_data(
            rng.integers(10, 211, shape).astype(np.uint8),
            None,
            ends,
            longest=LONGEST,
            horizon=HORIZON,
            mean=(10.0,) * channels,
            scale=(200.0,) * channels,
        )

    return film


def follow(data: SequenceData) -> Array:
    """Scale what follows each target, of shape (targets, horizon, ...), with a loop."""
    return np.array(
        [
            [(data.rows[end + ahead].astype(float) - 10) / 200 for ahead in range(1, HORIZON + 1)]
            for end in data.ends["test"]
        ]
    )


def blur(truth: Array, spread: float = 0.1) -> Array:
    noise = spread * np.random.default_rng(1).standard_normal(truth.shape)
    return np.clip(truth + noise, 0, 1)


def score(data: SequenceData, outputs: Any) -> dict[str, float]:
    return TASK.score(data, "test", lambda side: outputs)


@pytest.mark.parametrize("most", [1, 1000, 2**22])
@pytest.mark.parametrize("size", [(9, 8), (28, 28), (7, 7), (6, 20), (4, 3), (3, 12)])
def test_scores_are_those_of_one_call_a_frame(
    film: MakeData, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], most: int
) -> None:
    monkeypatch.setattr(frames, "MOST_PIXELS", most)
    data = film(3, *size)
    truth = follow(data)
    outputs = blur(truth)
    window = {9: 7, 28: 7, 7: 7, 6: 5, 4: 3, 3: 3}[size[0]]
    similar, peaks, sums = [], [], []
    for one, other in zip(truth.reshape(-1, *size, 2), outputs.reshape(-1, *size, 2), strict=True):
        similar += [
            structural_similarity(one[..., c], other[..., c], data_range=1, win_size=window)
            for c in (0, 1)
        ]
        peaks.append(peak_signal_noise_ratio(one, other, data_range=1))
        sums.append(((one - other) ** 2).sum())
    expected = {
        "mse": np.mean((truth - outputs) ** 2),
        "mae": np.mean(np.abs(truth - outputs)),
        "frame_squared_error": np.mean(sums),
        "ssim": np.mean(similar),
        "psnr": np.mean(peaks),
    }
    # The data scale bytes in float32.
    assert score(data, outputs) == pytest.approx(expected, abs=1e-5, rel=1e-5)
    assert list(expected) == list(TASK.directions)


def test_similarity_is_that_of_one_call_a_frame_to_rounding() -> None:
    truth = np.random.default_rng(0).random((4, 2, 12, 10, 3))
    guess = blur(truth)
    expected = np.empty((4, 2, 3))
    for i, j, c in np.ndindex(4, 2, 3):
        pair = truth[i, j, ..., c], guess[i, j, ..., c]
        expected[i, j, c] = structural_similarity(*pair, data_range=1, win_size=7)
    found = frames._measure_similarity(truth, guess)
    assert found == pytest.approx(expected.mean(axis=2), abs=1e-12)


def test_right_frames_score_full_marks(film: MakeData) -> None:
    data = film()
    found = score(data, data.labels("test"))
    full = {"mse": 0, "mae": 0, "frame_squared_error": 0, "ssim": 1, "psnr": 100}
    assert found == pytest.approx(full, abs=1e-9)


def test_predictions_are_clipped_to_the_range_of_pixels(film: MakeData) -> None:
    data = film()
    outputs = follow(data) * 3 - 1
    assert score(data, outputs) == score(data, np.clip(outputs, 0, 1))
    assert score(data, np.full_like(outputs, 99)) == score(data, np.ones_like(outputs))


@pytest.mark.parametrize("size", [(2, 9), (9, 1)])
def test_frames_too_small_for_a_window_have_no_similarity(
    film: MakeData, size: tuple[int, int]
) -> None:
    data = film(3, *size)
    found = score(data, blur(follow(data)))
    assert np.isnan(found.pop("ssim"))
    assert np.isfinite(list(found.values())).all()


def test_a_table_says_how_errors_grow(film: MakeData) -> None:
    data = film()
    truth = follow(data)
    outputs = truth.copy()
    outputs[:, 1] = np.abs(truth[:, 1] - 0.1)
    outputs[:, 2] = 0
    heads, lines = TASK.tables(data, "test", lambda side: outputs)["error by step ahead"]
    assert heads == ("step", "mse", "mae", "ssim", "psnr")
    assert [line[0] for line in lines] == [1, 2, 3]
    mse, mae, ssim, psnr = np.array([line[1:] for line in lines]).T
    assert mse == pytest.approx(np.square(outputs - truth).mean(axis=(0, 2, 3, 4)), abs=1e-6)
    assert mae == pytest.approx(np.abs(outputs - truth).mean(axis=(0, 2, 3, 4)), abs=1e-6)
    assert ssim[0] > ssim[1] > ssim[2]
    assert psnr[0] > psnr[1] > psnr[2]


@pytest.mark.parametrize(("size", "thin"), [((9, 8), 1), ((40, 70), 3)])
def test_a_table_shows_frames_line_by_line(
    film: MakeData, size: tuple[int, int], thin: int
) -> None:
    data = film(3, *size)
    truth = follow(data)
    heads, lines = TASK.tables(data, "test", lambda side: truth + 2)["frames"]
    assert heads[:4] == ("target", "what", "step", "line")
    true = [line for line in lines if line[1] == "truth"]
    assert len(lines) == 2 * len(true)
    assert {value for line in lines if line[1] == "prediction" for value in line[4:]} == {1.0}
    grey = truth.mean(axis=-1)[:, :, ::thin, ::thin]
    for target, _, step, line, *pixels in true:
        assert pixels == pytest.approx(grey[target, step - 1, line], abs=0.006)


@pytest.mark.parametrize("shape", [(3, 9, 8, 1), (3, 9, 8), (216,)])
def test_axes_of_one_channel_may_be_missing(film: MakeData, shape: tuple[int, ...]) -> None:
    data = film(channels=1)
    assert TASK.output_shape(data, 2) == (3, 9, 8, 1)
    outputs = data.labels("test").reshape(-1, *shape)
    assert score(data, outputs)["mse"] == 0
    assert TASK.taught(data, shape).gather(data.ends["test"]).tolist() == outputs.tolist()
    assert TASK.reading(data, lambda side: outputs) == {}


BAD_OUTPUTS = {
    "frame by frame": ((9, 8, 2), r"frame for each step ahead, of shape \(6, 3, 9, 8, 2\) for 6"),
    "turned": ((3, 8, 9, 2), r"=\(6, 3, 8, 9, 2\)\. End it with Dense\(432\) and Reshape\(\(3, 9"),
    "steps as channels": ((9, 8, 6), r"=\(6, 9, 8, 6\)"),
}


@pytest.mark.parametrize(("shape", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_outputs_of_another_form_end_the_candidate(
    film: MakeData, shape: tuple[int, ...], message: str
) -> None:
    data = film()
    with pytest.raises(InvalidArchitecture, match=message):
        score(data, np.zeros((6, *shape)))
    with pytest.raises(InvalidArchitecture, match=r"\(3, 9, 8, 2\) for each target"):
        TASK.taught(data, shape)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_end_the_candidate(film: MakeData, value: float) -> None:
    data = film()
    with pytest.raises(DivergedTraining, match="finite numbers"):
        score(data, np.full((6, 3, 9, 8, 2), value))


def test_baselines_copy_the_last_frame_and_average_the_inputs(
    film: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MOST_VALUES", 1000)
    data = film()
    scaled, truth = (data.rows.astype(float) - 10) / 200, follow(data)
    last = np.stack([scaled[end] for end in data.ends["test"]])[:, None]
    mean = np.stack([scaled[end - 3 : end + 1].mean(axis=0) for end in data.ends["test"]])[:, None]
    copied, averaged = TASK.baselines(data)
    assert copied.validation["mse"] == pytest.approx(np.square(last - truth).mean())
    assert averaged.validation["mae"] == pytest.approx(np.abs(mean - truth).mean())
    assert copied.score(data, "test") == copied.validation


def test_a_still_film_is_predicted_by_its_last_frame(make_data: MakeData) -> None:
    rows = np.broadcast_to(np.random.default_rng(0).random((1, 8, 8, 1)), (9, 8, 8, 1))
    data = make_data(rows.astype(np.float32), None, np.array([5]), longest=4, horizon=3)
    copied, averaged = TASK.baselines(data)
    assert copied.validation["ssim"] == pytest.approx(1, abs=1e-9)
    assert copied.validation["psnr"] == 100
    assert averaged.validation["mse"] == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_five_hundred_sequences_are_scored_in_the_time_of_an_epoch(film: MakeData) -> None:
    data = film(833, 28, 28, 1)  # as many frames as 500 sequences with 5 to predict
    outputs = data.labels("test")[::-1]
    score(data, outputs)
    began = time.process_time()
    score(data, outputs)
    assert time.process_time() - began < 2
