"""What may be built: KerasTuner hypermodels by name; loading this package loads Keras."""

import keras_tuner

from spaces.sensor import Sensor

SPACES: dict[str, type[keras_tuner.HyperModel]] = {"sensor": Sensor}
