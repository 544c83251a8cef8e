"""How a candidate is trained: loss, optimizer, learning rate, weight decay, batch size from ``hp``."""

from dataclasses import dataclass

import keras
import keras_tuner

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
}
LOSSES = ("mse", "mae", "huber")
ABSOLUTE = ("mae", "mase")
"""Metrics that count errors as they are."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long a candidate is trained, and on which terms its space starts.

    Attributes:
        targets: How many targets there are to train on; ``None`` if that is not known.
        epochs: How many epochs the longest training has; ``None`` if that is not known.
        batch_sizes: The least, the largest and the default batch size.
        learning_rate: The default learning rate.
        weight_decay: The default weight decay.
        metric: What the study optimises, by its name in the study file; empty if that is not known.
    """

    targets: int | None = None
    epochs: int | None = None
    batch_sizes: tuple[int, int, int] = (16, 128, 32)
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    metric: str = ""

    def count_steps(self, batch_size: int) -> int | None:
        """Count the steps of the longest training; ``None`` if its length is not known."""
        if self.targets is None or self.epochs is None:
            return None
        return -(-self.targets // min(batch_size, self.targets)) * self.epochs


def compile_classifier(
    model: keras.Model, hp: keras_tuner.HyperParameters, training: Training
) -> keras.Model:
    """Compile a model that gives each class a probability, to be taught class numbers."""
    model.compile(
        optimizer=ask_optimizer(hp, training),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def compile_regressor(
    model: keras.Model,
    hp: keras_tuner.HyperParameters,
    training: Training,
    losses: tuple[str, ...] = LOSSES,
) -> keras.Model:
    """Compile a model that gives values; of several losses the default is the one that fits the metric.

    The median makes absolute errors least, the mean squared ones: a model that is taught the one is not
    the best by the other.
    """
    fits = "mae" if training.metric in ABSOLUTE and "mae" in losses else losses[0]
    loss = hp.Choice("loss", list(losses), default=fits) if len(losses) > 1 else losses[0]
    model.compile(optimizer=ask_optimizer(hp, training), loss=loss)
    return model


def ask_optimizer(
    hp: keras_tuner.HyperParameters, training: Training
) -> keras.optimizers.Optimizer:
    """Make the optimizer, and ask for the batch size that it is used with.

    The training loop reads ``batch_size`` from ``hp.values``: Keras takes it at ``fit``, not
    here. Keras decouples weight decay from the gradient in every optimizer, so "adam" is AdamW
    (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Where the length of training is known, the learning rate falls along a cosine to zero at its
    end (Loshchilov and Hutter 2017, arXiv:1608.03983): the score then moves five times less from
    one late epoch to the next, measured on held-out people's sensor windows.

    Args:
        hp: Answers the kind of optimizer and its settings.
        training: How long the candidate is trained, and the defaults.

    Returns:
        An optimizer that is not yet built.
    """
    least, largest, default = training.batch_sizes
    batch_size = hp.Int("batch_size", least, largest, sampling="log", default=default)
    kind = hp.Choice("optimizer", ["adam", "nadam", "rmsprop"], default="adam")
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=training.learning_rate)
    steps = training.count_steps(batch_size)
    if steps is not None:
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=steps)
    optimizer = OPTIMIZERS[kind](
        name=kind,  # else Keras counts: adam, adam_1, ... and equal answers differ
        learning_rate=rate,
        weight_decay=hp.Float(
            "weight_decay", 1e-5, 1e-1, sampling="log", default=training.weight_decay
        ),
        # one exploding gradient ends a recurrent network (Pascanu et al. 2013, arXiv:1211.5063)
        global_clipnorm=1.0,
    )
    # offsets and scales cannot overfit as weights do, and decay would pull scales off 1
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
