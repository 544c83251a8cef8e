from typing import Any

import numpy as np
import pytest

from search.config import SplitConfig
from search.data.recordings import Recordings
from search.data.sequences import SIDES
from search.data.splits import split_targets
from search.errors import ConfigError, DataError


def make_recordings(count: int = 40, **fields: Any) -> Recordings:
    """Targets on one row each, with two classes and groups of four."""
    values: dict[str, Any] = {
        "description": "Rows for a test.",
        "rows": np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32),
        "ends": np.arange(count),
        "labels": np.random.default_rng(1).integers(0, 2, count),
        "groups": np.arange(count) // 4,
        "official_test": np.zeros(count, dtype=bool),
        "longest": 1,
        "channels": ("a", "b"),
        "classes": ("even", "odd"),
    }
    return Recordings(**(values | fields))


METHODS = ("groups", "blocks", "stratified")


@pytest.mark.parametrize("method", METHODS)
def test_no_target_stands_on_two_sides_and_each_side_gets_its_share(method: Any) -> None:
    recordings = make_recordings(400)
    sides = split_targets(recordings, SplitConfig(method=method, blocks=2), seed=3)
    together = np.concatenate([sides[side] for side in SIDES])
    assert len(np.unique(together)) == len(together)
    assert len(sides["test"]) == pytest.approx(80, abs=8)
    assert len(sides["validation"]) == pytest.approx(64, abs=8)
    assert len(sides["train"]) == pytest.approx(256, abs=12)


@pytest.mark.parametrize("method", METHODS)
def test_an_official_test_set_stays_whole(method: Any) -> None:
    official = np.arange(40) >= 30
    groups = np.where(official, -1, np.arange(40) // 3)
    recordings = make_recordings(official_test=official, groups=groups)
    sides = split_targets(recordings, SplitConfig(method=method, blocks=2, test=0.5), seed=0)
    assert sides["test"].tolist() == list(range(30, 40))
    assert len(sides["validation"]) == pytest.approx(6, abs=1)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_sides(method: Any) -> None:
    once, again = (
        split_targets(make_recordings(), SplitConfig(method=method, blocks=2), seed=7)
        for _ in range(2)
    )
    assert all(once[side].tolist() == again[side].tolist() for side in SIDES)


@pytest.mark.parametrize("method", ["groups", "stratified"])
def test_another_seed_gives_other_sides(method: Any) -> None:
    one, other = (
        split_targets(make_recordings(), SplitConfig(method=method), seed=seed) for seed in (0, 1)
    )
    assert one["test"].tolist() != other["test"].tolist()


def test_a_group_is_never_divided() -> None:
    recordings = make_recordings(200)
    sides = split_targets(recordings, SplitConfig(method="groups"), seed=0)
    assert recordings.groups is not None
    held = [set(recordings.groups[sides[side]].tolist()) for side in SIDES]
    assert sum(len(groups) for groups in held) == len(set.union(*held)) == 50


def test_groups_are_chosen_so_that_classes_are_even() -> None:
    # Half of the groups are of one class: by chance alone a side is often lopsided.
    labels = np.repeat(np.arange(20) % 2, 10)
    recordings = make_recordings(200, labels=labels, groups=np.repeat(np.arange(20), 10))
    for seed in range(10):
        sides = split_targets(recordings, SplitConfig(method="groups"), seed)
        assert np.bincount(labels[sides["test"]]).tolist() == [20, 20]


def test_stratified_sides_show_every_class_in_its_share() -> None:
    labels = np.array([0] * 100 + [1] * 20)
    sides = split_targets(
        make_recordings(120, labels=labels), SplitConfig(method="stratified"), seed=0
    )
    assert np.bincount(labels[sides["test"]]).tolist() == [20, 4]
    assert np.bincount(labels[sides["validation"]]).tolist() == [16, 3]


def test_blocks_are_stretches_with_a_gap_at_every_border() -> None:
    config = SplitConfig(method="blocks", blocks=2, gap=1, validation=0.25, test=0.2)
    sides = split_targets(make_recordings(40), config, seed=0)
    # Each stretch of 20: train 0-9, gap 10, test 11-14, gap 15, validation 16-19, gap 20.
    assert sides["train"].tolist() == [*range(10), *range(21, 30)]
    assert sides["test"].tolist() == [*range(11, 15), *range(31, 35)]
    assert sides["validation"].tolist() == [*range(16, 20), *range(36, 40)]


def test_a_class_may_be_missing_from_validation() -> None:
    labels = np.array([2, *(np.arange(39) % 2)])
    recordings = make_recordings(labels=labels, classes=("even", "odd", "rare"))
    sides = split_targets(recordings, SplitConfig(method="blocks", blocks=2), seed=0)
    assert 2 not in labels[sides["validation"]]


BAD_SPLITS = {
    "no groups": (
        {"groups": None},
        {"method": "groups"},
        ConfigError,
        r"data\.groups must be given for split\.method='groups'.*split\.method='blocks'",
    ),
    "two groups": (
        {"groups": np.arange(40) // 20},
        {"method": "groups"},
        DataError,
        r"must find 3 groups or more.*2 groups",
    ),
    "one group beside an official test set": (
        {"groups": np.zeros(40, dtype=int), "official_test": np.arange(40) > 30},
        {"method": "groups"},
        DataError,
        r"must find 2 groups or more.*1 groups",
    ),
    "an empty validation side": (
        {},
        {"method": "blocks", "blocks": 1, "validation": 0.01},
        DataError,
        r"validation side must not be empty.*0 validation.*Change split\.validation",
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
        split_targets(make_recordings(**fields), SplitConfig(**settings), seed=0)
