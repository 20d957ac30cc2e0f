"""Intermediate outputs of a model for one picture, as the Learn tab shows them.

Pixels, feature maps at a few depths, the LSTM's output at each step, the vectors and the words, all
from the layers that answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.data import images
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import Predictor

DEPTHS = 3  # early, middle, late: enough to see that maps get smaller and tell more
CHANNELS = 6  # maps shown of each depth
NEAREST = 5  # words shown of each step


@dataclass(frozen=True)
class FeatureMaps:
    """Some channels of one layer's output.

    Attributes:
        layer: the layer's name in the model.
        total: how many channels the layer has.
        channels: int64 (k,), the channels shown: those that vary most over the picture.
        maps: float32 (k, h, w), their values.
    """

    layer: str
    total: int
    channels: NDArray[np.int64]
    maps: NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """One step of the LSTM.

    Attributes:
        output: float32 (units,), the LSTM's output, each value in (−1, 1).
        vector: float32 (D,), the word vector that the layers after it make of it.
        nearest: the answerable words nearest to the vector, (word, cosine), best first.
    """

    output: NDArray[np.float32]
    vector: NDArray[np.float32]
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Activations:
    """Intermediate outputs of one model for one picture.

    Attributes:
        pixels: float32 (side, side, 3) in [0, 1], the input of the first convolution.
        depths: up to `DEPTHS` layers, from early to late.
        steps: one a step, in order; `notebook` has a single one.
        vectors: float32 (steps, D), the model's output.
        cosines: float32 (steps, steps) in [−1, 1], of every vector with every other.
        prediction: the answer made of these vectors.
    """

    pixels: NDArray[np.float32]
    depths: tuple[FeatureMaps, ...]
    steps: tuple[Step, ...]
    vectors: NDArray[np.float32]
    cosines: NDArray[np.float32]
    prediction: Prediction


def activations(predictor: Predictor, image: images.ImageSource, words: int = 10) -> Activations:
    """Answer one picture and keep the intermediate outputs.

    Args:
        predictor: one of our presets.
        image: as `images.open_image` takes it.
        words: how many words the answer has.

    Raises:
        ImageError: the picture cannot be used.
        UserError: `words` out of range.
    """
    pixels = images.preprocess(image, predictor.side, predictor.fit)[None]
    seen, layers, said, vectors = _run(predictor.model, pixels)
    positions, cosines = predictor.vectors.nearest(vectors, NEAREST, answers_only=True)
    names = predictor.vectors.words
    steps = tuple(
        Step(output, vector, tuple((names[p], float(c)) for p, c in zip(*near, strict=True)))
        for output, vector, *near in zip(said, vectors, positions, cosines, strict=True)
    )
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return Activations(
        pixels=seen,
        depths=tuple(_strongest(name, maps) for name, maps in layers),
        steps=steps,
        vectors=vectors,
        cosines=np.clip(unit @ unit.T, -1.0, 1.0),
        prediction=predictor.decode(vectors, words),
    )


def _run(
    model: Any, pixels: NDArray[np.float32]
) -> tuple[
    NDArray[np.float32],
    list[tuple[str, NDArray[np.float32]]],
    NDArray[np.float32],
    NDArray[np.float32],
]:
    """The outputs of the layers in between for one picture (1, side, side, 3).

    Returns:
        The input of the first convolution (side, side, 3), (layer, feature maps (h, w, c)) at each
        depth, the LSTM's outputs (steps, units), and the vectors (steps, D).
    """
    from img2prompt.core.backend import keras
    from img2prompt.models.layers import ChannelStretch, PooledStatistics

    stretch = [layer for layer in model.layers if isinstance(layer, ChannelStretch)]
    seen = stretch[0].output if stretch else model.input
    # `gaze` has its maps where it pools their statistics, the others after each max pooling.
    ends = [(x.input, x.name) for x in model.layers if isinstance(x, PooledStatistics)]
    if not ends:
        pools = [x for x in model.layers if isinstance(x, keras.layers.MaxPooling2D)]
        ends = [(x.output, x.name) for x in pools]
    ends = [ends[place] for place in _spread(len(ends))]
    # The head of `gaze` is a model within the model; its layers have graphs of their own.
    head = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
    inner = head if head is not None else model
    lstm = next(layer for layer in inner.layers if isinstance(layer, keras.layers.LSTM))
    outputs = {"seen": seen, **{f"map{i}": tensor for i, (tensor, _) in enumerate(ends)}}
    if head is None:
        outputs |= {"said": lstm.output, "vectors": model.output}
        values = keras.Model(model.input, outputs)(pixels, training=False)
    else:
        before = model.layers[model.layers.index(head) - 1].output
        values = keras.Model(model.input, outputs | {"before": before})(pixels, training=False)
        after = keras.Model(head.input, {"said": lstm.output, "vectors": head.output})
        values = values | after(values["before"], training=False)
    values = {name: np.asarray(value, dtype=np.float32)[0] for name, value in values.items()}
    layers = [(name, values[f"map{i}"]) for i, (_, name) in enumerate(ends)]
    return values["seen"], layers, np.atleast_2d(values["said"]), values["vectors"]


def _spread(count: int) -> Sequence[int]:
    """Positions of up to `DEPTHS` of `count` layers; more early ones, whose maps are large."""
    return range(count) if count <= DEPTHS else (0, count // 3, count - 1)


def _strongest(layer: str, maps: NDArray[np.float32]) -> FeatureMaps:
    order = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:CHANNELS]
    return FeatureMaps(layer, maps.shape[-1], order, np.moveaxis(maps[..., order], -1, 0).copy())
