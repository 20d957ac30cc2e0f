"""`.keras` files that come from others: what they unpack and build is checked before Keras looks.

A `.keras` file is a zip of `metadata.json`, `config.json` and `model.weights.h5`. Keras' safe mode
refuses code in it; it does not refuse a config of ten gigabytes, or weights that a kilobyte of HDF5
declares to be as large.
"""

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import h5py

from img2prompt.arrays import UNPACKED_BYTES, UNPACKED_TIMES, UnfitError, opened_zip, told_unfit
from img2prompt.files import parse_json

WEIGHTS = "model.weights.h5"  # the member that holds the weights
CONFIG = "config.json"
TEXTS = (CONFIG, "metadata.json")
TEXT_BYTES = 2**23  # of one of them; `gaze`, 190 layers, has 0.4 MB
DEPTH = 64  # of a config's nesting; ours have 12
LARGEST = 2**20  # a number in a config, such as a layer's width; the largest of ours is 57,600
NO_SIZES = ("shared_object_id", "seed")  # keys of numbers that may be of any size
OBJECTS = 2**16  # groups and arrays of the weights; `gaze` has 800


def check_model_file(path: str | os.PathLike, mend: str) -> None:
    """Raise `UserError` where a `.keras` file is none, or asks for more than its size is worth.

    Args:
        path: the file.
        mend: what to do then, the sentence's end.
    """
    with (
        told_unfit(path, "is not a model we can load", mend),
        opened_zip(path) as (archive, members),
    ):
        if missing := {WEIGHTS, *TEXTS} - members.keys():
            raise UnfitError(f"it lacks {min(missing)}")
        for name in TEXTS:
            if members[name].file_size > TEXT_BYTES:
                raise UnfitError(f"its {name} is too large")
            _check_text(name, archive.read(name))
        _check_weights(archive, members[WEIGHTS])


def _check_text(name: str, data: bytes) -> None:
    try:
        value = parse_json(data)
    except ValueError as error:
        raise UnfitError(f"its {name} is no JSON: {error}") from None
    for depth, item in _items(value):
        if depth > DEPTH:
            raise UnfitError(f"its {name} nests too deep")
        if isinstance(item, (int, float)) and abs(item) > LARGEST:
            raise UnfitError(f"its {name} asks for too much")


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
    most = max(UNPACKED_TIMES * member.file_size, UNPACKED_BYTES)
    declared = objects = 0

    def look(_: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal declared, objects
        objects += 1
        if objects > OBJECTS:
            raise UnfitError("its weights have too many parts")
        if isinstance(item, h5py.Group):
            if any(not isinstance(item.get(n, getlink=True), h5py.HardLink) for n in item):
                raise UnfitError("its weights lead to other files")
        elif isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise UnfitError("its weights lead to other files")
            if item.dtype.kind not in "biuf":
                raise UnfitError("its weights are no numbers")
            declared += item.size * item.dtype.itemsize
            if declared > most:
                raise UnfitError("its weights declare more than they hold")

    with h5py.File(io.BytesIO(archive.read(member)), "r") as file:
        look("", file)
        file.visititems(look)
