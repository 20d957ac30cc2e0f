"""Preset `gaze`, the default: a pretrained CNN looks, an LSTM says ten word vectors.

The CNN's channel statistics at every stage (what is in the picture, and how it is drawn) feed a
dense layer, an LSTM of ten steps and two dense layers, and end in the scaled tanh. Beside them
goes the evidence of the CNN's own classifier: the mean direction, in the embedding, of the ImageNet
classes it sees, so that words come up which no training prompt taught. The CNN is frozen; the head
trains from cached features in minutes on two CPU cores.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from img2prompt.core.backend import keras
from img2prompt.data.images import Fit
from img2prompt.embedding.class_words import Classes
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.backbones import Classifier, load_backbone, stage_outputs
from img2prompt.models.layers import PooledStatistics, ScaledTanh
from img2prompt.models.tower import CLASSES, WORDS, around, class_probabilities

STEPS = 10  # "about ten word vectors"
LOOK, STEP, LSTM = 512, 128, 256  # widths of the dense layer, of each step's part, of the LSTM
DROPOUT = 0.4
WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class Evidence:
    """What turns some of the tower's features into a direction in the embedding.

    Attributes:
        kernel: float32 (C, classes), from C features to logits: a CNN's last channel means.
        bias: float32 (classes,).
        directions: float32 (classes, M), the classes' `directions`, scaled.
        behind: how many features stand behind the C; unset, C (the last map's deviations).
    """

    kernel: np.ndarray
    bias: np.ndarray
    directions: np.ndarray
    behind: int | None = None

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        class_words: Classes,
        vectors: WordVectors,
        sample: np.ndarray,
    ) -> "Evidence":
        """From a backbone's classifier.

        Args:
            classifier: of the backbone.
            class_words: what each class says.
            vectors: the embedding.
            sample: channel statistics (m, F) of training pictures; over them each of the
                directions gets unit spread.
        """
        directions = class_words.directions(vectors)
        kernel, bias = tempered(classifier)
        bare = cls(kernel, bias, directions, classifier.behind)
        blocks = np.array_split(sample, -(-len(sample) // 512))  # words may be the classes
        seen = np.concatenate([bare.probabilities(block) @ directions for block in blocks])
        # Pictures that are all alike have hardly any spread; divided by it they would saturate
        # the network. Real data lie above this floor (0.2 of the mean at the least).
        spread = np.maximum(seen.std(axis=0), 0.1 * np.abs(seen.mean(axis=0)))
        return dataclasses.replace(bare, directions=directions / (spread + 1e-6))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Channel statistics (b, F) → class probabilities (b, classes), as the head computes."""
        return class_probabilities(features, self.kernel, self.bias, self.behind)


def tempered(classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a backbone's classifier, less sure of itself by its temperature."""
    return (classifier.kernel / classifier.temperature, classifier.bias / classifier.temperature)


def build_tower(backbone: str, side: int) -> keras.Model:
    """The frozen part: float32 (b, side, side, 3) in [0, 1] → channel statistics (b, F).

    Of maps their statistics; what the backbone gives for the whole picture stands behind as it is.

    Raises:
        UserError: unknown backbone, or its weights cannot be had.
    """
    cnn = load_backbone(backbone, side)
    pooled = [
        PooledStatistics(name=f"pool{i}")(x) if len(x.shape) == 4 else x
        for i, x in enumerate(stage_outputs(cnn))
    ]
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
    seen = _class_direction(inputs, evidence) if evidence is not None else None  # (b, M)
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
    """Channel statistics (b, F) → mean direction of the classes seen, (b, M); frozen."""
    layers = keras.layers
    width, channels = features.shape[-1], len(evidence.kernel)
    x = layers.Reshape((width, 1), name="statistics")(features)
    x = layers.Cropping1D(around(width, channels, evidence.behind), name="last_means")(x)
    x = layers.Reshape((channels,), name="means")(x)
    # Probabilities need more digits than half precision has.
    name = CLASSES if evidence.behind is None else WORDS
    classes = layers.Dense(
        len(evidence.bias), "softmax", trainable=False, name=name, dtype="float32"
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
