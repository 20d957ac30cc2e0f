"""Checks a `.keras` file of others, what it unpacks to and builds, before Keras reads it.

A `.keras` file is a zip of `metadata.json`, `config.json` and `model.weights.h5`. Keras' safe mode
refuses code in it; it does not refuse a config of ten gigabytes, or weights that a kilobyte of HDF5
declares to be as large.
"""

import contextlib
import io
import math
import os
import re
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
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
from img2prompt.core.printable import one_line

WEIGHTS = "model.weights.h5"  # the member that holds the weights
CONFIG = "config.json"
TEXTS = (CONFIG, "metadata.json")
TEXT_BYTES = 2**23  # of one of them; `gaze`, 190 layers, has 0.4 MB
DEPTH = 64  # of a config's nesting; ours have 12
LARGEST = 2**20  # a number in a config, such as a layer's width; the largest of ours is 57,600
NO_SIZES = ("shared_object_id", "seed")  # keys of numbers, not of objects, of any size
SIDES = ("units", "filters", "output_dim")  # keys of how many numbers a layer gives
OBJECTS = 2**16  # groups and arrays of the weights; `gaze` has 800
# Packages that Keras imports by itself where a config names them. Of keras-hub a file of ours may
# hold an image encoder, and nothing else.
HUBS = ("keras_hub", "keras_nlp", "keras_cv")
ENCODER_LAYERS = 256  # of such an encoder; the deepest of keras-hub's has 48
_NAMES = ("class_name", "registered_name", "module", "config")  # where a config names a class
_BUILDING = threading.Lock()


def check_model_file(path: str | os.PathLike[str]) -> Any:
    """Raise `UserError` for a file that is no `.keras` file, or needs far more than its size.

    Returns:
        The model's config, as JSON gives it.
    """
    config: Any = None
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
            if name == CONFIG:
                config = value
        _check_hub_classes(config)
        if _bytes_built(config) > _most(members[WEIGHTS]):
            raise UnfitError("inference.asks_for_weights")
        _check_weights(archive, members[WEIGHTS])
    return config


def names_keras_hub(config: Any) -> bool:
    """Whether a model's config names classes of keras-hub."""
    return any(_hub_class(item) is not None for _, item in _items(config))


def _hub_class(item: Any) -> str | None:
    """The class of one of `HUBS` that a part of a config names; None where it names none."""
    if not isinstance(item, dict):
        return None
    names = [item[key] for key in _NAMES if isinstance(item.get(key), str)]
    packages = [re.split("[.>]", name, maxsplit=1)[0] for name in names]
    return str(item.get("class_name")) if any(name in HUBS for name in packages) else None


def _check_hub_classes(config: Any) -> None:
    for _, item in _items(config):
        # A registered class stands for itself wherever Keras expects a function, too.
        if isinstance(item, str) and ">" in item:
            package, _, registered = item.partition(">")
            if package in HUBS and not _is_encoder(registered):
                raise UnfitError("inference.no_hub_encoder", name=one_line(item)[:60])
        if (named := _hub_class(item)) is None:
            continue
        if not _is_encoder(named) or item.get("registered_name") != f"keras_hub>{named}":
            raise UnfitError("inference.no_hub_encoder", name=one_line(named)[:60])
        settings = item.get("config")
        if not isinstance(settings, dict) or _number(settings.get("num_layers")) > ENCODER_LAYERS:
            raise UnfitError("inference.asks_for_too_much", name=CONFIG)


def _is_encoder(name: str) -> bool:
    from img2prompt.models.hub_encoders import ENCODERS  # brings Keras with it

    return name in ENCODERS


@contextlib.contextmanager
def bounded_weights(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let this thread's Keras layers add no more weights than a checked `.keras` file may hold.

    The numbers of a config tell most sizes beforehand (`check_model_file`), but not those of layers
    with a weight for every place of their input, or of several products.

    Raises:
        UnfitError: they would be more; whatever Keras raised then.
    """
    from img2prompt.core.backend import keras

    layer, thread = keras.layers.Layer, threading.get_ident()
    left = max(UNPACKED_TIMES * Path(path).stat().st_size, UNPACKED_BYTES)

    def add_weight(self: Any, *values: Any, **named: Any) -> Any:
        nonlocal left
        if threading.get_ident() == thread:
            shape = named.get("shape", values[0] if values else ())
            sides = shape if isinstance(shape, list | tuple) else (shape,)
            left -= 4 * math.prod(side for side in sides if isinstance(side, int))
            if left < 0:
                raise UnfitError("inference.asks_for_weights")
        return plain(self, *values, **named)

    with _BUILDING:
        plain = layer.add_weight
        layer.add_weight = add_weight
        try:
            yield
        except Exception:
            if left < 0:
                raise UnfitError("inference.asks_for_weights") from None
            raise
        finally:
            layer.add_weight = plain


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
        total += _bytes_of_encoder(inner)
    return total


def _bytes_of_encoder(settings: dict[str, Any]) -> int:
    """About the bytes of the weights of a transformer of keras-hub that looks at pictures."""
    width, patch = _largest(settings.get("hidden_dim")), _largest(settings.get("patch_size"))
    inner = max(_largest(settings.get(key)) for key in ("intermediate_dim", "mlp_dim"))
    sides = (_largest(settings.get(key)) for key in ("image_shape", "position_embedding_shape"))
    places = sum((side // max(patch, 1)) ** 2 for side in sides)
    places += _largest(settings.get("num_register_tokens"))
    blocks = _largest(settings.get("num_layers")) * (4 * width + 2 * inner)
    return 4 * width * (blocks + 3 * patch**2 + places)


def _largest(value: Any) -> int:
    """The largest positive number of a value of a config, which may be a list; 0 for none."""
    return max((_number(item) for _, item in _items(value)), default=0)


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
            inner = (
                part
                for key, part in item.items()
                if key not in NO_SIZES or isinstance(part, dict | list)
            )
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
