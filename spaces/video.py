"""Clips: Conv2D blocks on every frame, then LSTM layers over the frames, then a prediction."""

import keras
import keras_tuner

from spaces import blocks, compiling, frames, requests, shapes, statistics

TASKS = ("classification", "regression")


class Video(keras_tuner.HyperModel):  # type: ignore[misc]  # keras_tuner publishes no types
    """All per-frame CNN-LSTMs for clips.

    Every hyperparameter is asked for in every trial, in one domain whatever the input.

    Attributes:
        input_shape: One clip's shape: (frames, height, width, channels).
        output_shape: One prediction's shape: (classes,), or (variables,) for regression.
        task: One of ``TASKS``.
        mirror: Whether a clip with left and right swapped shows the same: then half of the clips
            are swapped in training, which makes more of few clips.
    """

    def __init__(
        self,
        input_shape: shapes.Lengths,
        output_shape: shapes.Lengths,
        task: requests.Task = "classification",
        targets: int | None = None,
        epochs: int | None = None,
        mirror: bool = False,
    ):
        """Check the sizes.

        Args:
            input_shape: See the attribute.
            output_shape: See the attribute.
            task: See the attribute.
            targets: How many targets there are to train on; ``None`` if that is not known.
            epochs: How many epochs the longest training has; ``None`` if that is not known.
            mirror: See the attribute.

        Raises:
            ValueError: If the task is another space's, or a size does not fit it.
        """
        super().__init__()
        requests.check_task("Video", task, TASKS, "For frames write the space 'seq2seq'.")
        requests.check_clips(input_shape)
        requests.check_outputs(task, input_shape, output_shape)
        self.input_shape = input_shape
        self.output_shape = output_shape
        self.task = task
        self.mirror = mirror
        # a clip is as large as hundreds of windows: small batches bound the memory
        self._training = compiling.Training(
            targets=targets, epochs=epochs, batch_sizes=(4, 32, 8), learning_rate=1e-3
        )

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile one candidate.

        Args:
            hp: Answers what the candidate is made of.

        Returns:
            A compiled model from (batch, frames, height, width, channels) to
            (batch, *output_shape).
        """
        inputs = keras.Input(self.input_shape, name="clip")
        shown = frames.mirror_clips(inputs) if self.mirror else inputs
        tensor = frames.merge_frames(frames.show_motion(shown, hp, default="differences"))
        tensor = frames.downscale(tensor, hp, default=2)
        made_of = frames.ask_conv_blocks(
            hp, blocks_default=3, filters=16, normalization="batch", dropout=0.1
        )
        tensor = frames.summarize_frames(blocks.stack_conv_blocks(tensor, made_of), hp)
        tensor = frames.split_frames(tensor, self.input_shape[0])
        tensor = blocks.stack_lstm_layers(tensor, hp, units=64)
        dropout = hp.Float("head_dropout", 0.0, 0.6, default=0.3)
        tensor = keras.layers.Dropout(dropout, name="head_dropout")(tensor)
        linear = None
        if hp.Boolean("linear_part", default=True):
            fewest = self._training.count_steps(self._training.batch_sizes[1])
            linear = statistics.describe_clips(shown, fewest)
        if self.task == "classification":
            outputs = statistics.classify_beside(tensor, linear, self.output_shape[0])
            model = keras.Model(inputs, outputs, name="video")
            return compiling.compile_classifier(model, hp, self._training)
        outputs = statistics.regress_beside(tensor, linear, self.output_shape)
        model = keras.Model(inputs, outputs, name="video")
        return compiling.compile_regressor(model, hp, self._training)


def layer_shapes(
    input_shape: shapes.Lengths, classes: int, answers: shapes.Answers
) -> list[shapes.LayerShape]:
    """Work out the layers of a classifier from the first convolution on, without building it.

    Args:
        input_shape: One clip's shape: (frames, height, width, channels).
        classes: How many classes there are.
        answers: Every hyperparameter's value by name.

    Returns:
        Name and output shape, without the batch axis, of each layer in order: of one frame up to
        the frame's summary, of the clip after it; without the linear part beside it.
    """
    (downscale,) = shapes.admit_pools(
        input_shape[1:3], answers["downscale"], 1, shapes.LEAST_RESOLUTION
    )
    size = tuple(map(shapes.pool_length, input_shape[1:3], downscale))
    conv = shapes.conv_stack_shapes(size, answers)
    features = conv[-1][1]
    summary = [("frame_summary", features[-1:])]
    if answers["frame_summary"] == "grid":
        summary = shapes.grid_shapes(features, shapes.SUMMARY_CELLS)
    lstm = shapes.lstm_stack_shapes(input_shape[0], answers)
    head = [("head_dropout", lstm[-1][1]), ("classes", (classes,))]
    return [*conv, *summary, *lstm, *head]
