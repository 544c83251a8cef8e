from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import make_clips, make_streams, place

from search.config import ArraysData, MachineData, SplitConfig, TaskConfig
from search.data.arrays import load_arrays
from search.data.audit import audit_scaling, audit_sides
from search.data.machine import load_machine
from search.data.recordings import Recordings, Targets
from search.data.scaling import fit_scaling
from search.data.sequences import SIDES, Array, Side
from search.data.splits import Sides, split_targets
from search.errors import DataError

HAR = Path(__file__).parents[3].parent / "shared/data/uci_har_subset/uci_har_subset.npz"
STEPS = 32


def draw_clips(count: int = 60, channels: int = 3) -> Array:
    return np.random.default_rng(1).standard_normal((count, STEPS, channels))


def cut_overlapping(stride: int, count: int = 60) -> Array:
    """Clips copied from one recording, a stride apart."""
    stream = np.random.default_rng(2).standard_normal((stride * count + STEPS, 3))
    return np.stack([stream[i * stride : i * stride + STEPS] for i in range(count)])


def split(recordings: Recordings, **settings: Any) -> tuple[Sides, SplitConfig]:
    config = SplitConfig(**settings)
    return split_targets(recordings, place(recordings), config, seed=0), config


def audit(
    recordings: Recordings, sides: Sides, method: Any, targets: Targets | None = None
) -> tuple[dict[Side, Array], str]:
    return audit_sides(recordings, targets or place(recordings), sides, method)


def held_values(recordings: Recordings, chosen: Array) -> set[bytes]:
    """Every row that the targets' windows show, by content: the audit's claim in slow words."""
    targets = place(recordings)
    return {
        recordings.rows[row].tobytes()
        for end in targets.ends[chosen]
        for row in range(end + 1 - targets.longest, end + 1)
    }


def assert_apart(recordings: Recordings, sides: Sides) -> None:
    held = [held_values(recordings, sides[side]) for side in SIDES]
    assert sum(len(rows) for rows in held) == len(set.union(*held))


def test_separate_clips_pass_whole() -> None:
    recordings = make_clips(draw_clips(), groups=None)
    sides, config = split(recordings, method="stratified")
    kept, sentence = audit(recordings, sides, config.method)
    assert all(kept[side].tolist() == sides[side].tolist() for side in SIDES)
    assert "no row stands on two sides." in sentence
    assert f"{len(sides['train']) * STEPS:,} train" in sentence


