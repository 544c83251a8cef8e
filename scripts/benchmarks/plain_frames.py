"""The video space as people write it by hand: frames as they are, no linear part beside the network."""

import keras
import keras_tuner

from spaces.video import Video


class PlainFrames(Video):
    """Clips by Conv2D on every frame and an LSTM, and nothing else."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile one candidate, whose layers can all be written in a row.

        Args:
            hp: Answers what the candidate is made of.

        Returns:
            As of the space.
        """
        hp.Fixed("motion", "frames")
        hp.Fixed("linear_part", False)
        return super().build(hp)
