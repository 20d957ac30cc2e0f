"""The preset `gaze` on a CNN of five convolutions, for 32-pixel pictures."""

import keras
import numpy as np

from img2prompt.embedding.vectors import WordVectors
from img2prompt.models import gaze
from img2prompt.models.layers import PooledStatistics


def small_gaze(vectors: WordVectors) -> keras.Model:
    """The preset `gaze` on a CNN of five convolutions."""
    inputs = x = keras.Input((32, 32, 3))
    pooled = []
    for number, width in enumerate((4, 5, 6, 7, 9)):
        x = keras.layers.Conv2D(width, 3, padding="same", strides=1 + number % 2)(x)
        pooled.append(PooledStatistics(name=f"pool{number}")(x))
    tower = keras.Model(inputs, keras.layers.Concatenate(name="features")(pooled))
    noise = np.random.default_rng(0).random((4, 32, 32, 3)).astype(np.float32)
    statistics = tower(noise).numpy()
    head = gaze.build_head(statistics.mean(axis=0), statistics.std(axis=0), vectors)
    return gaze.join(tower, head)
