"""Search spaces as people write them for KerasTuner, knowing nothing of this project."""

import math

import keras
import keras_tuner
import numpy as np


def build_stack(hp):
    """KerasTuner's guide: a Sequential, a loop of layers, a name for each."""
    model = keras.Sequential()
    model.add(keras.Input(shape=(24, 3)))
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            keras.layers.Conv1D(
                filters=hp.Int(f"units_{i}", min_value=8, max_value=32, step=8),
                kernel_size=hp.Choice(f"kernel_{i}", [3, 5]),
                padding="same",
                activation=hp.Choice("activation", ["relu", "tanh"]) if i == 0 else "relu",
            )
        )
    model.add(keras.layers.GlobalAveragePooling1D())
    if hp.Boolean("dropout"):
        model.add(keras.layers.Dropout(rate=hp.Float("rate", 0, 0.5, step=0.1, default=0.2)))
    model.add(keras.layers.Dense(4, activation="softmax"))
    learning_rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class ConditionalModel(keras_tuner.HyperModel):
    """KerasTuner's manual: one model or the other under conditional_scope."""

    def __init__(self, input_shape, classes, width=16):
        super().__init__()
        self.input_shape = input_shape
        self.classes = classes
        self.width = width

    def build(self, hp):
        inputs = keras.Input(shape=self.input_shape)
        model_type = hp.Choice("model_type", ["mlp", "rnn"])
        with hp.conditional_scope("model_type", ["mlp"]):
            if model_type == "mlp":
                x = keras.layers.Flatten()(inputs)
                x = keras.layers.Dense(hp.Int("units", 8, 64, step=2, sampling="log"))(x)
        with hp.conditional_scope("model_type", ["rnn"]), hp.name_scope("rnn"):
            cell = hp.Choice("cell", ["lstm", "gru"])
            if model_type == "rnn":
                layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
                x = layer(hp.Int("units", 8, 32, default=self.width))(inputs)
        x = keras.layers.Dropout(
            hp.Float(
                "mlp_dropout", 0.0, 0.5, parent_name="model_type", parent_values="mlp", default=0.25
            )
            or 0.0
        )(x)
        outputs = keras.layers.Dense(self.classes, activation="softmax")(x)
        model = keras.Model(inputs, outputs)
        optimizer = hp.Fixed("optimizer", "adam")
        model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
        return model


CONDITIONAL = ConditionalModel((24, 3), 4)
NOT_A_SPACE = {"units": 8}


class NotAHyperModel:
    """Has a build, and is no keras_tuner.HyperModel."""

    def build(self, hp):
        return keras.Sequential()


class OwnFit(ConditionalModel):
    """KerasTuner's guide: the batch size is tuned in a fit of its own."""

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [16, 32]), **kwargs)


class InOrder(ConditionalModel):
    """A fit of its own that goes through the rows as they come."""

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(
            *args, batch_size=hp.Choice("batch_size", [16, 32]), shuffle=False, **kwargs
        )


class TrainsBefore(ConditionalModel):
    """One epoch of warming up that no callback sees."""

    def fit(self, hp, model, x, y, **kwargs):
        model.fit(x, y, shuffle=False, verbose=0)
        return model.fit(x, y, shuffle=False, **kwargs)


class CompilesAgain(ConditionalModel):
    """The optimizer is chosen in fit."""

    def fit(self, hp, model, x, y, **kwargs):
        model.compile("rmsprop", "sparse_categorical_crossentropy")
        return model.fit(x, y, shuffle=False, **kwargs)


class FitsTwice(ConditionalModel):
    """Three epochs, then one more, both with the callbacks."""

    def fit(self, hp, model, x, y, **kwargs):
        model.fit(x, y, shuffle=False, **{**kwargs, "epochs": 3})
        return model.fit(x, y, shuffle=False, **{**kwargs, "epochs": 1})


class StopsItself(ConditionalModel):
    """A callback of one's own, which remembers."""

    def fit(self, hp, model, x, y, callbacks, **kwargs):
        callbacks = [*callbacks, keras.callbacks.ReduceLROnPlateau("loss", patience=1)]
        return model.fit(x, y, shuffle=False, callbacks=callbacks, **kwargs)


