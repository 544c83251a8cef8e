"""Sensor sequences: Conv1D blocks, then LSTM layers, then what the task asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import keras_tuner
from keras import ops

from spaces import (
    blocks,
    compiling,
    detectors,
    forecasts,
    requests,
    rotations,
    shapes,
    statistics,
)

TASKS = ("classification", "regression", "forecasting", "anomaly")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Where the hyperparameters start that one task needs otherwise than another."""

    conv_blocks: int
    filters: int
    kernel_size: int
    normalization: str
    conv_dropout: float
    lstm_units: int
    head_dropout: float
    weight_decay: float


CLASSIFIER = Defaults(
    conv_blocks=3,
    filters=64,
    kernel_size=7,
    normalization="batch",
    conv_dropout=0.2,
    lstm_units=96,
    head_dropout=0.5,
    weight_decay=1e-3,
)
# values, unlike classes, follow the level of a window: no normalization, which hides it, and
# little dropout, which shifts it
REGRESSOR = Defaults(
    conv_blocks=1,
    filters=32,
    kernel_size=3,
    normalization="none",
    conv_dropout=0.1,
    lstm_units=64,
    head_dropout=0.2,
    weight_decay=1e-2,
)
DETECTOR = replace(REGRESSOR, conv_blocks=2, kernel_size=7, weight_decay=1e-4, head_dropout=0.0)
DEFAULTS = {"classification": CLASSIFIER, "anomaly": DETECTOR}


