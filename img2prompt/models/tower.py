"""The part of a model that sees: what it is, a fingerprint of it, the classes it tells apart."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

FEATURES = "features"  # the layer of `gaze.build_tower` that the head reads
CLASSES = "classes"  # that of `gaze.build_head` that tells classes apart by the last channel means


def tower_of(model: Any) -> Any | None:
    """Pictures float32 (b, side, side, 3) → the output of the model's layer `features`, (b, F).

    None where the model has no such layer of its own. Its head has an input of that name.
    """
    from img2prompt.core.backend import keras

    for layer in model.layers:
        named = layer.name == FEATURES and not isinstance(layer, keras.layers.InputLayer)
        if named and len(layer.output.shape) == 2:  # what a stranger calls so may be anything
            return keras.Model(model.input, layer.output)
    return None


def tower_fingerprint(tower: Any) -> str:
    """16 hexadecimal digits of a tower's weights.

    They are rounded to half precision, so a model that ships has those of the run it is from.
    """
    digest = hashlib.sha256()
    for weight in tower.weights:
        digest.update(weight.numpy().astype(np.float16).tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class SeenClasses:
    """Channel statistics (b, F) → class probabilities float32 (b, classes).

    Attributes:
        kernel, bias: float32 (C, classes) and (classes,), of the layer `classes`.
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return class_probabilities(features, self.kernel, self.bias)


def classifier_of(model: Any, width: int) -> SeenClasses | None:
    """The classes that a model's layer `classes` tells apart; None without one.

    Args:
        model: with a tower.
        width: F, of the tower's features.
    """
    for layer in all_layers(model):
        weights = layer.get_weights() if layer.name == CLASSES else []
        if [array.ndim for array in weights] == [2, 1] and 2 * len(weights[0]) <= width:
            return SeenClasses(*(np.asarray(array, np.float32) for array in weights))
    return None


def class_probabilities(features: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Channel statistics (b, F) → class probabilities (b, classes).

    Args:
        features: of the tower.
        kernel, bias: (C, classes) and (classes,), of the layer `classes`.
    """
    channels = len(kernel)  # the last two blocks of F are the last stage's
    logits = features[:, -2 * channels : -channels] @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True)


def all_layers(model: Any) -> Iterator[Any]:
    """The layers of a model, and of the models within it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from all_layers(layer)