class DrawsRows(ConditionalModel):
    """Half of the rows, drawn by a generator that a checkpoint holds."""

    def fit(self, hp, model, x, y, **kwargs):
        rows = np.random.permutation(len(x))[: len(x) // 2]  # as people do
        return model.fit(x[rows], y[rows], shuffle=False, **kwargs)


class LoadsWeights(ConditionalModel):
    """Weights that are there before Keras trains."""

    def fit(self, hp, model, *args, **kwargs):
        model.set_weights([weights / 2 for weights in model.get_weights()])
        np.random.permutation(9)  # as people do
        return model.fit(*args, shuffle=False, **kwargs)


class NamesItsArguments(ConditionalModel):
    """A fit that takes what it knows, and hands on no more."""

    def fit(self, hp, model, *data, validation_data, epochs, callbacks, verbose):
        return model.fit(*data, epochs=epochs, callbacks=callbacks, verbose=0, shuffle=False)


class CountsItsEpochs(ConditionalModel):
    """KerasTuner's guide: a training loop of its own."""

    def fit(self, hp, model, x, y, callbacks, epochs, **kwargs):
        listening = keras.callbacks.CallbackList(callbacks, model=model)
        listening.on_train_begin()
        for epoch in range(epochs):
            listening.on_epoch_begin(epoch)
            losses = [
                model.train_on_batch(x[i : i + 32], y[i : i + 32]) for i in range(0, len(x), 32)
            ]
            listening.on_epoch_end(epoch, {"loss": sum(losses) / len(losses)})
            if model.stop_training:
                return


def raises(hp):
    """A person's mistake: a name that does not exist."""
    return keras.Sequential([kears.layers.Dense(4)])  # noqa: F821


def uncompiled(hp):
    """A person's mistake: compile is forgotten."""
    outputs = keras.layers.Dense(4, activation="softmax")
    return keras.Sequential([keras.Input((24, 3)), keras.layers.LSTM(4), outputs])


def wrong_loss(hp):
    """A person's mistake: a loss that reads one column a class, behind another name."""
    model = uncompiled(hp)
    model.compile("adam", "kl_divergence")
    return model


class DropsCallbacks(ConditionalModel):
    """A person's mistake: a fit that keeps the callbacks to itself."""

    def fit(self, hp, model, *args, callbacks, **kwargs):
        return model.fit(*args, **kwargs)


def wrong_width(hp):
    """A person's mistake: two outputs for four classes."""
    model = keras.Sequential([keras.Input((24, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


class LastStep(keras_tuner.HyperModel):
    """A fixed linear model of a window's last step: no length tells it more than another."""

    def __init__(self, input_shape, output_shape, task):
        super().__init__()
        self.input_shape, self.task = input_shape, task
        self.output_shape = (1, input_shape[-1]) if task == "anomaly" else output_shape

    def build(self, hp):
        inputs = keras.Input(self.input_shape)
        last = keras.layers.Flatten()(inputs[:, -1])
        drawn = keras.layers.Dense(
            math.prod(self.output_shape),
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.1, seed=1),
            activation="softmax" if self.task == "classification" else None,
        )(last)
        model = keras.Model(inputs, keras.layers.Reshape(self.output_shape)(drawn))
        model.compile("sgd", "mse")
        return model


class Hoard(keras.layers.Layer):
    """Takes memory while it is computed, and gives its input back."""

    def __init__(self, megabytes, **kwargs):
        super().__init__(**kwargs)
        self.megabytes = megabytes

    def call(self, inputs):
        taken = keras.ops.exp(keras.ops.broadcast_to(inputs[0, 0, 0], (self.megabytes, 2**18)))
        return inputs + 0.0 * keras.ops.mean(taken)


class Wide(keras_tuner.HyperModel):
    """Few weights, and outputs of six gigabytes for 64 windows."""

    def __init__(self, input_shape, classes):
        super().__init__()
        self.input_shape, self.classes = input_shape, classes

    def build(self, hp):
        units = hp.Int("units", 1, 1_000_000, default=1_000_000)
        inputs = keras.Input(self.input_shape)
        wide = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(units)(inputs))
        outputs = keras.layers.Dense(self.classes, activation="softmax")(wide)
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model


def build_hoard(hp):
    """Two fifths of what it can build need more than 700 MB."""
    model = keras.Sequential(
        [
            keras.Input(shape=(24, 3)),
            Hoard(hp.Int("megabytes", 8, 14_000, sampling="log", default=8)),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(hp.Float("lr", 1e-4, 1e-1, sampling="log", default=1e-2)),
        loss="sparse_categorical_crossentropy",
    )
    return model


def build_either_head(hp):
    inputs = keras.Input((8, 2))
    features = keras.layers.LSTM(2)(inputs)
    if hp.Choice("head", ["one", "two"]) == "one":
        outputs, loss = keras.layers.Dense(1, "sigmoid")(features), "binary_crossentropy"
    else:
        outputs = keras.layers.Dense(2, "softmax")(features)
        loss = "sparse_categorical_crossentropy"
    model = keras.Model(inputs, outputs)
    model.compile("adam", loss)
    return model
