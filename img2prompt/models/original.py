"""Preset `original`: the network that the student project's README describes.

Three convolutions each with max-pooling, dropout, flatten → an LSTM that emits ten steps, two
dense layers of 100, scaled tanh: ten vectors in the order of the prompt's first ten words.
"""

from img2prompt.core.backend import keras
from img2prompt.data.images import Fit
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.layers import ScaledTanh

STEPS = 10  # "about 10 words"


def build(vectors: WordVectors, side: int = 128, fit: Fit = "stretch") -> keras.Model:
    """float32 (b, side, side, 3) in [0, 1] → ten word vectors, float32 (b, 10, D)."""
    layers = keras.layers
    inputs = keras.Input((side, side, 3), name="image")
    x = inputs
    for number, filters in enumerate((32, 64, 64), start=1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)  # (b, 12544)
    x = layers.RepeatVector(STEPS)(x)
    # Unrolled: ten steps are few, and the file converts to other runtimes.
    x = layers.LSTM(100, return_sequences=True, unroll=True, name="lstm")(x)  # (b, 10, 100)
    x = layers.Dense(100, activation="relu", name="dense1")(x)
    x = layers.Dense(vectors.dimensions, name="dense2")(x)
    x = layers.Activation("linear", dtype="float32")(x)
    x = ScaledTanh(
        vectors.minimum, vectors.maximum, vectors.fingerprint, fit, name="vectors", dtype="float32"
    )(x)
    return keras.Model(inputs, x, name="original")
