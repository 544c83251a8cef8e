"""Predicted frames are scored against the frames that follow each window."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from search.data.sequences import Array, SequenceData, Side, Windows
from search.messages import Table
from search.tasks import Baseline, Direction, Predict
from search.tasks.predictions import (
    bounded_slices,
    choose_shown,
    make_baseline,
    read_predictions,
    reshape_answers,
)

OUTPUT = "one frame for each step ahead"
MOST_PIXELS = 2**17
"""Pixels that are compared at once: as many as a processor's cache holds, which is fastest."""
MOST_VALUES = 2**22
"""Numbers that are gathered at once, to bound memory: 16 MiB in float32."""
LARGEST_WINDOW, SMALLEST_WINDOW = 7, 3
"""Sides of the windows that structural similarity is computed in, in pixels."""
SHOWN, MOST_STEPS, MOST_LINES = 3, 10, 32
"""Targets whose frames are shown, steps ahead, and lines and pixels of a line, at most."""
LARGEST_PSNR = 100.0
"""The ratio, in dB, that identical frames are given in place of infinity."""


class Frames:
    """The next frames for each target."""

    kind: ClassVar[str] = "frames"
    directions: ClassVar[Mapping[str, Direction]] = {
        "mse": "minimize",
        "mae": "minimize",
        "frame_squared_error": "minimize",
        "ssim": "maximize",
        "psnr": "maximize",
    }

    def output_shape(self, data: SequenceData, length: int) -> tuple[int, ...]:
        """Say that one prediction is of shape (horizon, height, width, channels)."""
        return data.answers().window_shape

    def taught(self, data: SequenceData, output_shape: tuple[int, ...]) -> Windows:
        """Say that a model is taught the frames that follow, from 0 to 1.

        Raises:
            InvalidArchitecture: If its output is not of their shape.
        """
        return reshape_answers(data, output_shape, OUTPUT)

    def score(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, float]:
        """Score predicted frames.

        Predictions are clipped to the range of pixels, 0 to 1, first. Structural similarity
        (Wang et al., 2004) is that of scikit-image, with uniform windows of 7 x 7 pixels, or
        the largest odd side that a smaller frame holds. PSNR is 10 log10(1 / MSE) of each
        frame, at most 100 dB, before it is averaged.

        Args:
            data: The study's data.
            side: Whose targets are scored.
            predict: Gives frames of shape (targets, horizon, height, width, channels).

        Returns:
            MSE and MAE, averaged over pixels; the squared error summed over a frame's pixels;
            structural similarity, averaged over channels, NaN for frames of fewer than 3
            pixels a side; and PSNR, in dB: each averaged over frames.

        Raises:
            InvalidArchitecture: If the predictions have another shape.
            DivergedTraining: If a prediction is not a finite number.
        """
        measured = self._compare(data, side, predict)
        return {name: float(measured[name].mean()) for name in self.directions}

    def tables(self, data: SequenceData, side: Side, predict: Predict) -> Mapping[str, Table]:
        """Say how errors grow with the distance of the predicted frame.

        Args:
            data: The study's data.
            side: Whose targets.
            predict: As for ``score``.

        Returns:
            "error by step ahead"; and "frames", the truth and the prediction of a few targets,
            line by line, averaged over channels and thinned out to be small.
        """
        measured, names = self._compare(data, side, predict), ("mse", "mae", "ssim", "psnr")
        columns = [measured[name].mean(axis=0).tolist() for name in names]
        lines = [(step, *values) for step, values in enumerate(zip(*columns, strict=True), 1)]
        return {
            "error by step ahead": (("step", *names), lines),
            "frames": _show_frames(data, side, predict(side)),
        }

    def reading(self, data: SequenceData, predict: Predict) -> Mapping[str, float]:
        """Say that a prediction needs no other number to be read."""
        return {}

    def baselines(self, data: SequenceData) -> list[Baseline]:
        """Copy the last frame, and take the mean of the longest window's frames.

        Args:
            data: The study's data.

        Returns:
            The two baselines; neither learns anything from training.
        """
        predictors = {"last frame": _copy_last, "mean of the inputs": _average_inputs}
        return [make_baseline(name, self, each, data) for name, each in predictors.items()]

    def _compare(self, data: SequenceData, side: Side, predict: Predict) -> dict[str, Array]:
        """Measure each predicted frame by each metric, as arrays of shape (targets, horizon)."""
        answers, ends = data.answers(), data.ends[side]
        shape = answers.window_shape
        predictions = read_predictions(predict(side), len(ends), shape, OUTPUT)
        measured = {name: np.empty((len(ends), shape[0])) for name in self.directions}
        for part in bounded_slices(len(ends), math.prod(shape), MOST_PIXELS):
            truth = answers.gather(ends[part]).astype(np.float64)
            guess = np.clip(predictions[part].astype(np.float64), 0, 1)
            for name, values in _measure(truth, guess):
                measured[name][part] = values
        return measured


