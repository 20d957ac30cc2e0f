"""The part of a model that sees: what it is, and a fingerprint of it."""

import hashlib
from typing import Any

import numpy as np

FEATURES = "features"  # the layer of `gaze.build_tower` that the head reads


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
