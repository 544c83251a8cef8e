import itertools
import random

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces import detectors
from spaces.sensor import Sensor, layer_shapes
from spaces.shapes import LEAST_STEPS, admit_pool_sizes

STEPS = (1, 2, 3, 5, 8, 17, 50, 128, 500, 5000)
CHANNELS = (1, 3, 9, 20, 64)
INPUT_SHAPES = tuple(itertools.product(STEPS, CHANNELS))
CLASSES = 6


@pytest.fixture(scope="module")
def build_classifier(build):
    return lambda input_shape, answers=None, classes=CLASSES: build(
        Sensor(input_shape, (classes,)), answers
    )


@pytest.fixture(scope="module")
def space(build_classifier):
    return build_classifier((128, 9))[1].space


def forecaster(steps, horizon=6, season=4, channels=(2, 0)):
    return Sensor((steps, 3), (horizon, 2), "forecasting", target_channels=channels, season=season)


def without_network(model):
    """Set the last layer to zero: what is left is what the forecast is relative to."""
    values = model.get_layer("values")
    values.set_weights([np.zeros_like(weights) for weights in values.get_weights()])
    return model


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_default_candidate_learns_an_order_that_no_average_shows(build_classifier):
    source = np.random.default_rng(0)
    rising = np.linspace(-1, 1, 24, dtype="float32")[:, None] * np.ones(3, "float32")
    labels = source.integers(0, 2, 256)
    noise = 0.3 * source.standard_normal((256, 24, 3)).astype("float32")
    windows = np.where(labels[:, None, None] == 1, rising, -rising) + noise
    keras.utils.set_random_seed(0)
    model, _, _ = build_classifier((24, 3), classes=2)

    model.fit(windows[:192], labels[:192], epochs=8, batch_size=32, verbose=0)

    _, accuracy = model.evaluate(windows[192:], labels[192:], verbose=0)
    assert accuracy > 0.95


@pytest.mark.parametrize("fixed", [True, False])
def test_a_study_can_fix_the_linear_part(fixed, build):
    model, hp, _ = build(Sensor((8, 2), (CLASSES,), linear_part=fixed))

    assert ("linear_classes" in {layer.name for layer in model.layers}) == fixed
    assert "linear_part" not in hp.values


def test_a_forecaster_has_a_linear_part_of_its_own():
    with pytest.raises(ValueError, match="linear_part must be left out for task='forecasting'"):
        Sensor((8, 2), (3, 2), "forecasting", target_channels=(0, 1), linear_part=True)


@pytest.mark.parametrize("input_shape", [(1, 1), (2, 3), (8, 1), (5000, 64)])
def test_the_default_candidate_builds_for_the_smallest_and_the_largest_inputs(
    input_shape, build_classifier, shapes_of
):
    model, hp, _ = build_classifier(input_shape)

    assert shapes_of(model) == layer_shapes(input_shape, CLASSES, hp.values)