def _show_frames(data: SequenceData, side: Side, predictions: Array) -> Table:
    """Write the frames of some targets, true and predicted, one line of pixels after the other."""
    answers = data.answers()
    chosen = choose_shown(len(data.ends[side]), SHOWN)
    truth = answers.gather(data.ends[side][chosen])
    guess = np.clip(np.asarray(predictions)[chosen].reshape(truth.shape), 0, 1)
    truth, guess = truth[:, :MOST_STEPS], guess[:, :MOST_STEPS]
    thin = max(1, math.ceil(max(truth.shape[2:4]) / MOST_LINES))
    lines: list[tuple[str | int | float, ...]] = []
    for what, frames in (("truth", truth), ("prediction", guess)):
        grey = frames.mean(axis=-1)[:, :, ::thin, ::thin].round(2)
        for target, step, line in np.ndindex(grey.shape[:3]):
            pixels = grey[target, step, line].tolist()
            lines.append((int(chosen[target]), what, step + 1, line, *pixels))
    width = len(lines[0]) - 4
    return ("target", "what", "step", "line", *map(str, range(width))), lines


def _measure(truth: Array, guess: Array) -> Iterator[tuple[str, Array]]:
    """Measure frames of shape (targets, horizon, height, width, channels)."""
    errors = guess - truth
    mse = np.square(errors).mean(axis=(2, 3, 4))
    yield "mse", mse
    yield "mae", np.abs(errors).mean(axis=(2, 3, 4))
    yield "frame_squared_error", mse * math.prod(truth.shape[2:])
    yield "ssim", _measure_similarity(truth, guess)
    yield "psnr", -10 * np.log10(np.maximum(mse, 10 ** (-LARGEST_PSNR / 10)))


def _measure_similarity(truth: Array, guess: Array) -> Array:
    """Compute structural similarity frame by frame, in one call for all of them.

    Channels and frames are laid one below the other as one tall image. Of its map of
    similarities those are kept whose window lies within a single frame, so that the result is
    that of a call a frame, at a fifth of its time.

    Args:
        truth: Frames of shape (targets, horizon, height, width, channels), from 0 to 1.
        guess: Predicted frames, likewise.

    Returns:
        Structural similarity of shape (targets, horizon), averaged over channels.
    """
    from skimage.metrics import structural_similarity  # noqa: PLC0415 - slow to load, used here only

    targets, horizon, height, width, channels = truth.shape
    size = min(LARGEST_WINDOW, (min(height, width) - 1) // 2 * 2 + 1)
    if size < SMALLEST_WINDOW:
        return np.full((targets, horizon), np.nan)
    tall = [frames.transpose(0, 1, 4, 2, 3).reshape(-1, width) for frames in (truth, guess)]
    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        *tall, win_size=size, data_range=1.0, full=True
    )
    similarity = similarity.reshape(targets, horizon, channels, height, width)
    edge = size // 2
    inner = similarity[..., edge : height - edge, edge : width - edge]
    return np.asarray(inner.mean(axis=(2, 3, 4)))


def _copy_last(data: SequenceData, side: Side) -> Array:
    """Predict that nothing changes any more."""
    last = data.windows(side, 1)
    return np.broadcast_to(last, (len(last), data.card.horizon, *last.shape[2:]))


def _average_inputs(data: SequenceData, side: Side) -> Array:
    """Predict the mean of the longest window's frames for every step ahead."""
    ends, frame = data.ends[side], data.rows.shape[1:]
    inputs = data.inputs(data.card.longest)
    means = np.empty((len(ends), 1, *frame), dtype=np.float32)
    for part in bounded_slices(len(ends), math.prod(inputs.window_shape), MOST_VALUES):
        means[part, 0] = inputs.gather(ends[part]).mean(axis=1)
    return np.broadcast_to(means, (len(ends), data.card.horizon, *frame))
