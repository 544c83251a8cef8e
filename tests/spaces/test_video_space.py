import random

import keras
import keras_tuner
import numpy as np
import pytest

from spaces import blocks, frames
from spaces.video import Video, layer_shapes

CLASSES = 4
CLIP_SHAPES = ((1, 1, 1, 1), (2, 3, 3, 1), (3, 9, 40, 3), (2, 33, 17, 2), (16, 12, 12, 1))


def test_merged_frames_equal_a_time_distributed_stack():
    made_of = blocks.ConvBlocks(
        filters=(4, 6),
        kernel_size=3,
        normalization="batch",
        activation="relu",
        pooling="max",
        pool_size=2,
        dropout=0.2,
    )
    inputs = keras.Input((3, 9, 8, 2))
    merged = blocks.stack_conv_blocks(frames.merge_frames(inputs), made_of)
    merged = keras.Model(inputs, frames.split_frames(merged, 3))
    source = np.random.default_rng(0)
    merged.set_weights([source.random(w.shape, "float32") for w in merged.get_weights()])
    tensor = inputs
    for layer in (layer for layer in merged.layers if layer.name.startswith("conv_")):
        tensor = keras.layers.TimeDistributed(layer)(tensor)
    distributed = keras.Model(inputs, tensor)

    clips = source.random((5, 3, 9, 8, 2), "float32")
    expected = distributed(clips).numpy()
    assert merged(clips).shape == (5, 3, 3, 2, 6)
    assert np.abs(merged(clips) - expected).max() < 1e-5 * np.abs(expected).max()


def test_differences_start_with_zero_and_hide_what_stands_still(build):
    model, _, _ = build(Video((3, 4, 4, 1), (CLASSES,)), {"motion": "differences"})
    shown = keras.Model(model.inputs[0], model.get_layer("differences").output)
    clips = np.random.default_rng(0).random((2, 3, 4, 4, 1), "float32")

    assert shown(clips).numpy()[:, 0] == pytest.approx(0)
    assert shown(clips).numpy()[:, 1:] == pytest.approx(np.diff(clips, axis=1))
    assert shown(clips + 7).numpy() == pytest.approx(shown(clips).numpy(), abs=1e-5)


def test_magnitudes_are_how_large_the_differences_are():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("motion", "magnitudes")
    inputs = keras.Input((3, 4, 4, 1))
    model = keras.Model(inputs, frames.show_motion(inputs, hp, default="frames"))
    clips = np.random.default_rng(0).random((2, 3, 4, 4, 1), "float32")
    shown = np.asarray(model(clips))
    assert shown[:, 0] == pytest.approx(0)
    assert shown[:, 1:] == pytest.approx(np.abs(np.diff(clips, axis=1)), abs=1e-6)


def test_whole_clips_are_mirrored_and_only_in_training():
    inputs = keras.Input((3, 4, 6, 2))
    model = keras.Model(inputs, frames.mirror_clips(inputs))
    clips = np.random.default_rng(0).random((40, 3, 4, 6, 2), "float32")
    assert np.array_equal(model(clips, training=False), clips)
    shown = np.asarray(model(clips, training=True))
    same = [np.array_equal(one, other) for one, other in zip(shown, clips, strict=True)]
    mirrored = [
        np.array_equal(one, other[:, :, ::-1]) for one, other in zip(shown, clips, strict=True)
    ]
    assert all(one != other for one, other in zip(same, mirrored, strict=True))
    assert 5 < sum(same) < 35


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_mirroring_space_builds_the_model_that_the_others_are(build):
    plain, _, _ = build(Video((3, 9, 8, 1), (CLASSES,)), {})
    mirroring, _, _ = build(Video((3, 9, 8, 1), (CLASSES,), mirror=True), {})
    assert "mirror" in [layer.name for layer in mirroring.layers]
    mirroring.set_weights(plain.get_weights())
    clips = np.random.default_rng(0).random((5, 3, 9, 8, 1), "float32")
    assert np.asarray(mirroring(clips)) == pytest.approx(np.asarray(plain(clips)), abs=1e-6)


def test_what_a_clip_does_not_admit_is_said(build):
    _, _, clipped = build(Video((1, 9, 3, 1), (CLASSES,)), {"downscale": 4})

    assert clipped == [
        "motion='differences' became 'frames': one frame has nothing to differ from.",
        "downscale=4 became 1 in 1 block(s): an input of length 9 does not admit more.",
        "downscale=4 became 1 in 1 block(s): an input of length 3 does not admit more.",
        "pool_size=2 became 2, 1, 1 in 3 block(s): an input of length 3 does not admit more.",
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_random_candidates_build_with_the_shapes_that_were_worked_out(
    build, draw_answers, shapes_of
):
    source = random.Random(3)
    space = build(Video(CLIP_SHAPES[0], (CLASSES,)))[1].space

    for number in range(20):
        input_shape = CLIP_SHAPES[number % len(CLIP_SHAPES)]
        answers = draw_answers(space, source)
        model, _, _ = build(Video(input_shape, (CLASSES,)), answers)
        worked_out = layer_shapes(input_shape, CLASSES, answers)
        named = {name for name, _ in worked_out}
        assert [pair for pair in shapes_of(model) if pair[0] in named] == worked_out
        beside = "linear_classes" in [layer.name for layer in model.layers]
        assert beside == answers["linear_part"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_default_candidate_learns_which_way_a_spot_moves(build):
    source = np.random.default_rng(0)
    labels = source.integers(0, 2, 192)
    rows = source.integers(0, 12, 192)
    clips = np.zeros((192, 6, 12, 12, 1), "float32")
    for clip, label, row in zip(clips, labels, rows, strict=True):
        path = range(3, 9) if label else range(8, 2, -1)
        for frame, column in zip(clip, path, strict=True):
            frame[row, column] = 1
    keras.utils.set_random_seed(0)
    model, _, _ = build(Video((6, 12, 12, 1), (2,)), {"frame_summary": "grid"})

    model.fit(clips[:128], labels[:128], epochs=12, batch_size=16, verbose=0)

    _, accuracy = model.evaluate(clips[128:], labels[128:], verbose=0)
    assert accuracy > 0.9
