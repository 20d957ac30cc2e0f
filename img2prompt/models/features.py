"""Backbone features of prepared pictures, computed once and kept beside their shards.

`PREPARED/features/<backbone>/part-000001.npy`, float16 (n, F): a frozen backbone gives the same
features every epoch, so a head trains from them hundreds of times faster.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from img2prompt.core.arrays import map_array
from img2prompt.core.files import atomic_path, sweep
from img2prompt.data.images import to_float
from img2prompt.data.shards import ShardIndex

BATCH = 64


def feature_path(folder: Path, backbone: str, shard: str) -> Path:
    """Where a shard's features lie."""
    return folder / "features" / backbone / f"{shard}.npy"


def cache_features(tower: Any, backbone: str, shards: Sequence[tuple[Path, str]]) -> None:
    """Compute what is missing, a shard at a time, each file written atomically.

    Args:
        tower: Keras model, float32 (b, side, side, 3) in [0, 1] → float32 (b, F).
        backbone: the name the features are kept under.
        shards: prepared folder and name of each.
    """
    from img2prompt.core.backend import tf

    for place in {feature_path(folder, backbone, shard).parent for folder, shard in shards}:
        sweep(place)
    todo = [(folder, shard) for folder, shard in shards if not _is_cached(folder, backbone, shard)]
    call = tf.function(lambda pixels: tower(pixels, training=False), reduce_retracing=True)
    for folder, shard in tqdm(todo, unit="shard", desc=f"features of {backbone}", disable=not todo):
        pixels = map_array(folder / f"{shard}.npy")
        blocks = [
            call(tf.constant(to_float(pixels[start : start + BATCH]))).numpy()
            for start in range(0, len(pixels), BATCH)
        ]
        features = np.concatenate(blocks) if blocks else np.empty((0, tower.output_shape[-1]))
        with atomic_path(feature_path(folder, backbone, shard)) as temporary:
            np.save(temporary, features.astype(np.float16))


def float_feature_reader(
    pictures: ShardIndex, backbone: str
) -> Callable[[NDArray[np.integer]], NDArray[np.float32]]:
    """Positions (b,) → cached features as training and baselines take them, float32 (b, F)."""
    stored = pictures.reader(lambda folder, shard: feature_path(folder, backbone, shard))
    return lambda index: stored(index).astype(np.float32)


def _is_cached(folder: Path, backbone: str, shard: str) -> bool:
    """Whether a shard's features are there and have its number of rows."""
    pictures = map_array(folder / f"{shard}.npy")
    try:
        features = map_array(feature_path(folder, backbone, shard))
    except (OSError, EOFError, ValueError):
        return False
    return len(features) == len(pictures)
