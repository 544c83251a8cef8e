"""Frames to frames: a convolutional encoder, an LSTM that reads, an LSTM that goes on, a decoder."""

import keras
import keras_tuner
from keras import ops

from spaces import blocks, compiling, drawing, frames, requests, shapes

LOSSES = ("mse", "mae", "binary_crossentropy")


class Seq2Seq(keras_tuner.HyperModel):  # type: ignore[misc]  # keras_tuner publishes no types
    """All CNN-LSTM encoder-decoders that continue a clip.

    Every hyperparameter is asked for in every trial, in one domain whatever the input. Values
    of pixels are from 0 to 1, in the input and in the output.

    Attributes:
        input_shape: One clip's shape: (frames, height, width, channels).
        output_shape: The frames that follow: (horizon, height, width, channels).
    """

    def __init__(
        self,
        input_shape: shapes.Lengths,
        output_shape: shapes.Lengths,
        task: requests.Task = "frames",
        targets: int | None = None,
        epochs: int | None = None,
    ):
        """Check the sizes.

        Args:
            input_shape: See the attribute.
            output_shape: See the attribute.
            task: "frames".
            targets: How many targets there are to train on; ``None`` if that is not known.
            epochs: How many epochs the longest training has; ``None`` if that is not known.

        Raises:
            ValueError: If the task is another space's, or a size does not fit it.
        """
        super().__init__()
        elsewhere = "For one prediction a clip write the space 'video'."
        requests.check_task("Seq2Seq", task, ("frames",), elsewhere)
        requests.check_clips(input_shape)
        requests.check_outputs(task, input_shape, output_shape)
        self.input_shape = input_shape
        self.output_shape = output_shape
        self._training = compiling.Training(
            targets=targets, epochs=epochs, batch_sizes=(4, 64, 16), weight_decay=1e-4
        )

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile one candidate.

        Args:
            hp: Answers what the candidate is made of.

        Returns:
            A compiled model from (batch, frames, height, width, channels) to
            (batch, horizon, height, width, channels), from 0 to 1.
        """
        inputs = keras.Input(self.input_shape, name="clip")
        made_of = frames.ask_conv_blocks(
            hp, blocks_default=2, filters=16, normalization="none", dropout=0.0
        )
        vectors = self._continue(self._encode(inputs, made_of, hp), hp)
        model = keras.Model(inputs, self._draw(inputs, vectors, made_of, hp), name="seq2seq")
        return compiling.compile_regressor(model, hp, self._training, LOSSES)

    def _encode(
        self,
        inputs: keras.KerasTensor,
        made_of: blocks.ConvBlocks,
        hp: keras_tuner.HyperParameters,
    ) -> keras.KerasTensor:
        """Summarise clips' frames, one by one, in vectors of shape (batch, frames, features)."""
        tensor = frames.merge_frames(frames.show_motion(inputs, hp, default="frames"))
        tensor = blocks.stack_conv_blocks(tensor, made_of)
        tensor = frames.pool_to_grid(tensor, shapes.CODE_CELLS)
        units = hp.Int("code_units", 16, 512, sampling="log", default=128)
        tensor = keras.layers.Dense(units, activation="relu", name="code")(tensor)
        return frames.split_frames(tensor, self.input_shape[0])

    def _continue(
        self, tensor: keras.KerasTensor, hp: keras_tuner.HyperParameters
    ) -> keras.KerasTensor:
        """Read vectors of shape (batch, frames, features); go on with (batch, horizon, units)."""
        units = hp.Int("lstm_units", 16, 512, sampling="log", default=256)
        read = keras.layers.LSTM(units, return_state=True, name="reader")
        summary, *state = read(tensor)
        tensor = keras.layers.RepeatVector(self.output_shape[0], name="summary")(summary)
        go_on = keras.layers.LSTM(units, return_sequences=True, name="continuer")
        tensor = go_on(tensor, initial_state=state)
        dropout = hp.Float("head_dropout", 0.0, 0.5, default=0.0)
        return keras.layers.Dropout(dropout, name="head_dropout")(tensor)

    def _draw(
        self,
        inputs: keras.KerasTensor,
        vectors: keras.KerasTensor,
        made_of: blocks.ConvBlocks,
        hp: keras_tuner.HyperParameters,
    ) -> keras.KerasTensor:
        """Turn vectors of shape (batch, horizon, units), and the clip's last frame, into frames.

        A vector holds too little to draw a frame sharply: without the last frame, this is worse
        than copying it.
        """
        horizon, height, width, channels = self.output_shape
        size = (height, width)
        decoder = hp.Choice("decoder", ["dense", "transposed"], default="transposed")
        features = ops.reshape(vectors, (-1, vectors.shape[-1]))
        if decoder == "transposed":
            filters = made_of.filters[::-1]
            features = drawing.draw_features(features, size, filters, made_of.kernel_size)
        drawn = drawing.draw_pixels(features, size, channels, "sigmoid", "drawn")
        sources = [frames.split_frames(drawn, horizon), *ask_sources(inputs, vectors, hp)]
        if len(sources) == 1:
            return sources[0]
        weights = drawing.draw_pixels(features, size, len(sources), "softmax", "weights")
        return drawing.mix(sources, frames.split_frames(weights, horizon))


