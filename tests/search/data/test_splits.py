from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from recordings import make_clips, make_streams, place

from search.config import SplitConfig, TaskConfig
from search.data.recordings import Recordings
from search.data.sequences import SIDES, Array, Side
from search.data.splits import redraw_validation, split_targets
from search.data.usable_sides import check_sides, keep_normal
from search.errors import ConfigError, DataError


def make_recordings(count: int = 40, **fields: Any) -> Recordings:
    """Clips of one row each, with two classes and groups of four."""
    rows = np.random.default_rng(0).standard_normal((count, 1, 2))
    labels = np.random.default_rng(1).integers(0, 2, count)
    return make_clips(rows, **({"labels": labels} | fields))


def split_sides(recordings: Recordings, config: SplitConfig, seed: int) -> dict[Side, Array]:
    targets = place(recordings)
    sides = split_targets(recordings, targets, config, seed)
    check_sides(recordings, targets, sides, TaskConfig())
    return sides


def mark_tests(flags: Array) -> Array:
    return np.where(flags, SIDES.index("test"), -1).astype(np.int8)


METHODS = ("groups", "blocks", "stratified")


def configure(method: Any, **settings: Any) -> SplitConfig:
    return SplitConfig(method=method, **settings, **({"blocks": 2} if method == "blocks" else {}))


@pytest.mark.parametrize("method", METHODS)
def test_no_target_stands_on_two_sides_and_each_side_gets_its_share(method: Any) -> None:
    recordings = make_recordings(400)
    sides = split_sides(recordings, configure(method), seed=3)
    together = np.concatenate([sides[side] for side in SIDES])
    assert len(np.unique(together)) == len(together)
    assert len(sides["test"]) == pytest.approx(80, abs=8)
    assert len(sides["validation"]) == pytest.approx(64, abs=8)
    assert len(sides["train"]) == pytest.approx(256, abs=12)