class Sensor(keras_tuner.HyperModel):  # type: ignore[misc]  # keras_tuner publishes no types
    """All CNN-LSTMs for windows of a sensor stream.

    Every hyperparameter is asked for in every trial, in one domain whatever the input: a
    sampler can model all of them jointly. Which ones there are depends on the task.

    Attributes:
        input_shape: One window's shape: (steps, channels).
        output_shape: One prediction's shape: (classes,) for classification, (variables,) for
            regression, (horizon, variables) for forecasting, the window's own for anomaly.
        task: One of ``TASKS``.
        target_channels: The input channel that shows each variable's past, of shape (variables,);
            empty if the input does not show it. Only forecasting reads it.
        season: Time steps of a season; ``None`` if there is none. Only forecasting reads it.
        detector: What learns the normal, an element of ``detectors.DETECTORS``: fixed, because
            the errors of one are not to be compared with the other's. Only anomaly reads it.
        compression: How many numbers of a window the autoencoder's middle makes one: fixed,
            because errors on normal data always prefer less, down to a copy that misses nothing
            and finds nothing. Only anomaly reads it.
        rotations: Which channels are turned together in training, or ``None``.
        linear_part: Whether a linear model of statistics stands beside the network; ``None`` to
            search it. Only classification and regression admit it: forecasts have one of their own.
    """

    def __init__(  # noqa: PLR0913  # what the training loop knows, by name
        self,
        input_shape: shapes.Lengths,
        output_shape: shapes.Lengths,
        task: requests.Task = "classification",
        *,
        target_channels: shapes.Lengths = (),
        season: int | None = None,
        seasonal: bool = True,
        detector: str = "autoencoder",
        compression: float = 8.0,
        rotate: Sequence[Sequence[str]] = (),
        rotate_degrees: float = 10.0,
        linear_part: bool | None = None,
        channel_names: Sequence[str] = (),
        channel_means: Sequence[float] = (),
        channel_scales: Sequence[float] = (),
        targets: int | None = None,
        epochs: int | None = None,
        metric: str = "",
    ):
        """Check the sizes.

        Args:
            input_shape: See the attribute.
            output_shape: See the attribute.
            task: See the attribute.
            target_channels: See the attribute.
            season: See the attribute.
            seasonal: Whether the season before is nearer to what is forecast than the last value: then
                the default candidate predicts the change from it.
            detector: See the attribute.
            compression: See the attribute.
            rotate: The names of the three channels of each sensor whose direction says nothing of
                what is predicted: windows are turned at random in training. Only classification
                and regression admit it.
            rotate_degrees: The standard deviation of the angle about each axis.
            linear_part: See the attribute.
            channel_names: The names of the input's channels, of shape (channels,).
            channel_means: What was taken off each channel, likewise; empty if that is not known.
            channel_scales: What each channel was then divided by, likewise.
            targets: How many targets there are to train on; ``None`` if that is not known.
            epochs: How many epochs the longest training has; ``None`` if that is not known.
            metric: What the study optimises, by its name in the study file: the default loss fits it.

        Raises:
            ValueError: If the task is another space's, or a size does not fit it.
        """
        super().__init__()
        requests.check_task("Sensor", task, TASKS, "For frames write the space 'seq2seq'.")
        requests.check_windows(input_shape)
        requests.check_outputs(task, input_shape, output_shape)
        if task == "forecasting":
            requests.check_past(input_shape, output_shape, target_channels)
        if season is not None and season < 1:
            raise ValueError(f"season must be at least 1, in steps. Received: {season=}.")
        if detector not in detectors.DETECTORS:
            raise ValueError(
                f"detector must be one of {', '.join(map(repr, detectors.DETECTORS))}. "
                f"Received: {detector=}."
            )
        if compression < 1:
            raise ValueError(f"compression must be at least 1. Received: {compression=}.")
        if rotate and task not in ("classification", "regression"):
            raise ValueError(
                f"rotate must be left out for task={task!r}, which predicts the channels "
                f"themselves. Received: rotate={[list(sensor) for sensor in rotate]}."
            )
        if linear_part is not None and task not in ("classification", "regression"):
            raise ValueError(
                f"linear_part must be left out for task={task!r}: forecasts have a linear part of "
                f"their own, and what learns the normal has none. Received: {linear_part=}."
            )
        self.rotations = rotations.find_rotations(
            rotate, rotate_degrees, channel_names, (channel_means, channel_scales)
        )
        self.input_shape = input_shape
        self.output_shape = output_shape
        self.task = task
        self.target_channels = target_channels
        self.season = season
        self._seasonal = seasonal
        self.detector = detector
        self.compression = compression
        self.linear_part = linear_part
        self._defaults = DEFAULTS.get(task, REGRESSOR)
        self._training = compiling.Training(
            targets=targets,
            epochs=epochs,
            weight_decay=self._defaults.weight_decay,
            metric=metric,
        )

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile one candidate.

        Args:
            hp: Answers what the candidate is made of.

        Returns:
            A compiled model from (batch, steps, channels) to (batch, *output_shape); for anomaly
            also to (batch, 1, channels), the window's last row.
        """
        inputs = keras.Input(self.input_shape, name="window")
        if self.task == "classification":
            tensor, linear = self._summarize(inputs, hp)
            outputs = statistics.classify_in_turns(tensor, linear, self.output_shape[0])
            model = keras.Model(inputs, outputs, name="sensor")
            return compiling.compile_classifier(model, hp, self._training)
        losses: tuple[str, ...] = compiling.LOSSES
        if self.task == "regression":
            tensor, linear = self._summarize(inputs, hp)
            outputs = statistics.regress_beside(tensor, linear, self.output_shape)
        elif self.task == "forecasting":
            outputs = self._forecast(inputs, hp)
        else:
            outputs = self._detect(inputs, hp)
            losses = ("mse",)
        model = keras.Model(inputs, outputs, name="sensor")
        return compiling.compile_regressor(model, hp, self._training, losses)

    def _summarize(
        self, inputs: keras.KerasTensor, hp: keras_tuner.HyperParameters
    ) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
        """Say what the network makes of windows, and the statistics of a linear part, if asked for."""
        shown = inputs if self.rotations is None else self.rotations.turn(inputs)
        tensor = self._drop(self._encode(shown, hp), hp)
        beside = self.linear_part
        if beside is None:
            # where logistic regression tells little, its equal say costs what the network knows
            beside = hp.Boolean("linear_part", default=False)
        if not beside:
            return tensor, None
        fewest = self._training.count_steps(self._training.batch_sizes[1])
        return tensor, statistics.describe_windows(shown, fewest)

    def _encode(
        self, tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters
    ) -> keras.KerasTensor:
        """Summarise sequences of shape (batch, steps, channels) in one vector each."""
        tensor = blocks.stack_conv_blocks(tensor, ask_conv_blocks(hp, self._defaults))
        return blocks.stack_lstm_layers(tensor, hp, units=self._defaults.lstm_units)

    def _drop(
        self, tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters
    ) -> keras.KerasTensor:
        dropout = hp.Float("head_dropout", 0.0, 0.6, default=self._defaults.head_dropout)
        return keras.layers.Dropout(dropout, name="head_dropout")(tensor)

    def _detect(
        self, inputs: keras.KerasTensor, hp: keras_tuner.HyperParameters
    ) -> keras.KerasTensor:
        """Say what normal windows of shape (batch, steps, channels) look like, or their last rows."""
        if self.detector == "autoencoder":
            made_of = ask_conv_blocks(hp, self._defaults)
            tensor = blocks.stack_conv_blocks(inputs, made_of)
            return detectors.draw_again(tensor, made_of, self.input_shape, self.compression)
        tensor = self._drop(self._encode(detectors.hide_last_row(inputs), hp), hp)
        tensor = keras.layers.RepeatVector(1, name="the_last_row")(tensor)
        return detectors.read_rows(tensor, self.input_shape[1])

    def _forecast(
        self, inputs: keras.KerasTensor, hp: keras_tuner.HyperParameters
    ) -> keras.KerasTensor:
        """Forecast from windows of shape (batch, steps, channels) (batch, horizon, variables)."""
        steps, horizon, known = self.input_shape[0], self.output_shape[0], self.target_channels
        predicts = forecasts.ask_predicts(hp, steps, self.season, bool(known), self._seasonal)
        centered = bool(known) and hp.Boolean("center_windows", default=True)
        if centered and steps == 1:
            shapes.warn_replaced("center_windows", "True", "False", "of one step nothing is left")
            centered = False
        tensor = inputs
        if centered:
            mean = ops.mean(inputs, axis=1, keepdims=True)
            # a channel that is not forecast tells by its level, as a category or the time of day
            foretold = [float(channel in known) for channel in range(self.input_shape[1])]
            if not all(foretold):
                mean = keras.layers.Rescaling(foretold, dtype="float32", name="foretold")(mean)
            tensor = keras.layers.Subtract(name="centered", dtype="float32")([inputs, mean])
        tensor = self._drop(self._encode(tensor, hp), hp)
        tensor = blocks.regress(tensor, self.output_shape)
        if known and hp.Boolean("linear_part", default=True):
            linear = forecasts.forecast_linearly(inputs, horizon, known)
            tensor = keras.layers.Add(name="with_linear_part", dtype="float32")([tensor, linear])
        if predicts != "value":
            rows = forecasts.past_rows(predicts, steps, horizon, self.season)
            past = forecasts.past_values(inputs, rows, known)
        elif centered:
            past = forecasts.past_values(mean, [0] * horizon, known)
        else:
            return tensor
        return keras.layers.Add(name="forecast", dtype="float32")([tensor, past])


def ask_conv_blocks(hp: keras_tuner.HyperParameters, defaults: Defaults) -> blocks.ConvBlocks:
    """Ask what the convolution blocks are made of."""
    number = hp.Int("conv_blocks", 1, 4, default=defaults.conv_blocks)
    return blocks.ConvBlocks(
        filters=shapes.grow_filters(
            hp.Int("filters", 16, 128, sampling="log", default=defaults.filters),
            hp.Float("filter_growth", 1.0, 1.5, default=1.0),
            number,
        ),
        kernel_size=hp.Int("kernel_size", 3, 11, step=2, default=defaults.kernel_size),
        normalization=hp.Choice(
            "normalization", ["batch", "layer", "none"], default=defaults.normalization
        ),
        activation=hp.Choice("activation", ["relu", "gelu", "elu"], default="relu"),
        pooling=hp.Choice("pooling", ["max", "average"], default="max"),
        pool_size=hp.Int("pool_size", 1, 4, default=2),
        dropout=hp.Float("conv_dropout", 0.0, 0.5, default=defaults.conv_dropout),
    )


def layer_shapes(
    input_shape: shapes.Lengths, classes: int, answers: shapes.Answers
) -> list[shapes.LayerShape]:
    """Work out the layers of a classifier without building it.

    Args:
        input_shape: One window's shape: (steps, channels).
        classes: How many classes there are.
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape, without the batch axis, of each layer in order; without the linear
        part beside it.
    """
    conv = shapes.conv_stack_shapes(input_shape[:1], answers)
    _, (steps, _) = conv[-1]
    lstm = shapes.lstm_stack_shapes(steps, answers)
    summary = lstm[-1][1]
    head = [("head_dropout", summary), ("classes", (classes,))]
    return [("window", input_shape), *conv, *lstm, *head]