def ask_sources(
    inputs: keras.KerasTensor, vectors: keras.KerasTensor, hp: keras_tuner.HyperParameters
) -> list[keras.KerasTensor]:
    """Ask what of a clip's last frame reaches the predicted frames past the LSTM.

    Args:
        inputs: Clips of shape (batch, frames, height, width, channels).
        vectors: Vectors of shape (batch, horizon, features) that moves are read from.
        hp: Answers: nothing ("none"), the frame itself, mixed pixel by pixel with what is drawn
            ("gate"), or also the frame moved in one or several ways ("move").

    Returns:
        Frames of shape (batch, horizon or 1, height, width, channels) each.
    """
    skip = hp.Choice("skip", ["none", "gate", "move"], default="move")
    moves = hp.Int("moves", 1, 3, default=1)
    reach = hp.Int("reach", 1, 8, default=3)
    if skip == "none":
        return []
    last = ops.take(inputs, inputs.shape[1] - 1, axis=1)
    moved = range(moves if skip == "move" else 0)
    return [
        ops.expand_dims(last, 1),
        *(drawing.move_frame(last, vectors, reach, f"move_{number}") for number in moved),
    ]


def layer_shapes(
    input_shape: shapes.Lengths, output_shape: shapes.Lengths, answers: shapes.Answers
) -> list[shapes.LayerShape]:
    """Work out the layers of a candidate, from the first convolution to the drawn frames.

    Args:
        input_shape: One clip's shape: (frames, height, width, channels).
        output_shape: One prediction's shape: (horizon, height, width, channels).
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape, without the batch axis, of each layer in order: of one frame,
        except for the layers of the LSTM, whose shapes are of all frames.
    """
    horizon, height, width, channels = output_shape
    size = (height, width)
    conv = shapes.conv_stack_shapes(input_shape[1:3], answers)
    code = shapes.grid_shapes(conv[-1][1], shapes.CODE_CELLS)
    units = answers["lstm_units"]
    lstm = [
        ("code", (answers["code_units"],)),
        ("summary", (horizon, units)),
        ("continuer", (horizon, units)),
        ("head_dropout", (horizon, units)),
    ]
    drawn: list[shapes.LayerShape] = [("drawn", (*size, channels))]
    if answers["decoder"] == "transposed":
        filters = shapes.grow_filters(
            answers["filters"], answers["filter_growth"], answers["conv_blocks"]
        )
        drawn = [*shapes.drawing_shapes(size, filters[::-1]), *drawn]
    return [*conv, *code, *lstm, *drawn]