def test_what_the_input_does_not_admit_is_said(build_classifier):
    _, _, clipped = build_classifier((8, 1), {"conv_blocks": 3, "pool_size": 4})

    assert len(clipped) == 1
    assert "pool_size=4 became 4, 1, 1" in clipped[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_answers_times_fifty_inputs_leave_no_impossible_shape(space, draw_answers):
    source = random.Random(2)

    for _ in range(10_000):
        answers = draw_answers(space, source)
        for input_shape in INPUT_SHAPES:
            layers = layer_shapes(input_shape, CLASSES, answers)
            assert min(map(min, (shape for _, shape in layers))) >= 1
            steps = min(shape[0] for _, shape in layers if len(shape) == 2)
            assert steps >= min(2, input_shape[0])
            assert layers[-1][1] == (CLASSES,)


def assert_worked_out(built, worked_out):
    """Compare the layers of a candidate, but for the linear part beside it."""
    named = {name for name, _ in worked_out}
    assert [pair for pair in built if pair[0] in named] == worked_out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_random_candidates_build_with_the_shapes_that_were_worked_out(
    space, build_classifier, draw_answers, shapes_of
):
    source = random.Random(3)

    for number in range(2 * len(INPUT_SHAPES)):
        input_shape = INPUT_SHAPES[number % len(INPUT_SHAPES)]
        answers = draw_answers(space, source)
        model, _, _ = build_classifier(input_shape, answers)
        assert_worked_out(shapes_of(model), layer_shapes(input_shape, CLASSES, answers))
        assert ("linear_classes" in {layer.name for layer in model.layers}) == answers[
            "linear_part"
        ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_any_answers_build_the_layers_that_were_worked_out(
    space, answers_to, build_classifier, shapes_of
):
    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(answers_to(space), st.integers(1, 300), st.integers(1, 8), st.integers(2, 9))
    def check(answers, steps, channels, classes):
        model, _, clipped = build_classifier((steps, channels), answers, classes)
        asked, blocks = answers["pool_size"], answers["conv_blocks"]
        admitted = admit_pool_sizes(steps, asked, blocks, LEAST_STEPS)
        assert_worked_out(shapes_of(model), layer_shapes((steps, channels), classes, answers))
        assert bool(clipped) == (admitted != (asked,) * blocks)

    check()


@pytest.mark.parametrize(
    ("predicts", "horizon", "rows"),
    [
        ("change_from_last", 3, [9, 9, 9]),
        ("change_from_season", 3, [6, 7, 8]),
        ("change_from_season", 6, [6, 7, 8, 9, 6, 7]),
    ],
)
def test_a_forecast_is_relative_to_the_past_of_its_variables(predicts, horizon, rows, build):
    model, _, clipped = build(forecaster(10, horizon), {"predicts": predicts})
    window = np.arange(30, dtype="float32").reshape(1, 10, 3)

    assert without_network(model)(window).numpy() == pytest.approx(window[:, rows][..., [2, 0]])
    assert clipped == []


@pytest.mark.parametrize(("centered", "expected"), [(True, [[15.5, 13.5]]), (False, [[0, 0]])])
def test_the_mean_that_centering_takes_off_the_window_is_added_to_the_values(
    centered, expected, build
):
    answers = {"predicts": "value", "center_windows": centered}
    model, _, _ = build(forecaster(10, horizon=1), answers)
    window = np.arange(30, dtype="float32").reshape(1, 10, 3)

    assert without_network(model)(window).numpy()[0] == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("season", "why"), [(None, "there is no season"), (12, "10 steps show no season of 12")]
)
def test_a_season_that_the_window_does_not_show_is_replaced_by_the_last_row(season, why, build):
    model, _, clipped = build(forecaster(10, season=season), {"predicts": "change_from_season"})
    window = np.arange(30, dtype="float32").reshape(1, 10, 3)

    assert clipped == [f"predicts='change_from_season' became 'change_from_last': {why}."]
    assert without_network(model)(window).numpy()[0, 5] == pytest.approx([29, 27])


@pytest.mark.parametrize(
    ("season", "seasonal", "predicts"),
    [
        (4, True, "change_from_season"),
        (4, False, "change_from_last"),
        (None, True, "change_from_last"),
    ],
)
def test_the_default_forecast_starts_from_the_past_that_is_nearer(
    season, seasonal, predicts, build
):
    known = {"target_channels": (2, 0), "season": season, "seasonal": seasonal}
    _, hp, _ = build(Sensor((10, 3), (6, 2), "forecasting", **known))

    assert hp.values["predicts"] == predicts


@pytest.mark.parametrize(
    ("metric", "loss"), [("mae", "mae"), ("mase", "mae"), ("rmse", "mse"), ("", "mse")]
)
def test_the_default_loss_fits_what_is_optimised(metric, loss, build):
    space = Sensor((10, 3), (6, 2), "forecasting", target_channels=(2, 0), metric=metric)
    model, hp, _ = build(space)

    assert model.loss == hp.values["loss"] == loss


def test_a_forecaster_that_does_not_see_the_past_of_its_variables_is_not_asked_about_it(build):
    _, hp, _ = build(forecaster(10, channels=()))

    assert not {"predicts", "center_windows", "linear_part"} & set(hp.values)


def test_the_linear_part_adds_a_map_of_each_variables_own_changes(build):
    model, _, _ = build(forecaster(10), {"predicts": "change_from_last", "linear_part": True})
    source = np.random.default_rng(0)
    window = source.standard_normal((2, 10, 3)).astype("float32")
    map_ = source.standard_normal((10, 6)).astype("float32")
    model = without_network(model)
    past, last = window[..., [2, 0]], window[:, -1:, [2, 0]]

    assert model(window).numpy() == pytest.approx(np.repeat(last, 6, axis=1), abs=1e-5)
    model.get_layer("linear").set_weights([map_])
    expected = last + np.einsum("bsv,sh->bhv", past - last, map_)
    assert model(window).numpy() == pytest.approx(expected, abs=1e-5)


def test_a_forecaster_can_do_without_its_linear_part(build):
    model, _, _ = build(forecaster(10), {"linear_part": False})

    assert "linear" not in {layer.name for layer in model.layers}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_default_forecaster_beats_a_repeated_season_where_the_level_drifts(build):
    source = np.random.default_rng(0)
    time = np.arange(1200)
    series = np.sin(time * np.pi / 6) * (1 + time / 600) + time / 100
    series = (series + 0.05 * source.standard_normal(1200)).astype("float32")[:, None]
    ends = np.arange(36, 1194)
    windows, targets = (series[ends[:, None] + np.arange(*span)] for span in ((-36, 0), (0, 6)))
    keras.utils.set_random_seed(0)
    space = Sensor((36, 1), (6, 1), "forecasting", target_channels=(0,), season=12)
    model, _, _ = build(space)

    model.fit(windows[:900], targets[:900], epochs=6, verbose=0)

    naive = np.mean((windows[950:, 24:30] - targets[950:]) ** 2)
    assert model.evaluate(windows[950:], targets[950:], verbose=0) < 0.5 * naive


def test_a_predictor_does_not_see_the_row_that_it_predicts(build):
    model, _, _ = build(Sensor((8, 2), (8, 2), "anomaly", detector="predictor"))
    window = np.random.default_rng(0).random((1, 8, 2), "float32")
    other = window.copy()
    other[:, -1] += 5

    assert model.output_shape == (None, 1, 2)
    assert (model(window).numpy() == model(other).numpy()).all()


def test_a_predictor_of_a_single_row_sees_nothing(build):
    model, _, clipped = build(Sensor((1, 2), (1, 2), "anomaly", detector="predictor"))
    windows = np.random.default_rng(0).random((3, 1, 2), "float32")

    assert np.ptp(model(windows).numpy(), axis=0).max() == 0
    assert not [sentence for sentence in clipped if "pool_size" not in sentence]


def test_an_unknown_detector_is_named():
    with pytest.raises(ValueError, match=r"'autoencoder', 'predictor'.*detector='oracle'"):
        Sensor((8, 2), (8, 2), "anomaly", detector="oracle")


@pytest.mark.parametrize("answers", [{"conv_blocks": 1, "pool_size": 1}, {"conv_blocks": 3}])
@pytest.mark.parametrize("compression", [2.0, 8.0])
@pytest.mark.parametrize("window", [(16, 8), (32, 8), (33, 8), (32, 1)])
def test_an_autoencoder_compresses_as_much_however_deep_it_is(window, compression, answers, build):
    model, _, _ = build(Sensor(window, window, "anomaly", compression=compression), answers)
    code = model.get_layer("code").output.shape

    assert model.output_shape == (None, *window)
    allowed = window[0] * window[1] // compression
    assert 0.8 * allowed <= code[1] * code[2] <= allowed


@given(st.integers(1, 100), st.integers(1, 200))
def test_a_code_has_no_more_numbers_than_it_may_and_few_less(steps, numbers):
    size, units = detectors.fit_code(steps, numbers)
    used = -(-steps // size) * units
    assert 0.8 * numbers <= used <= numbers


def test_a_window_of_fewer_numbers_than_become_one_is_still_built_and_told(build):
    model, _, told = build(Sensor((3, 1), (3, 1), "anomaly"))
    assert "compression='8' became '3': 3 steps of 1 channels have 3 numbers." in told
    assert model.get_layer("code").output.shape[1:] == (1, 1)


def test_channels_that_are_not_forecast_keep_their_level_where_windows_are_centered(build):
    model, hp, _ = build(Sensor((6, 3), (2, 1), "forecasting", target_channels=(1,)))
    assert hp.values["center_windows"]
    centered = keras.Model(model.input, model.get_layer("centered").output)
    windows = np.random.default_rng(0).random((4, 6, 3), "float32")
    expected = windows.copy()
    expected[..., 1] -= windows[..., 1].mean(axis=1, keepdims=True)
    assert np.asarray(centered(windows)) == pytest.approx(expected, abs=1e-6)


def test_a_window_of_one_row_is_not_centered(build):
    model, hp, told = build(Sensor((1, 3), (2, 1), "forecasting", target_channels=(1,)))
    assert hp.values["center_windows"]
    assert any("center_windows='True' became 'False'" in text for text in told)
    assert "centered" not in [layer.name for layer in model.layers]


def test_an_autoencoder_that_adds_numbers_is_refused():
    with pytest.raises(ValueError, match="compression must be at least 1"):
        Sensor((8, 2), (8, 2), "anomaly", compression=0.5)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("detector", ["autoencoder", "predictor"])
def test_what_learned_a_wave_is_further_from_a_broken_one(detector, build):
    source = np.random.default_rng(0)
    phases = source.uniform(0, 2 * np.pi, (400, 1, 1))
    waves = np.sin(phases + np.arange(24)[None, :, None] / 2 + np.array([0, 1]))
    waves = (waves + 0.05 * source.standard_normal(waves.shape)).astype("float32")
    broken = waves[300:].copy()
    broken[:, 23, 1] = -broken[:, 23, 0]
    keras.utils.set_random_seed(0)
    model, _, _ = build(Sensor((24, 2), (24, 2), "anomaly", detector=detector))
    taught = waves if detector == "autoencoder" else waves[:, -1:]

    model.fit(waves[:300], taught[:300], epochs=30, verbose=0)

    last = {
        name: model(x).numpy()[:, -1:] - x[:, -1:]
        for name, x in (("whole", waves[300:]), ("broken", broken))
    }
    assert np.mean(last["broken"] ** 2) > 3 * np.mean(last["whole"] ** 2)
