"""What a space is asked for, checked when it is made: task, input shape, output shape."""

from typing import TypeAlias

from spaces.shapes import Lengths

Task: TypeAlias = str
LEAST_CLASSES = 2
IMAGE_RANK = 3


def check_task(space: str, task: Task, tasks: tuple[Task, ...], elsewhere: str) -> None:
    """Check that a space serves a task.

    Args:
        space: The space's name.
        task: The kind that is asked for.
        tasks: The kinds that the space serves.
        elsewhere: What to write instead, for the other kinds.

    Raises:
        ValueError: If it does not.
    """
    if task not in tasks:
        served = ", ".join(map(repr, tasks))
        raise ValueError(f"task must be one of {served} in {space}. Received: {task=}. {elsewhere}")


def check_windows(input_shape: Lengths) -> None:
    """Check one window's shape.

    Raises:
        ValueError: If it is not (steps, channels), each at least 1.
    """
    if len(input_shape) != len(("steps", "channels")) or min(input_shape) < 1:
        raise ValueError(
            f"input_shape must be at least (1, 1): steps, channels. Received: {input_shape=}."
        )


def check_clips(input_shape: Lengths) -> None:
    """Check one clip's shape.

    Raises:
        ValueError: If it is not (frames, height, width, channels), each at least 1.
    """
    if len(input_shape) == IMAGE_RANK:
        raise ValueError(
            "input_shape must be (frames, height, width, channels): a single image has no time "
            f"axis that an LSTM could read. Received: {input_shape=}. Give clips, for example of "
            f"10 frames: {(10, *input_shape)}."
        )
    if len(input_shape) != len(("frames", "height", "width", "channels")) or min(input_shape) < 1:
        raise ValueError(
            "input_shape must be at least (1, 1, 1, 1): frames, height, width, channels. "
            f"Received: {input_shape=}."
        )


def check_outputs(task: Task, input_shape: Lengths, output_shape: Lengths) -> None:
    """Check that one prediction has the form of its task.

    Args:
        task: The kind that is asked for.
        input_shape: One input's shape.
        output_shape: One prediction's shape.

    Raises:
        ValueError: If the shape is another one, or a size is too small.
    """
    form, fits = {
        "classification": (f"(classes,), at least ({LEAST_CLASSES},)", len(output_shape) == 1),
        "regression": ("(variables,), at least (1,)", len(output_shape) == 1),
        "forecasting": ("(horizon, variables), at least (1, 1)", len(output_shape) == 2),  # noqa: PLR2004
        "anomaly": (f"the window's, {input_shape}", output_shape == input_shape),
        "frames": (
            f"(horizon, *a frame), a frame being {input_shape[1:]}",
            output_shape[1:] == input_shape[1:],
        ),
    }[task]
    least = LEAST_CLASSES if task == "classification" else 1
    if not fits or min(output_shape) < least:
        raise ValueError(f"output_shape must be {form} for {task}. Received: {output_shape=}.")


def check_past(input_shape: Lengths, output_shape: Lengths, target_channels: Lengths) -> None:
    """Check which input channels show the past of what is forecast.

    Raises:
        ValueError: If there is not one for each variable, or the input has no such channel.
    """
    variables, channels = output_shape[-1], input_shape[-1]
    if target_channels and len(target_channels) != variables:
        raise ValueError(
            f"target_channels must name one input channel for each of {variables} variables. "
            f"Received: {target_channels=}. Leave it empty if the input does not show them."
        )
    if any(not 0 <= channel < channels for channel in target_channels):
        raise ValueError(
            f"target_channels must be from 0 to {channels - 1}: the input has {channels} "
            f"channels. Received: {target_channels=}."
        )