@pytest.mark.parametrize("method", METHODS)
def test_an_official_test_set_stays_whole(method: Any) -> None:
    official = np.arange(40) >= 30
    groups = np.where(official, -1, np.arange(40) // 3)
    recordings = make_recordings(sides=mark_tests(official), groups=groups)
    sides = split_sides(recordings, configure(method, test=0.5), seed=0)
    assert sides["test"].tolist() == list(range(30, 40))
    assert len(sides["validation"]) == pytest.approx(6, abs=1)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_sides(method: Any) -> None:
    once, again = (split_sides(make_recordings(), configure(method), seed=7) for _ in range(2))
    assert all(once[side].tolist() == again[side].tolist() for side in SIDES)


@pytest.mark.parametrize("method", ["groups", "stratified"])
def test_another_seed_gives_other_sides(method: Any) -> None:
    one, other = (
        split_sides(make_recordings(), SplitConfig(method=method), seed=seed) for seed in (0, 1)
    )
    assert one["test"].tolist() != other["test"].tolist()


@pytest.mark.parametrize("method", ["groups", "stratified"])
def test_another_validation_side_is_drawn_from_all_but_the_test_side(method: Any) -> None:
    recordings, config = make_recordings(200), SplitConfig(method=method)
    targets = place(recordings)
    own = split_sides(recordings, config, seed=0)
    drawn = [redraw_validation(recordings, targets, own, config, seed) for seed in (5, 5, 6)]
    same, again, other = drawn
    assert all(same[side].tolist() == again[side].tolist() for side in SIDES)
    assert same["validation"].tolist() != other["validation"].tolist()
    assert same["validation"].tolist() != own["validation"].tolist()
    for sides in drawn:
        check_sides(recordings, targets, sides, TaskConfig())
        assert sides["test"].tolist() == own["test"].tolist()
        together = np.concatenate([sides[side] for side in SIDES])
        assert sorted(together.tolist()) == list(range(200))
        assert len(sides["validation"]) == pytest.approx(len(own["validation"]), abs=4)
    if method == "groups":
        assert recordings.groups is not None
        held = [set(recordings.groups[same[side]].tolist()) for side in SIDES]
        assert sum(map(len, held)) == len(set.union(*held))


def test_few_groups_are_dealt_anew_too() -> None:
    recordings = make_recordings(80)
    recordings = replace(recordings, groups=np.repeat(np.arange(8), 10))
    targets, config = place(recordings), SplitConfig(method="groups")
    own = split_sides(recordings, config, seed=0)
    sides = {
        tuple(redraw_validation(recordings, targets, own, config, seed)["validation"].tolist())
        for seed in range(20)
    }
    assert len(sides) >= 4  # of six groups, one or two are held out


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_validation_moves_within_each_stretch_and_keeps_its_gaps(gap: int) -> None:
    recordings = make_recordings(200)
    targets, config = place(recordings), SplitConfig(method="blocks", blocks=2, gap=gap)
    own = split_sides(recordings, config, seed=0)
    starts = set()
    for seed in range(20):
        drawn = redraw_validation(recordings, targets, own, config, seed)
        assert drawn["test"].tolist() == own["test"].tolist()
        first, second = np.split(drawn["validation"], 2)
        pool = np.union1d(own["train"], own["validation"])
        for stretch in (first, second):  # neighbours, but for the test side and its gaps
            begin = int(np.searchsorted(pool, stretch[0]))
            assert stretch.tolist() == pool[begin : begin + len(own["validation"]) // 2].tolist()
            starts.add(begin)
        held = np.concatenate([drawn["validation"], drawn["test"]])
        apart = np.abs(drawn["train"][:, None] - held).min(axis=1)
        assert apart.min() == gap + 1
        assert first[-1] < 100 <= second[0]
    assert len(starts) > 20


def test_sides_that_a_source_names_stay() -> None:
    named = np.array([0, 0, 1, 2] * 10, dtype=np.int8)
    recordings = make_recordings(sides=named)
    own = split_sides(recordings, SplitConfig(method="stratified"), seed=0)
    drawn = redraw_validation(
        recordings, place(recordings), own, SplitConfig(method="stratified"), seed=5
    )
    assert all(drawn[side].tolist() == own[side].tolist() for side in SIDES)


def test_a_group_is_never_divided() -> None:
    recordings = make_recordings(200)
    sides = split_sides(recordings, SplitConfig(method="groups"), seed=0)
    assert recordings.groups is not None
    held = [set(recordings.groups[sides[side]].tolist()) for side in SIDES]
    assert sum(len(groups) for groups in held) == len(set.union(*held)) == 50


def test_groups_are_chosen_so_that_classes_are_even() -> None:
    # Half of the groups are of one class: by chance alone a side is often lopsided.
    labels = np.repeat(np.arange(20) % 2, 10)
    recordings = make_recordings(200, labels=labels, groups=np.repeat(np.arange(20), 10))
    for seed in range(10):
        sides = split_sides(recordings, SplitConfig(method="groups"), seed)
        assert np.bincount(labels[sides["test"]]).tolist() == [20, 20]


def test_stratified_sides_show_every_class_in_its_share() -> None:
    labels = np.array([0] * 100 + [1] * 20)
    sides = split_sides(
        make_recordings(120, labels=labels), SplitConfig(method="stratified"), seed=0
    )
    assert np.bincount(labels[sides["test"]]).tolist() == [20, 4]
    assert np.bincount(labels[sides["validation"]]).tolist() == [16, 3]


def test_blocks_are_stretches_with_a_gap_at_every_border() -> None:
    config = SplitConfig(method="blocks", blocks=2, gap=1, validation=0.25, test=0.2)
    sides = split_sides(make_recordings(40), config, seed=0)
    # Each stretch of 20: train 0-9, gap 10, test 11-14, gap 15, validation 16-19, gap 20.
    assert sides["train"].tolist() == [*range(10), *range(21, 30)]
    assert sides["test"].tolist() == [*range(11, 15), *range(31, 35)]
    assert sides["validation"].tolist() == [*range(16, 20), *range(36, 40)]


def test_a_class_may_be_missing_from_validation() -> None:
    labels = np.array([2, *(np.arange(39) % 2)])
    recordings = make_recordings(labels=labels, classes=("even", "odd", "rare"))
    sides = split_sides(recordings, SplitConfig(method="blocks", blocks=2), seed=0)
    assert 2 not in labels[sides["validation"]]


BAD_SPLITS = {
    "no groups": (
        {"groups": None},
        {"method": "groups"},
        ConfigError,
        r"data\.groups .* must be given for split\.method='groups'.*split\.method='blocks'",
    ),
    "two groups": (
        {"groups": np.arange(40) // 20},
        {"method": "groups"},
        DataError,
        r"must find 3 groups or more.*2 groups",
    ),
    "one group beside an official test set": (
        {"groups": np.zeros(40, dtype=int), "sides": mark_tests(np.arange(40) > 30)},
        {"method": "groups"},
        DataError,
        r"must find 2 groups or more.*1 groups",
    ),
    "an empty validation side": (
        {},
        {"method": "blocks", "blocks": 1, "validation": 0.01},
        DataError,
        r"validation side must not be empty.*0 validation.*change split\.validation",
    ),
    "a gap that leaves nothing": (
        {},
        {"method": "blocks", "gap": 30},
        DataError,
        r"train side must not be empty.*smaller split\.gap",
    ),
    "a class that training lacks": (
        {"labels": np.arange(40) // 36 + np.arange(40) % 2, "classes": ("a", "b", "c")},
        {"method": "blocks", "blocks": 1},
        DataError,
        r"validation side has classes that no training target shows.*Received: c\.",
    ),
    "one class on a side": (
        {"labels": (np.arange(40) < 20).astype(int)},
        {"method": "blocks", "blocks": 1},
        DataError,
        r"validation side must show two classes or more.*only even",
    ),
}


@pytest.mark.parametrize(
    ("fields", "settings", "error", "message"), BAD_SPLITS.values(), ids=BAD_SPLITS
)
def test_sides_that_cannot_be_used_are_refused(
    fields: dict[str, Any], settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        split_sides(make_recordings(**fields), SplitConfig(**settings), seed=0)


def test_by_time_the_earlier_side_gives_way_by_the_longest_sequence_and_the_horizon() -> None:
    recordings = make_streams(100, 60)
    targets = place(recordings, high=6, kind="forecasting", horizon=3)
    config = SplitConfig(method="time", validation_from=40, test_from=50)
    sides = split_targets(recordings, targets, config, seed=0)
    for recording, stop in enumerate((100, 60)):
        start = recordings.starts[recording]
        ends = {
            side: targets.ends[sides[side]][targets.recordings[sides[side]] == recording] - start
            for side in SIDES
        }
        # The first test window shows rows 44-49 and predicts 50-52; all test rows are predicted.
        assert ends["test"].tolist() == list(range(49, stop - 3))
        # Validation predicts rows 40-43 alone: row 44 is shown to the test side.
        assert ends["validation"].tolist() == [39, 40]
        # The first validation window shows rows 34-39.
        assert ends["train"].tolist() == list(range(5, 31))


def test_by_time_shares_are_of_each_recording() -> None:
    recordings = make_streams(1000, 500)
    targets = place(recordings, high=1, kind="regression")
    sides = split_targets(recordings, targets, SplitConfig(method="time"), seed=0)
    assert [len(sides[side]) for side in SIDES] == [960, 240, 300]
    assert targets.ends[sides["test"]].tolist() == [*range(800, 1000), *range(1400, 1500)]


@pytest.mark.parametrize("borders", [{}, {"validation_from": 384, "test_from": 480}])
def test_by_time_the_pieces_of_a_recording_are_split_as_one(borders: dict[str, Any]) -> None:
    recordings = make_streams(100, 250, 250, 300, firsts=np.array([0, 3]))
    targets = place(recordings, high=1, kind="regression")
    config = SplitConfig(method="time", until=600, **borders)
    sides = split_targets(recordings, targets, config, seed=0)
    second = [[*range(600, 792)], [*range(792, 840)], [*range(840, 900)]]
    if borders:  # its rows end before validation begins
        second = [[*range(600, 900)], [], []]
    first = [range(384), range(384, 480), range(480, 600)]
    for side, one, other in zip(SIDES, first, second, strict=True):
        assert targets.ends[sides[side]].tolist() == [*one, *other]


def test_by_time_shares_are_of_what_an_official_test_part_leaves() -> None:
    recordings = make_streams(1000, sides=mark_tests(np.arange(1000) >= 800))
    targets = place(recordings, high=1, kind="regression")
    sides = split_targets(recordings, targets, SplitConfig(method="time"), seed=0)
    assert [len(sides[side]) for side in SIDES] == [640, 160, 200]


def test_by_time_borders_need_not_fit_recordings_that_are_test_as_a_whole() -> None:
    tests = mark_tests(np.arange(250) >= 100)
    recordings = make_streams(100, 50, 100, sides=tests)
    targets = place(recordings, high=1, kind="regression")
    config = SplitConfig(method="time", validation_from=60)
    sides = split_targets(recordings, targets, config, seed=0)
    assert targets.ends[sides["validation"]].tolist() == list(range(60, 100))
    assert targets.ends[sides["test"]].tolist() == list(range(100, 250))
    beside = SplitConfig(method="time", validation_from=100)
    with pytest.raises(DataError, match=r"must lie in a recording.*have up to 100 rows"):
        split_targets(
            make_streams(100, 200, sides=mark_tests(np.arange(300) >= 100)),
            place(make_streams(100, 200), high=1, kind="regression"),
            beside,
            seed=0,
        )


def test_by_time_training_rows_after_official_test_rows_are_refused() -> None:
    recordings = make_streams(100, 100, sides=mark_tests(np.arange(200) // 20 == 7))
    targets = place(recordings, high=1, kind="regression")
    with pytest.raises(DataError, match=r"40 training targets after them, the first in 'engine 1'"):
        split_targets(recordings, targets, SplitConfig(method="time"), seed=0)


@pytest.mark.parametrize(
    ("places", "border"),
    [([-1, 2], "test_from"), ([-1, 2], "until"), ([0, 1, 2], "validation_from")],
)
def test_borders_of_official_sides_are_refused(places: list[int], border: str) -> None:
    official = np.repeat(np.array(places, np.int8), 120 // len(places))
    recordings = make_streams(120, sides=official)
    targets = place(recordings, high=1, kind="regression")
    config = SplitConfig.model_validate({"method": "time", border: 30})
    with pytest.raises(ConfigError, match=rf"split\.{border} must be left out where the source"):
        split_targets(recordings, targets, config, seed=0)


def test_clips_are_not_split_by_time() -> None:
    recordings = make_recordings()
    with pytest.raises(ConfigError, match=r"split\.method must be another than 'time' for clips"):
        split_targets(recordings, place(recordings), SplitConfig(method="time"), seed=0)


def test_borders_may_be_time_stamps() -> None:
    stamps = np.datetime64("2013-01-01", "ns") + np.arange(100) * np.timedelta64(1, "D")
    recordings = make_streams(100, stamps=stamps)
    targets = place(recordings, high=1, kind="regression")
    borders = {"validation_from": "2013-02-01", "test_from": "2013-03-01", "until": "2013-03-11"}
    sides = split_targets(recordings, targets, SplitConfig(method="time", **borders), seed=0)
    assert targets.ends[sides["train"]].tolist() == list(range(31))
    assert targets.ends[sides["validation"]].tolist() == list(range(31, 59))
    assert targets.ends[sides["test"]].tolist() == list(range(59, 69))


def test_a_border_that_may_be_a_year_or_a_row_is_refused() -> None:
    stamps = np.datetime64("2010-01-01", "ns") + np.arange(3000) * np.timedelta64(1, "D")
    recordings = make_streams(3000, stamps=stamps)
    targets = place(recordings, high=1, kind="regression")
    with pytest.raises(ConfigError, match=r"a year or a row.*'2013'.*Write '2013-01-01'"):
        split_targets(
            recordings, targets, SplitConfig(method="time", validation_from="2013"), seed=0
        )
    rows = SplitConfig(method="time", validation_from=2013, test_from=2500)
    sides = split_targets(recordings, targets, rows, seed=0)
    assert targets.ends[sides["validation"]][0] == 2013


def test_what_the_source_calls_validation_and_test_is_kept() -> None:
    official = np.repeat(np.array([0, 1, 2, 1], np.int8), [50, 20, 20, 10])
    recordings = make_streams(100, sides=official)
    targets = place(recordings, high=5, kind="forecasting", horizon=3)
    sides = split_targets(recordings, targets, SplitConfig(method="time"), seed=0)
    # A target whose rows to predict lie on two sides has none.
    assert targets.ends[sides["train"]].tolist() == list(range(4, 47))
    assert targets.ends[sides["validation"]].tolist() == [*range(49, 67), *range(89, 97)]
    assert targets.ends[sides["test"]].tolist() == list(range(69, 87))


def test_training_windows_show_no_flagged_row() -> None:
    flags = np.zeros(100, np.int64)
    flags[30] = 1
    recordings = make_streams(
        100, truths=flags, classes=("normal", "anomalous"), variables=(), target_channels=()
    )
    targets = place(recordings, high=5, kind="anomaly")
    sides = split_targets(recordings, targets, SplitConfig(method="time"), seed=0)
    kept = keep_normal(recordings, targets, sides)
    lost = np.setdiff1d(targets.ends[sides["train"]], targets.ends[kept["train"]])
    assert lost.tolist() == [30, 31, 32, 33, 34]


def test_an_anomaly_study_without_normal_data_is_refused() -> None:
    flags = np.ones(100, np.int64)
    recordings = make_streams(
        100, truths=flags, classes=("normal", "anomalous"), variables=(), target_channels=()
    )
    targets = place(recordings, high=5, kind="anomaly")
    sides = split_targets(recordings, targets, SplitConfig(method="time"), seed=0)
    with pytest.raises(DataError, match=r"must have normal data to learn from.*data\.targets"):
        keep_normal(recordings, targets, sides)
    with pytest.raises(DataError, match="validation side of an anomaly study must have normal"):
        check_sides(recordings, targets, sides, TaskConfig(kind="anomaly"))


BAD_BORDERS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "beside the data": ({"test_from": 100}, DataError, r"split\.test_from must lie in a recording"),
    "out of order": (
        {"validation_from": 60, "test_from": 50},
        DataError,
        r"validation_from must come before split\.test_from",
    ),
    "a stamp where there are none": (
        {"test_from": "2013-01-01"},
        ConfigError,
        r"split\.test_from must be a row number, since the data have no time stamps",
    ),
}


@pytest.mark.parametrize(("borders", "error", "message"), BAD_BORDERS.values(), ids=BAD_BORDERS)
def test_borders_that_cut_nothing_are_refused(
    borders: dict[str, Any], error: type[Exception], message: str
) -> None:
    recordings = make_streams(100)
    targets = place(recordings, high=1, kind="regression")
    with pytest.raises(error, match=message):
        split_targets(recordings, targets, SplitConfig(method="time", **borders), seed=0)


@pytest.mark.parametrize("border", ["next spring", "", "NaT"])
def test_a_border_that_is_no_time_is_refused(border: str) -> None:
    stamps = np.datetime64("2013-01-01", "ns") + np.arange(100) * np.timedelta64(1, "D")
    recordings = make_streams(100, stamps=stamps)
    targets = place(recordings, high=1, kind="regression")
    config = SplitConfig(method="time", test_from=border)
    with pytest.raises(ConfigError, match=r"split\.test_from must be a row number or a time stamp"):
        split_targets(recordings, targets, config, seed=0)
