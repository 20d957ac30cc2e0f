"""Backbone features of prepared pictures, computed once and kept beside their shards.

`PREPARED/features/<name>/part-000001.npy`, float16 (n, F): a frozen backbone gives the same
features every epoch, so a head trains from them hundreds of times faster.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from img2prompt.core.arrays import map_array
from img2prompt.core.files import atomic_path, sweep
from img2prompt.data.images import to_float
from img2prompt.data.shards import ShardIndex
from img2prompt.models.hub_encoders import is_hub_encoder

BATCH = 64


def cache_name(backbone: str, tower: Any) -> str:
    """The name that a tower's features are kept under, fit for a folder.

    One of our own backbones has its own name. An encoder of keras-hub has a digest of its weights
    and settings in it, because `keras_hub:a/b` may hold others tomorrow.

    Args:
        backbone: what `--backbone` says.
        tower: `gaze.build_tower` of it.
    """
    if not is_hub_encoder(backbone):
        return backbone
    told = [*_settings([layer.get_config() for layer in tower.layers])]
    digest = hashlib.sha256(json.dumps(told, default=str).encode())
    for weights in tower.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", backbone.rstrip("/").rpartition("/")[2])[-40:]
    return f"{plain.removeprefix('keras_hub-')}-{digest.hexdigest()[:12]}"


def _settings(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a config in their order, but names of layers, which count up."""
    if isinstance(value, dict):
        for name, item in sorted(value.items()):
            if name not in ("name", "trainable", "module"):
                yield from _settings(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _settings(item, key)
    else:
        yield key, value


def feature_path(folder: Path, name: str, shard: str) -> Path:
    """Where a shard's features lie, of what `cache_name` names."""
    return folder / "features" / name / f"{shard}.npy"


def cache_features(tower: Any, name: str, shards: Sequence[tuple[Path, str]]) -> None:
    """Compute what is missing, a shard at a time, each file written atomically.

    Args:
        tower: Keras model, float32 (b, side, side, 3) in [0, 1] → float32 (b, F).
        name: the name the features are kept under, `cache_name`.
        shards: prepared folder and name of each.
    """
    from img2prompt.core.backend import tf

    for place in {feature_path(folder, name, shard).parent for folder, shard in shards}:
        sweep(place)
    todo = [(folder, shard) for folder, shard in shards if not _is_cached(folder, name, shard)]
    call = tf.function(lambda pixels: tower(pixels, training=False), reduce_retracing=True)
    for folder, shard in tqdm(todo, unit="shard", desc=f"features of {name}", disable=not todo):
        pixels = map_array(folder / f"{shard}.npy")
        blocks = [
            call(tf.constant(to_float(pixels[start : start + BATCH]))).numpy()
            for start in range(0, len(pixels), BATCH)
        ]
        features = np.concatenate(blocks) if blocks else np.empty((0, tower.output_shape[-1]))
        with atomic_path(feature_path(folder, name, shard)) as temporary:
            np.save(temporary, features.astype(np.float16))


def float_feature_reader(
    pictures: ShardIndex, name: str
) -> Callable[[NDArray[np.integer]], NDArray[np.float32]]:
    """Positions (b,) → cached features as training and baselines take them, float32 (b, F)."""
    stored = pictures.reader(lambda folder, shard: feature_path(folder, name, shard))
    return lambda index: stored(index).astype(np.float32)


def _is_cached(folder: Path, name: str, shard: str) -> bool:
    """Whether a shard's features are there and have its number of rows."""
    pictures = map_array(folder / f"{shard}.npy")
    try:
        features = map_array(feature_path(folder, name, shard))
    except (OSError, EOFError, ValueError):
        return False
    return len(features) == len(pictures)