@pytest.mark.parametrize("stride", [STEPS // 2, STEPS // 4, 1])
def test_single_targets_among_copied_overlapping_clips_are_refused(stride: int) -> None:
    recordings = make_clips(cut_overlapping(stride))
    sides, config = split(recordings, method="stratified")
    with pytest.raises(DataError, match=r"targets share rows with .* Write split\.method='blocks'"):
        audit(recordings, sides, config.method)


def test_single_windows_over_one_recording_are_refused_by_row_number() -> None:
    recordings = load_machine(MachineData(machines=6, rows=600, stride=3), TaskConfig())
    sides, config = split(recordings, method="stratified")
    with pytest.raises(DataError, match="single targets cannot be kept apart"):
        audit(recordings, sides, config.method)


def test_one_row_shared_by_number_is_a_leak() -> None:
    # Windows of 32 rows that end 31 rows apart share a single row: too short a run for content.
    recordings = make_streams(31 * 60 + 1, stride=31, groups=None)
    targets = place(recordings, high=32, kind="regression")
    assert np.diff(targets.ends).tolist() == [31] * 59
    sides = split_targets(recordings, targets, SplitConfig(method="stratified"), seed=0)
    with pytest.raises(DataError, match="No raw row may stand on two sides"):
        audit(recordings, sides, "stratified", targets)


def test_rows_to_predict_are_a_targets_own() -> None:
    recordings = make_streams(400, groups=None)
    targets = place(recordings, high=8, kind="forecasting", horizon=4)
    parts: dict[Side, Array] = {
        "train": np.arange(100),
        "validation": np.arange(110, 200),
        "test": np.arange(250, 300),
    }
    # Target 99 predicts rows up to 110; the windows of target 110 begin at row 110.
    kept, _ = audit(recordings, parts, "blocks", targets)
    assert parts["train"][~np.isin(parts["train"], kept["train"])].tolist() == [99]


def test_an_engine_on_two_sides_is_refused_by_name() -> None:
    recordings = make_streams(100, 100, 100, 100)
    targets = place(recordings, high=4, kind="regression")
    which = targets.recordings
    sides: dict[Side, Array] = {
        "train": np.flatnonzero(which <= 1),
        "validation": np.flatnonzero(which == 2),
        "test": np.flatnonzero(which == 3),
    }
    kept, _ = audit(recordings, sides, "groups", targets)
    assert len(kept["train"]) == len(sides["train"])
    first = np.flatnonzero(which == 1)[:40]
    leaky = {
        **sides,
        "train": np.setdiff1d(sides["train"], first),
        "test": np.union1d(first, sides["test"]),
    }
    with pytest.raises(DataError, match=r"No group may stand on two sides.*'engine 1'"):
        audit(recordings, leaky, "groups", targets)


def test_a_source_video_on_two_sides_is_refused() -> None:
    # Two clips were cut from each video, so that no frame is the same: the group tells.
    frames = np.random.default_rng(0).integers(0, 256, (60, 8, 6, 6, 1)).astype(np.uint8)
    recordings = make_clips(frames, groups=np.arange(60) // 2)
    sides, _ = split(recordings, method="stratified")
    with pytest.raises(DataError, match=r"No group may stand on two sides.*split\.method='groups'"):
        audit(recordings, sides, "stratified")
    sides, _ = split(recordings, method="groups")
    audit(recordings, sides, "groups")


@pytest.mark.parametrize("apart", [False, True])
def test_a_scaler_that_saw_all_rows_is_refused(apart: bool) -> None:
    recordings = make_streams(300, 300, scaled_apart=apart)
    recordings.rows[200:300] += 3
    targets = place(recordings, high=8, kind="regression")
    sides = split_targets(recordings, targets, SplitConfig(method="time"), seed=0)
    fair = fit_scaling(recordings, targets, sides["train"], frames=False)
    audit_scaling(recordings, targets, sides["train"], fair)
    everything = np.arange(len(targets.ends))
    leaky = fit_scaling(recordings, targets, everything, frames=False)
    with pytest.raises(DataError, match="The scaler must be fitted on training rows alone"):
        audit_scaling(recordings, targets, sides["train"], leaky)


@pytest.mark.parametrize("stride", [STEPS // 2, STEPS // 4])
def test_blocks_without_a_gap_lose_the_targets_at_the_borders(stride: int) -> None:
    recordings = make_clips(cut_overlapping(stride, count=200))
    sides, config = split(recordings, method="blocks", gap=0, blocks=2)
    kept, sentence = audit(recordings, sides, config.method)
    assert_apart(recordings, kept)
    # Training borders on test in each of 2 stretches, and once on validation between them.
    lost = (STEPS // stride - 1) * 3
    assert f"once {lost} train and " in sentence
    assert len(sides["train"]) - len(kept["train"]) == lost
    assert kept["test"].tolist() == sides["test"].tolist()


def test_blocks_with_a_gap_as_wide_as_the_overlap_lose_nothing() -> None:
    recordings = make_clips(cut_overlapping(STEPS // 4, count=200))
    sides, config = split(recordings, method="blocks", gap=3)
    kept, sentence = audit(recordings, sides, config.method)
    assert_apart(recordings, kept)
    assert sentence.endswith("no row stands on two sides.")


def test_a_clip_copied_into_another_group_is_dropped_from_training() -> None:
    clips = draw_clips()
    sides, config = split(make_clips(clips), method="groups")
    thief = sides["train"][5]
    clips[thief] = clips[sides["test"][0]]
    kept, sentence = audit(make_clips(clips), sides, config.method)
    assert sorted(set(sides["train"]) - set(kept["train"])) == [thief]
    assert "once 1 train targets that shared rows were dropped" in sentence


def test_a_piece_copied_to_another_place_in_a_clip_is_found() -> None:
    clips = draw_clips()
    sides, config = split(make_clips(clips), method="groups")
    clips[sides["validation"][0], 3:17] = clips[sides["test"][0], 15:29]
    kept, sentence = audit(make_clips(clips), sides, config.method)
    assert sides["validation"][0] not in kept["validation"]
    assert "once 1 validation targets" in sentence


def test_a_copied_piece_of_a_video_is_found() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (60, 16, 6, 6, 1))
    sides, _ = split(make_clips(clips), method="stratified")
    clips[sides["train"][0], 1:9] = clips[sides["validation"][0], 8:16]
    with pytest.raises(DataError, match="1 of 38 train targets share rows"):
        audit(make_clips(clips), sides, "stratified")


def test_a_whole_clip_of_four_steps_copied_is_found() -> None:
    clips = draw_clips(200)[:, :4]
    sides, _ = split(make_clips(clips), method="stratified")
    clips[sides["train"][0]] = clips[sides["validation"][0]]
    with pytest.raises(DataError, match=f"1 of {len(sides['train'])} train targets share rows"):
        audit(make_clips(clips), sides, "stratified")


def test_copies_of_most_of_a_side_refuse_the_study_even_by_group() -> None:
    clips = draw_clips()
    sides, config = split(make_clips(clips), method="groups")
    clips[sides["train"]] = clips[sides["test"][0]]
    with pytest.raises(DataError, match="dropping them would leave too few"):
        audit(make_clips(clips), sides, config.method)


def quantised(rng: np.random.Generator, count: int) -> Array:
    """Three slow sensors, read in tenths: many rows are equal by chance."""
    walks = np.cumsum(rng.standard_normal((count, STEPS, 3)), axis=1)
    return np.clip(np.round(walks * 2), -10, 10) / 10


def idle(rng: np.random.Generator, count: int) -> Array:
    """Zeros before a start at random, as clips of unequal length are often padded."""
    clips = rng.standard_normal((count, STEPS, 3))
    return np.where(np.arange(STEPS)[:, None] < rng.integers(0, 25, (count, 1, 1)), 0, clips)


def switches(rng: np.random.Generator, count: int) -> Array:
    """Two valves that are open or shut for many steps, and one constant channel."""
    states = np.cumsum(rng.random((count, STEPS, 3)) < 0.1, axis=1) % 2
    states[..., 2] = 1
    return states


def counters(rng: np.random.Generator, count: int) -> Array:
    """A step counter in every clip, beside a coarse reading."""
    clips = np.round(rng.standard_normal((count, STEPS, 2)))
    clips[..., 0] = np.arange(STEPS) / 10
    return clips


def waves(rng: np.random.Generator, count: int) -> Array:
    """One noisy oscillation read in 9 levels, of random phase: changes come in a known order."""
    phases = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    swings = np.sin(0.4 * np.arange(STEPS)[:, None] + phases)
    return np.round(4 * swings + 0.7 * rng.standard_normal((count, STEPS, 1))) / 10


@pytest.mark.parametrize("draw", [quantised, idle, switches, counters, waves])
def test_rows_that_are_equal_by_chance_are_no_leak(draw: Any) -> None:
    recordings = make_clips(draw(np.random.default_rng(4), 300), groups=None)
    assert len(np.unique(recordings.rows, axis=0)) < len(recordings.rows)
    sides, config = split(recordings, method="stratified")
    kept, _ = audit(recordings, sides, config.method)
    assert all(len(kept[side]) == len(sides[side]) for side in SIDES)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_copies_of_short_clips_are_found_where_rows_are_rich(steps: int) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (60, steps, 6, 6, 1))
    copied = make_clips(np.concatenate([clips, clips]), groups=None)
    sides, config = split(copied, method="stratified")
    with pytest.raises(DataError, match="No raw row may stand on two sides"):
        audit(copied, sides, config.method)
    apart = make_clips(clips, groups=None)
    sides, config = split(apart, method="stratified")
    assert "by content one by one: no row" in audit(apart, sides, config.method)[1]


@pytest.mark.parametrize(("frames", "shared"), [(5, 4), (8, 4), (16, 1)])
def test_clips_that_share_a_few_frames_are_found(frames: int, shared: int) -> None:
    film = np.random.default_rng(0).integers(0, 256, (2000, 6, 6, 1))
    starts = np.arange(60) * (frames - shared)
    recordings = make_clips(np.stack([film[at : at + frames] for at in starts]), groups=None)
    sides, config = split(recordings, method="stratified")
    with pytest.raises(DataError, match="single targets cannot be kept apart"):
        audit(recordings, sides, config.method)


def test_frames_that_a_recording_repeats_tell_nothing() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (60, 8, 6, 6, 1))
    clips[:, :2] = clips[0, 0]  # every clip begins with the same card, shown twice
    recordings = make_clips(clips, groups=None)
    sides, config = split(recordings, method="stratified")
    kept, _ = audit(recordings, sides, config.method)
    assert all(len(kept[side]) == len(sides[side]) for side in SIDES)


def test_one_wild_value_hides_no_copies() -> None:
    clips = cut_overlapping(STEPS // 2)[..., :1]
    clips[7, 3] = 1e9
    recordings = make_clips(clips, groups=None)
    sides, config = split(recordings, method="stratified")
    with pytest.raises(DataError, match="single targets cannot be kept apart"):
        audit(recordings, sides, config.method)


def test_short_windows_of_few_numbers_are_not_compared() -> None:
    readings = np.random.default_rng(0).integers(0, 20, (60, 2, 3))
    recordings = make_clips(readings, groups=None)
    sides, config = split(recordings, method="stratified")
    assert "not by content" in audit(recordings, sides, config.method)[1]


def test_the_sentence_owns_up_where_content_is_too_coarse_to_compare() -> None:
    recordings = make_clips(switches(np.random.default_rng(0), 300)[..., :1], groups=None)
    sides, config = split(recordings, method="stratified")
    assert (
        "not by content, since runs so short, or rows so coarse"
        in audit(recordings, sides, config.method)[1]
    )


@pytest.mark.skipif(not HAR.is_file(), reason=f"the UCI HAR subset is not at {HAR}")
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_real_windows_that_overlap_by_half_pass_with_a_gap_of_one() -> None:
    source = ArraysData(path=HAR, x="X_train", y="y_train", x_test="X_test", y_test="y_test")
    recordings = load_arrays(source, TaskConfig())
    sides, config = split(recordings, method="blocks", gap=1)
    kept, _ = audit(recordings, sides, config.method)
    assert all(len(kept[side]) == len(sides[side]) for side in SIDES)
    assert_apart(recordings, kept)
    sides, config = split(recordings, method="blocks", gap=0)
    kept, _ = audit(recordings, sides, config.method)
    assert len(kept["train"]) < len(sides["train"])
    sides, config = split(recordings, method="stratified")
    with pytest.raises(DataError, match="single targets cannot be kept apart"):
        audit(recordings, sides, config.method)
