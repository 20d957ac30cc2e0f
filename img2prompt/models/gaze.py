"""Preset `gaze`, the default: a pretrained CNN looks, an LSTM says ten word vectors.

The CNN's channel statistics at every stage (what is in the picture, and how it is drawn) feed a
dense layer, an LSTM of ten steps and two dense layers, and end in the scaled tanh. Beside them
goes the evidence of the CNN's own classifier: the mean direction, in the embedding, of the ImageNet
classes it sees, so that words come up which no training prompt taught. The CNN is frozen; the head
trains from cached features in minutes on two CPU cores.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from img2prompt.core.backend import keras
from img2prompt.data.images import Fit
from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.backbones import Classifier, load_backbone, stage_outputs
from img2prompt.models.layers import PooledStatistics, ScaledTanh
from img2prompt.models.tower import class_probabilities

STEPS = 10  # "about ten word vectors"
LOOK, STEP, LSTM = 512, 128, 256  # widths of the dense layer, of each step's part, of the LSTM
DROPOUT = 0.4
WEIGHT_DECAY = 1e-4
# Logits are divided by it: the pictures are smaller than those the classifier learned from, and
# drawn rather than photographed, so that it is surer than it should be.
TEMPERATURE = 1.5


@dataclass(frozen=True)
class Evidence:
    """What turns the CNN's last statistics into a direction in the embedding.

    Attributes:
        kernel: float32 (C, classes), from the last stage's channel means to logits.
        bias: float32 (classes,).
        directions: float32 (classes, 2D), `ClassWords.directions`, scaled.
    """

    kernel: np.ndarray
    bias: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        class_words: ClassWords,
        vectors: WordVectors,
        sample: np.ndarray,
    ) -> "Evidence":
        """From a backbone's classifier.

        Args:
            classifier: of the backbone.
            class_words: what prompts say beside each class.
            vectors: the embedding.
            sample: channel statistics (m, F) of training pictures; over them each of the 2D
                directions gets unit spread.
        """
        directions = class_words.directions(vectors)
        bare = cls(*tempered(classifier), directions)
        seen = bare.probabilities(sample) @ directions
        # Pictures that are all alike have hardly any spread; divided by it they would saturate
        # the network. Real data lie above this floor (0.2 of the mean at the least).
        spread = np.maximum(seen.std(axis=0), 0.1 * np.abs(seen.mean(axis=0)))
        return cls(bare.kernel, bare.bias, directions / (spread + 1e-6))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Channel statistics (b, F) → class probabilities (b, classes), as the head computes."""
        return class_probabilities(features, self.kernel, self.bias)


def tempered(classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a backbone's classifier, less sure of itself by `TEMPERATURE`."""
    return classifier.kernel / TEMPERATURE, classifier.bias / TEMPERATURE


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
    mean: np.ndarray,
    deviation: np.ndarray,
    vectors: WordVectors,
    fit: Fit = "stretch",
    evidence: Evidence | None = None,
) -> keras.Model:
    """The trained part: channel statistics (b, F) → ten word vectors (b, 10, D).

    Args:
        mean, deviation: float (F,), of the training pictures' statistics.
        vectors: the embedding to predict.
        fit: how the training pictures were made square.
        evidence: of the backbone's classifier; None leaves that branch out.
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
    seen = _class_direction(inputs, evidence) if evidence is not None else None  # (b, 2D)
    if seen is not None:
        x = layers.Concatenate(name="look_and_classes")([x, seen])
    # A part of the dense layer for each step. With the same input at every step the ten vectors
    # stayed one vector: nothing told them apart.
    x = layers.Dense(STEPS * STEP, activation="gelu", name="parts")(x)
    x = layers.Reshape((STEPS, STEP), name="steps")(x)
    x = layers.LSTM(LSTM, return_sequences=True, unroll=True, name="lstm")(x)
    x = layers.Dense(LSTM, activation="gelu", name="dense1")(x)
    x = layers.Dropout(DROPOUT / 2)(x)
    y = layers.Dense(vectors.dimensions, name="dense2")(x)
    if seen is not None:
        # Each step may pass the classes' direction on, turned its own way: both live in the
        # embedding, so a class that no training picture showed still leads to its words.
        turned = layers.Dense(STEPS * vectors.dimensions, name="turn")(seen)
        turned = layers.Reshape((STEPS, vectors.dimensions), name="turned")(turned)
        gate = layers.Dense(1, activation="sigmoid", name="gate")(x)
        y = layers.Add(name="said")([y, layers.Multiply(name="passed")([gate, turned])])
    y = layers.Activation("linear", dtype="float32")(y)
    y = ScaledTanh(
        vectors.minimum, vectors.maximum, vectors.fingerprint, fit, name="vectors", dtype="float32"
    )(y)
    return keras.Model(inputs, y, name="head")


def _class_direction(features: Any, evidence: Evidence) -> Any:
    """Channel statistics (b, F) → mean direction of the classes seen, (b, 2D); frozen."""
    layers = keras.layers
    width, channels = features.shape[-1], len(evidence.kernel)
    x = layers.Reshape((width, 1), name="statistics")(features)
    x = layers.Cropping1D((width - 2 * channels, channels), name="last_means")(x)
    x = layers.Reshape((channels,), name="means")(x)
    # Probabilities need more digits than half precision has.
    classes = layers.Dense(
        len(evidence.bias), "softmax", trainable=False, name="classes", dtype="float32"
    )
    direction = layers.Dense(
        evidence.directions.shape[1],
        use_bias=False,
        trainable=False,
        name="class_direction",
        dtype="float32",
    )
    x = direction(classes(x))
    classes.set_weights([evidence.kernel, evidence.bias])
    direction.set_weights([evidence.directions])
    return x


def join(tower: keras.Model, head: keras.Model) -> keras.Model:
    """Tower and head as one model: pictures in, vectors out, nothing to download."""
    return keras.Model(tower.input, head(tower.output), name="gaze")
