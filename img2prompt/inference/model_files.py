"""Checks a `.keras` file of others, what it unpacks to and builds, before Keras reads it.

A `.keras` file is a zip of `metadata.json`, `config.json` and `model.weights.h5`. Keras' safe mode
refuses code in it; it does not refuse a config of ten gigabytes, or weights that a kilobyte of HDF5
declares to be as large.
"""

import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import h5py

from img2prompt.core.arrays import (
    UNPACKED_BYTES,
    UNPACKED_TIMES,
    UnfitError,
    opened_zip,
    refused_if_unfit,
)
from img2prompt.core.errors import UserError
from img2prompt.core.files import parse_json

WEIGHTS = "model.weights.h5"  # the member that holds the weights
CONFIG = "config.json"
TEXTS = (CONFIG, "metadata.json")
TEXT_BYTES = 2**23  # of one of them; `gaze`, 190 layers, has 0.4 MB
DEPTH = 64  # of a config's nesting; ours have 12
LARGEST = 2**20  # a number in a config, such as a layer's width; the largest of ours is 57,600
NO_SIZES = ("shared_object_id", "seed")  # keys of numbers that may be of any size
SIDES = ("units", "filters", "output_dim")  # keys of how many numbers a layer gives
OBJECTS = 2**16  # groups and arrays of the weights; `gaze` has 800


def check_model_file(path: str | os.PathLike[str]) -> None:
    """Raise `UserError` for a file that is no `.keras` file, or needs far more than its size."""
    with (
        refused_if_unfit(
            lambda reason: UserError("inference.unfit_model", path=path, reason=reason)
        ),
        opened_zip(path) as (archive, members),
    ):
        if missing := {WEIGHTS, *TEXTS} - members.keys():
            raise UnfitError("core.lacks", name=min(missing))
        for name in TEXTS:
            if members[name].file_size > TEXT_BYTES:
                raise UnfitError("inference.text_too_large", name=name)
            value = _check_text(name, archive.read(name))
            if name == CONFIG and _bytes_built(value) > _most(members[WEIGHTS]):
                raise UnfitError("inference.asks_for_weights")
        _check_weights(archive, members[WEIGHTS])


def _check_text(name: str, data: bytes) -> Any:
    try:
        value = parse_json(data)
    except UserError as error:
        raise UnfitError("inference.no_json", name=name, reason=error) from None
    for depth, item in _items(value):
        if depth > DEPTH:
            raise UnfitError("inference.nests_too_deep", name=name)
        if isinstance(item, (int, float)) and abs(item) > LARGEST:
            raise UnfitError("inference.asks_for_too_much", name=name)
    return value


def _bytes_built(config: Any) -> int:
    """About the bytes that Keras allocates for the weights of a config's layers.

    It does so before it reads the file's weights, and 20 kB of config can ask for gigabytes. At
    least half the true number, for layers of `units`, `filters` or `output_dim`.
    """
    layers = [item for _, item in _items(config) if isinstance(item, dict)]
    widest = max((_number(n) for item in layers for n in item.values()), default=0)
    total = 0
    for layer in layers:
        inner, built = layer.get("config"), layer.get("build_config")
        inner = inner if isinstance(inner, dict) else {}
        out = max(_number(inner.get(key)) for key in SIDES)
        shape = built.get("input_shape") if isinstance(built, dict) else None
        # Keras builds a layer for the shape in `build_config`, or else for that of its input.
        came = _number(shape[-1]) if isinstance(shape, list) and shape else widest
        came = max(came, _number(inner.get("input_dim")), 1)
        kernel = inner.get("kernel_size")
        window = math.prod(_number(n) or 1 for n in kernel) if isinstance(kernel, list) else 1
        gates = 4 if "recurrent_activation" in inner else 1
        total += 4 * gates * out * (came * window + (out if gates > 1 else 0))
    return total


def _number(value: Any) -> int:
    """A positive number of a config; 0 for anything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if plain and value > 0 else 0


def _most(member: zipfile.ZipInfo) -> int:
    return max(UNPACKED_TIMES * member.file_size, UNPACKED_BYTES)


def _items(value: Any) -> Iterator[tuple[int, Any]]:
    """Every value inside a value, but `NO_SIZES`, with its depth.

    Not by recursion, which a deep one would stop.
    """
    waiting = [(0, value)]
    while waiting:
        depth, item = waiting.pop()
        yield depth, item
        inner: Iterable[Any] = item if isinstance(item, list) else ()
        if isinstance(item, dict):
            inner = (part for key, part in item.items() if key not in NO_SIZES)
        waiting.extend((depth + 1, part) for part in inner)


def _check_weights(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    most = _most(member)
    declared = objects = 0

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal declared, objects
        objects += 1
        if objects > OBJECTS:
            raise UnfitError("inference.too_many_weights")
        if isinstance(item, h5py.Group):
            if any(not isinstance(item.get(n, getlink=True), h5py.HardLink) for n in item):
                raise UnfitError("inference.weights_elsewhere")
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise UnfitError("inference.weights_elsewhere")
            if item.dtype.kind not in "biuf":
                raise UnfitError("inference.weights_no_numbers")
            declared += item.size * item.dtype.itemsize
            if declared > most:
                raise UnfitError("inference.weights_declare_more")

    with h5py.File(io.BytesIO(archive.read(member)), "r") as file:
        look("", file)
        file.visititems(look)
