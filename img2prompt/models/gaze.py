"""Preset `gaze`, the default: a pretrained CNN looks, an LSTM says ten word vectors.

The CNN's channel statistics at every stage (what is in the picture, and how it is drawn) feed a
dense layer, an LSTM of ten steps and two dense layers, and end in the scaled tanh. The CNN is
frozen; the head trains from cached features in minutes on two CPU cores.
"""

import keras
import numpy as np

from img2prompt.embedding import WordVectors
from img2prompt.images import Fit
from img2prompt.models.backbones import load_backbone, stage_outputs
from img2prompt.models.layers import PooledStatistics, ScaledTanh

STEPS = 10  # "about ten word vectors"
LOOK, STEP, LSTM = 512, 128, 256  # widths of the dense layer, of each step's part, of the LSTM
DROPOUT = 0.4
WEIGHT_DECAY = 1e-4


def build_tower(backbone: str, side: int) -> keras.Model:
    """The frozen part: float32 (b, side, side, 3) in [0, 1] → channel statistics (b, F).

    Raises:
        UserError: unknown backbone, or its weights cannot be had.
    """
    cnn = load_backbone(backbone, side)
    pooled = [PooledStatistics(name=f"pool{i}")(x) for i, x in enumerate(stage_outputs(cnn))]
    features = keras.layers.Concatenate(name="features")(pooled)
    tower = keras.Model(cnn.input, features, name="tower")
    tower.trainable = False
    return tower


def build_head(
    mean: np.ndarray, deviation: np.ndarray, vectors: WordVectors, fit: Fit = "stretch"
) -> keras.Model:
    """The trained part: channel statistics (b, F) → ten word vectors (b, 10, D).

    Args:
        mean, deviation: float (F,), of the training pictures' statistics.
        vectors: the embedding to predict.
        fit: how the training pictures were made square.
    """
    layers = keras.layers
    inputs = keras.Input((len(mean),), name="features")
    x = layers.Normalization(mean=mean, variance=np.square(deviation) + 1e-6, name="normalise")(
        inputs
    )
    # Statistics have long tails; one extreme channel must not drown the others.
    x = layers.ReLU(max_value=12.0, name="clip")(layers.Rescaling(1.0, offset=6.0)(x))
    x = layers.Rescaling(1.0, offset=-6.0)(x)
    x = layers.Dropout(DROPOUT)(x)
    x = layers.Dense(LOOK, activation="gelu", name="look")(x)
    x = layers.Dropout(DROPOUT)(x)
    # A part of the dense layer for each step. With the same input at every step the ten vectors
    # stayed one vector: nothing told them apart.
    x = layers.Dense(STEPS * STEP, activation="gelu", name="parts")(x)
    x = layers.Reshape((STEPS, STEP), name="steps")(x)
    x = layers.LSTM(LSTM, return_sequences=True, unroll=True, name="lstm")(x)
    x = layers.Dense(LSTM, activation="gelu", name="dense1")(x)
    x = layers.Dropout(DROPOUT / 2)(x)
    x = layers.Dense(vectors.dimensions, name="dense2")(x)
    x = layers.Activation("linear", dtype="float32")(x)
    x = ScaledTanh(
        vectors.minimum, vectors.maximum, vectors.fingerprint, fit, name="vectors", dtype="float32"
    )(x)
    return keras.Model(inputs, x, name="head")


def join(tower: keras.Model, head: keras.Model) -> keras.Model:
    """Tower and head as one model: pictures in, vectors out, nothing to download."""
    return keras.Model(tower.input, head(tower.output), name="gaze")
