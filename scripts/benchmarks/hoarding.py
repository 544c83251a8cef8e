"""A search space of which two fifths take more memory than ``out_of_memory.py`` lets a worker have."""

from typing import Any

import keras
import keras_tuner

LARGEST_MB = 14_000
"""Of 8 to 14,000 MB by their logarithm, two fifths are above 700."""


@keras.saving.register_keras_serializable("hoarding")
class Hoard(keras.layers.Layer):
    """Take memory while it is computed, and give the input back."""

    def __init__(self, megabytes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.megabytes = megabytes

    def get_config(self) -> dict[str, Any]:
        """Tell what the layer is made again from."""
        return {**super().get_config(), "megabytes": self.megabytes}

    def call(self, inputs: Any) -> Any:
        """Take as many MB, of which nobody knows before a step is computed."""
        taken = keras.ops.exp(keras.ops.broadcast_to(inputs[0, 0, 0], (self.megabytes, 2**18)))
        return inputs + 0.0 * keras.ops.mean(taken)


class HoardingSpace(keras_tuner.HyperModel):
    """A small network that classifies windows, and takes memory beside."""

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self._input_shape, self._classes = input_shape, classes

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build a candidate."""
        model = keras.Sequential(
            [
                keras.Input(self._input_shape),
                Hoard(hp.Int("megabytes", 8, LARGEST_MB, sampling="log", default=8)),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(self._classes, activation="softmax"),
            ]
        )
        rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log", default=1e-2)
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        return model
