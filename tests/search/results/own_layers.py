"""Search spaces with layers of a person's own."""

import keras


@keras.saving.register_keras_serializable(package="own_layers")
class Halve(keras.layers.Layer):
    """A layer that Keras can save because it is registered."""

    def call(self, inputs):
        return inputs * 0.5


@keras.saving.register_keras_serializable(package="own_layers")
class Restless(keras.layers.Layer):
    """A layer that never answers the same twice."""

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs), stddev=1e-3)


@keras.saving.register_keras_serializable(package="own_layers")
class Root(keras.layers.Layer):
    """A layer of an operation that neither ONNX nor LiteRT has."""

    def call(self, inputs):
        matrices = inputs[:, :, None] * inputs[:, None, :] + keras.ops.eye(inputs.shape[-1])
        return inputs * keras.ops.linalg.cholesky(matrices)[:, 0]


class Forgotten(Halve):
    """A layer that Keras cannot find again, for want of the decorator."""


def build(hp, layer):
    model = keras.Sequential(
        [
            keras.layers.Conv1D(hp.Int("filters", 4, 8), 3, padding="same", activation="gelu"),
            keras.layers.Bidirectional(keras.layers.LSTM(2)),
            layer,
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def build_halving(hp):
    return build(hp, Halve())


def build_root(hp):
    return build(hp, Root())


def build_restless(hp):
    return build(hp, Restless())


def build_forgotten(hp):
    return build(hp, Forgotten())


def build_lambda(hp):
    return build(hp, keras.layers.Lambda(lambda inputs: inputs * 0.5))
