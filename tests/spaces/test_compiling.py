import keras
import keras_tuner
import pytest

from spaces.compiling import OPTIMIZERS, Training, ask_optimizer


def optimizer_for(**answers):
    hp = keras_tuner.HyperParameters()
    hp.values.update(answers)
    return ask_optimizer(hp, Training())


def test_batch_size_is_asked_for_under_the_name_that_the_training_loop_reads():
    hp = keras_tuner.HyperParameters()
    ask_optimizer(hp, Training())

    assert 1 <= hp.values["batch_size"] <= 128


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_the_optimizer_is_of_the_kind_and_has_the_settings_that_were_answered(kind):
    optimizer = optimizer_for(optimizer=kind, learning_rate=0.004, weight_decay=0.02)

    assert type(optimizer) is OPTIMIZERS[kind]
    assert float(optimizer.learning_rate) == pytest.approx(0.004)
    assert optimizer.weight_decay == 0.02


def test_weight_decay_shrinks_kernels_and_leaves_offsets_and_scales_alone():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    optimizer = optimizer_for(learning_rate=0.01, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    kernel, bias, gamma, beta = model.trainable_variables
    bias.assign([1.0, 1.0, 1.0])
    before = kernel.numpy()
    nothing = [keras.ops.zeros_like(variable) for variable in model.trainable_variables]

    optimizer.apply(nothing)

    after = kernel.numpy()
    assert after == pytest.approx(before * (1 - 0.01 * 0.1), rel=1e-5)
    assert bias.numpy() == pytest.approx(1.0)
    assert gamma.numpy() == pytest.approx(1.0)
    assert beta.numpy() == pytest.approx(0.0)


def test_a_large_gradient_is_clipped_to_length_one_over_all_weights():
    assert optimizer_for().global_clipnorm == 1.0
