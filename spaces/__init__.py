"""What may be built: KerasTuner hypermodels by name; loading this package loads Keras."""

import keras_tuner

from spaces.sensor import Sensor
from spaces.seq2seq import Seq2Seq
from spaces.video import Video

SPACES: dict[str, type[keras_tuner.HyperModel]] = {
    "sensor": Sensor,
    "video": Video,
    "seq2seq": Seq2Seq,
}
