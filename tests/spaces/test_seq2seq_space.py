import random

import keras
import numpy as np
import pytest
from keras import ops

from spaces import drawing
from spaces.seq2seq import Seq2Seq, layer_shapes

FRAME_SHAPES = ((1, 1, 1), (3, 3, 1), (28, 28, 1), (9, 40, 3), (17, 5, 2))


def moving_squares(clips, size=12, seed=0):
    """Squares that move over an empty canvas at an even pace, and bounce off its edges."""
    source = np.random.default_rng(seed)
    place, pace = source.integers(0, size - 2, (clips, 2)), source.integers(-1, 2, (clips, 2))
    sequences = np.zeros((clips, 6, size, size, 1), "float32")
    for step in range(6):
        for clip, (row, column) in enumerate(place):
            sequences[clip, step, row : row + 3, column : column + 3] = 1
        pace = np.where((place + pace < 0) | (place + pace > size - 3), -pace, pace)
        place = place + pace
    return sequences[:, :3], sequences[:, 3:]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_random_candidates_build_with_the_shapes_that_were_worked_out(
    build, draw_answers, shapes_of
):
    source = random.Random(3)
    space = build(Seq2Seq((2, 3, 3, 1), (2, 3, 3, 1)))[1].space

    for number in range(20):
        frame = FRAME_SHAPES[number % len(FRAME_SHAPES)]
        answers = draw_answers(space, source)
        model, _, _ = build(Seq2Seq((3, *frame), (2, *frame)), answers)
        built = [layer for layer in model.layers if layer.name != "reader"]
        shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in built}
        worked_out = layer_shapes((3, *frame), (2, *frame), answers)
        assert {name: shapes[name] for name, _ in worked_out} == dict(worked_out)


@pytest.mark.parametrize("skip", ["none", "gate", "move"])
@pytest.mark.parametrize("decoder", ["dense", "transposed"])
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_predicted_pixels_lie_between_0_and_1(skip, decoder, build):
    model, _, _ = build(Seq2Seq((2, 5, 4, 2), (3, 5, 4, 2)), {"skip": skip, "decoder": decoder})
    clips = np.random.default_rng(0).integers(0, 2, (4, 2, 5, 4, 2)).astype("float32")

    pixels = model(clips).numpy()

    assert pixels.shape == (4, 3, 5, 4, 2)
    assert pixels.min() >= 0
    assert pixels.max() <= 1 + 1e-6


def test_a_frame_moves_by_the_sum_of_its_steps_and_leaves_at_the_edge():
    frame, vectors = keras.Input((4, 5, 1)), keras.Input((3, 2))
    model = keras.Model([frame, vectors], drawing.move_frame(frame, vectors, 2, "move"))
    for axis, certain in (("down", 3), ("right", 4)):  # one pixel down, two to the right
        kernel, bias = model.get_layer(f"move_{axis}").get_weights()
        bias[certain] = 100
        model.get_layer(f"move_{axis}").set_weights([kernel * 0, bias])
    picture = np.zeros((1, 4, 5, 1), "float32")
    picture[0, 0, 0] = 1

    moved = model([picture, np.zeros((1, 3, 2))]).numpy()[0, ..., 0]

    assert [tuple(map(int, np.argwhere(step > 0.5)[0])) for step in moved[:2]] == [(1, 2), (2, 4)]
    assert moved[2] == pytest.approx(0)


def test_sources_are_mixed_pixel_by_pixel():
    black, white = ops.zeros((1, 2, 1, 2, 3)), ops.ones((1, 1, 1, 2, 3))
    weights = ops.convert_to_tensor([[[[[1.0, 0.0], [0.5, 0.5]]], [[[0.0, 1.0], [1.0, 0.0]]]]])

    mixed = ops.convert_to_numpy(drawing.mix([black, white], weights))

    assert mixed[0, :, 0, :, 0].tolist() == [[0, 0.5], [1, 0]]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_default_candidate_beats_copying_the_last_frame(build):
    inputs, targets = moving_squares(500)
    keras.utils.set_random_seed(0)
    model, hp, _ = build(Seq2Seq(inputs.shape[1:], targets.shape[1:], targets=400, epochs=8))

    model.fit(inputs[:400], targets[:400], epochs=8, batch_size=hp.values["batch_size"], verbose=0)

    copied = np.mean((inputs[400:, -1:] - targets[400:]) ** 2)
    assert model.evaluate(inputs[400:], targets[400:], verbose=0) < 0.6 * copied
