"""Preset `notebook`: the network that the student project's notebook really trained.

Two convolutions with max-pooling, dropout .25, `Reshape((1, -1))`, LSTM(100), dropout .5, one
Dense(100) with L2, scaled tanh: one vector a picture, whose ten nearest words are "the prompt".
"""

from img2prompt.core.backend import keras
from img2prompt.data.images import Fit
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.layers import ChannelStretch, ScaledTanh


def build(vectors: WordVectors, side: int = 128, fit: Fit = "stretch") -> keras.Model:
    """float32 (b, side, side, 3) in [0, 1] → one word vector, float32 (b, 1, D)."""
    layers = keras.layers
    inputs = keras.Input((side, side, 3), name="image")
    x = ChannelStretch(name="stretch")(inputs)
    for number, filters in enumerate((32, 64), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Reshape((1, -1))(x)  # (b, 1, 57600)
    x = layers.LSTM(100, name="lstm")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(vectors.dimensions, kernel_regularizer="l2", name="dense")(x)
    x = layers.Activation("linear", dtype="float32")(x)
    x = ScaledTanh(vectors.minimum, vectors.maximum, vectors.fingerprint, fit, dtype="float32")(x)
    x = layers.Reshape((1, vectors.dimensions), name="vectors", dtype="float32")(x)
    return keras.Model(inputs, x, name="notebook")
