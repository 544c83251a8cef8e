"""Sensor sequences: Conv1D blocks, then LSTM layers, then a probability for each class."""

import keras
import keras_tuner

from spaces import blocks, compiling, shapes

LEAST_CLASSES = 2


class Sensor(keras_tuner.HyperModel):  # type: ignore[misc]  # keras_tuner publishes no types
    """All CNN-LSTMs for windows of a sensor stream.

    Every hyperparameter is asked for in every trial, in one domain whatever the input: a
    sampler can model all of them jointly.

    Attributes:
        input_shape: One window's shape: (steps, channels).
        classes: How many classes there are.
        targets: How many targets there are to train on; ``None`` if that is not known.
        epochs: How many epochs the longest training has; ``None`` if that is not known.
    """

    def __init__(
        self,
        input_shape: tuple[int, int],
        classes: int,
        targets: int | None = None,
        epochs: int | None = None,
    ):
        """Check the sizes.

        Raises:
            ValueError: If a size is too small.
        """
        super().__init__()
        if min(input_shape) < 1:
            raise ValueError(
                f"input_shape must be at least (1, 1): steps, channels. Received: {input_shape=}."
            )
        if classes < LEAST_CLASSES:
            raise ValueError(f"classes must be at least {LEAST_CLASSES}. Received: {classes=}.")
        self.input_shape = input_shape
        self.classes = classes
        self.targets = targets
        self.epochs = epochs

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile one candidate.

        Args:
            hp: Answers what the candidate is made of.

        Returns:
            A compiled model from (batch, steps, channels) to (batch, classes).
        """
        inputs = keras.Input(self.input_shape, name="window")
        tensor = blocks.stack_conv_blocks(inputs, hp)
        tensor = blocks.stack_lstm_layers(tensor, hp)
        model = keras.Model(inputs, blocks.classify(tensor, hp, self.classes), name="sensor")
        model.compile(
            optimizer=compiling.ask_optimizer(hp, self.targets, self.epochs),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model


def layer_shapes(
    input_shape: tuple[int, int], classes: int, answers: shapes.Answers
) -> list[shapes.LayerShape]:
    """Work out the layers of a candidate without building it.

    Args:
        input_shape: One window's shape: (steps, channels).
        classes: How many classes there are.
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape, without the batch axis, of each layer in order.
    """
    conv = shapes.conv_stack_shapes(input_shape[0], answers)
    _, (steps, _) = conv[-1]
    lstm = shapes.lstm_stack_shapes(steps, answers)
    summary = lstm[-1][1]
    head = [("head_dropout", summary), ("classes", (classes,))]
    return [("window", input_shape), *conv, *lstm, *head]
