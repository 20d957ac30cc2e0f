"""A frozen CNN in EfficientNet-Lite2's place, small enough to be trained on many times.

What is said of training on features holds for any backbone, and building, tracing and saving the
real one's 150 layers costs more than the training. The chain of `make assets` trains on that.
"""

from img2prompt.core.backend import keras
from img2prompt.models.backbones import BACKBONES

NAME = "efficientnet_lite2"
CHANNELS = 1408  # what the real one's classifier takes


def build(side: int) -> keras.Model:
    """float32 (b, side, side, 3) in [0, 1] → (b, side / 8, side / 8, 1408); always the same."""
    inputs = keras.Input((side, side, 3))
    weights = keras.initializers.RandomNormal(stddev=0.2, seed=1)
    x = keras.layers.Conv2D(CHANNELS, 8, strides=8, kernel_initializer=weights)(inputs)
    return keras.Model(inputs, keras.layers.ReLU(6.0)(x), name=NAME)


def use() -> None:
    """Use it from now on, in this process."""
    BACKBONES[NAME] = build
