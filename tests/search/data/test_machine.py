import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.config import MachineData, SequenceLengthConfig, TaskConfig
from search.data.machine import CHANNELS, CLASSES, EPISODE, HISTORY, LAGS, WARMING, load_machine
from search.data.recordings import Recordings, Targets
from search.data.sequences import Array
from search.data.targets import place_targets
from search.errors import ConfigError

FULL = MachineData(machines=24, rows=3000, stride=12)
CLASSIFY = TaskConfig()
LONGEST = SequenceLengthConfig(high=HISTORY)


@pytest.fixture(scope="module")
def machines() -> Recordings:
    return load_machine(FULL, CLASSIFY)


@pytest.fixture(scope="module")
def targets(machines: Recordings) -> Targets:
    return place_targets(machines, CLASSIFY, LONGEST)


def gather(rows: Array, ends: Array, length: int) -> Array:
    return rows[ends[:, None] + np.arange(1 - length, 1)]


def standardize(recordings: Recordings) -> Array:
    """Take each machine's own offset and gain off, as no model can."""
    rows = recordings.rows.reshape(FULL.machines, FULL.rows, len(CHANNELS))
    scaled = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    return scaled.reshape(recordings.rows.shape)


def judge(targets: Targets, features: Array) -> float:
    """Macro F1 of a linear model on machines that it has not seen."""
    seen = targets.recordings < FULL.machines * 2 // 3
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=0.01))
    model.fit(features[seen], targets.labels[seen])
    found = model.predict(features[~seen])
    return float(f1_score(targets.labels[~seen], found, average="macro"))


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
    again = load_machine(FULL, CLASSIFY)
    assert again.rows.tobytes() == machines.rows.tobytes()
    assert again.truths.tolist() == machines.truths.tolist()
    other = load_machine(FULL.model_copy(update={"simulation_seed": 1}), CLASSIFY)
    assert other.rows.tobytes() != machines.rows.tobytes()


def test_the_description_says_that_the_data_are_simulated(machines: Recordings) -> None:
    assert machines.description.startswith("Simulated, not measured")


@pytest.mark.parametrize(("count", "rows", "stride"), [(6, 600, 1), (7, 777, 5), (24, 3000, 12)])
def test_each_machine_is_a_recording_and_a_group(count: int, rows: int, stride: int) -> None:
    data = MachineData(machines=count, rows=rows, stride=stride)
    recordings = load_machine(data, CLASSIFY)
    assert recordings.rows.shape == (count * rows, len(CHANNELS))
    assert recordings.rows.dtype == np.float32
    assert recordings.starts.tolist() == list(range(0, count * rows + 1, rows))
    assert recordings.groups is not None
    assert recordings.groups.tolist() == list(range(count))
    assert (recordings.stride, recordings.clips) == (stride, False)
    assert len(recordings.names) == count


def test_no_target_stands_where_an_episode_has_just_begun(machines: Recordings) -> None:
    episodes = machines.truths.reshape(-1, EPISODE)  # 3,000 rows are 20 whole episodes
    assert (episodes[:, : HISTORY - 1] == -1).all()
    assert (episodes[:, HISTORY - 1 :] >= 0).all()
    assert (episodes[:, HISTORY - 1 :] == episodes[:, -1:]).all()


def test_every_class_shows_and_normal_is_the_most_frequent(targets: Targets) -> None:
    counts = np.bincount(targets.labels, minlength=len(CLASSES))
    assert counts.min() > 0.15 * len(targets.labels)
    assert counts.argmax() == CLASSES.index("normal")


def test_flags_tell_the_faults_from_normal(machines: Recordings) -> None:
    flagged = load_machine(FULL, TaskConfig(kind="anomaly"))
    assert flagged.classes == ("normal", "anomalous")
    np.testing.assert_array_equal(flagged.truths, np.minimum(machines.truths, 1))
    assert flagged.rows.tobytes() == machines.rows.tobytes()


def test_a_forecast_is_of_every_sensor(machines: Recordings) -> None:
    forecast = load_machine(FULL, TaskConfig(kind="forecasting"))
    np.testing.assert_array_equal(forecast.truths, machines.rows)
    assert forecast.truths is not forecast.rows
    assert forecast.variables == CHANNELS
    assert forecast.target_channels == (0, 1, 2, 3, 4)
    assert forecast.classes == ()


@pytest.mark.parametrize("kind", ["regression", "frames"])
def test_a_task_that_machines_cannot_teach_is_refused(kind: str) -> None:
    task = TaskConfig.model_validate({"kind": kind})
    with pytest.raises(ConfigError, match=rf"classification, anomaly, forecasting.*kind='{kind}'"):
        load_machine(FULL, task)


def test_no_channel_alone_tells_classes_apart_by_level_or_spread(
    machines: Recordings, targets: Targets
) -> None:
    windows = gather(standardize(machines), targets.ends, targets.longest)
    for label in range(len(CLASSES)):
        values = windows[targets.labels == label]
        assert abs(values.mean(axis=(0, 1))).max() < 0.1
        assert abs(values.std(axis=(0, 1)) - 1).max() < 0.1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_linear_model_learns_next_to_nothing_from_whole_windows(
    machines: Recordings, targets: Targets
) -> None:
    windows = gather(standardize(machines), targets.ends, targets.longest)
    assert judge(targets, windows.reshape(len(windows), -1)) < 0.3
    statistics = [windows.mean(1), windows.std(1), windows.min(1), windows.max(1)]
    assert judge(targets, np.concatenate(statistics, axis=1)) < 0.3


def test_products_over_long_windows_tell_the_faults_and_over_short_ones_hardly(
    machines: Recordings, targets: Targets
) -> None:
    rows = standardize(machines)
    scores = {
        length: judge(targets, multiply(gather(rows, targets.ends, length))) for length in (16, 100)
    }
    assert scores[100] > 0.65
    assert scores[16] < scores[100] - 0.2
