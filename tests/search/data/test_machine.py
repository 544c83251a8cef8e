import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.config import MachineData
from search.data.machine import CHANNELS, CLASSES, LAGS, WARMING, load_machine
from search.data.recordings import Recordings
from search.data.sequences import Array, gather_windows

FULL = MachineData(machines=24, rows=3000, stride=12)


@pytest.fixture(scope="module")
def machines() -> Recordings:
    return load_machine(FULL)


def standardize(recordings: Recordings) -> Array:
    """Take each machine's own offset and gain off, as no model can."""
    rows = recordings.rows.reshape(FULL.machines, FULL.rows, len(CHANNELS))
    scaled = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    return scaled.reshape(recordings.rows.shape)


def judge(recordings: Recordings, features: Array) -> float:
    """Macro F1 of a linear model on machines that it has not seen."""
    assert recordings.groups is not None
    seen = recordings.groups < FULL.machines * 2 // 3
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=0.01))
    model.fit(features[seen], recordings.labels[seen])
    found = model.predict(features[~seen])
    return float(f1_score(recordings.labels[~seen], found, average="macro"))


def multiply(windows: Array) -> Array:
    """Average the products of values that normal machines and faults couple, over each window."""
    load, flow, pressure, temperature, current = np.moveaxis(windows, -1, 0)
    pairs = [
        (load[:, : -LAGS[0]], flow[:, LAGS[0] :]),
        (load[:, : -LAGS[1]], flow[:, LAGS[1] :]),
        (load[:, :-WARMING], temperature[:, WARMING:]),
        (load, current),
        (pressure[:, :-8], pressure[:, 8:]),
    ]
    return np.stack([(one * other).mean(axis=1) for one, other in pairs], axis=1)


def test_the_same_seed_gives_the_same_bytes(machines: Recordings) -> None:
    again = load_machine(FULL)
    assert again.rows.tobytes() == machines.rows.tobytes()
    assert again.labels.tolist() == machines.labels.tolist()
    other = load_machine(FULL.model_copy(update={"simulation_seed": 1}))
    assert other.rows.tobytes() != machines.rows.tobytes()


def test_the_description_says_that_the_data_are_simulated(machines: Recordings) -> None:
    assert machines.description.startswith("Simulated, not measured")


@pytest.mark.parametrize(("count", "rows", "stride"), [(6, 600, 1), (7, 777, 5), (24, 3000, 12)])
def test_every_window_lies_in_one_machine(count: int, rows: int, stride: int) -> None:
    recordings = load_machine(MachineData(machines=count, rows=rows, stride=stride))
    assert recordings.rows.shape == (count * rows, len(CHANNELS))
    assert recordings.rows.dtype == np.float32
    assert recordings.groups is not None
    np.testing.assert_array_equal(recordings.ends // rows, recordings.groups)
    np.testing.assert_array_equal(
        (recordings.ends + 1 - recordings.longest) // rows, recordings.groups
    )


def test_every_class_shows_and_normal_is_the_most_frequent(machines: Recordings) -> None:
    counts = np.bincount(machines.labels, minlength=len(CLASSES))
    assert counts.min() > 0.15 * len(machines.labels)
    assert counts.argmax() == CLASSES.index("normal")


def test_no_channel_alone_tells_classes_apart_by_level_or_spread(machines: Recordings) -> None:
    windows = gather_windows(standardize(machines), machines.ends, machines.longest)
    for label in range(len(CLASSES)):
        values = windows[machines.labels == label]
        assert abs(values.mean(axis=(0, 1))).max() < 0.1
        assert abs(values.std(axis=(0, 1)) - 1).max() < 0.1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_linear_model_learns_next_to_nothing_from_whole_windows(machines: Recordings) -> None:
    windows = gather_windows(standardize(machines), machines.ends, machines.longest)
    assert judge(machines, windows.reshape(len(windows), -1)) < 0.3
    statistics = [windows.mean(1), windows.std(1), windows.min(1), windows.max(1)]
    assert judge(machines, np.concatenate(statistics, axis=1)) < 0.3


def test_products_over_long_windows_tell_the_faults_and_over_short_ones_hardly(
    machines: Recordings,
) -> None:
    rows = standardize(machines)
    scores = {
        length: judge(machines, multiply(gather_windows(rows, machines.ends, length)))
        for length in (16, 100)
    }
    assert scores[100] > 0.65
    assert scores[16] < scores[100] - 0.2
