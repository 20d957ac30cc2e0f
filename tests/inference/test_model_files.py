"""`.keras` files of others: what they would unpack and build is checked before Keras opens them."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.inference.artifacts import ASSETS
from img2prompt.inference.model_files import CONFIG, WEIGHTS, check_model_file, names_keras_hub
from img2prompt.inference.predictor import load_model
from img2prompt.training.ship import write_half_precision

MB = 2**20


@pytest.fixture(scope="module")
def members(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a good file holds."""
    path = tmp_path_factory.mktemp("good") / "good.keras"
    tiny_model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def weights(make: Callable[[h5py.File], object]) -> dict[str, bytes]:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        make(file)
    return {WEIGHTS: buffer.getvalue()}


def config(change: Callable[[dict], object], good: bytes) -> dict[str, bytes]:
    value = json.loads(good)
    change(value)
    return {CONFIG: json.dumps(value).encode()}


def layers(value: dict) -> list[dict]:
    return value["config"]["layers"]


def widen(value: dict) -> None:
    """Two layers of 20,000 numbers, whose weights would take 1.6 GB."""
    wide = {"class_name": "Dense", "config": {"units": 20_000}}
    layers(value).extend([wide, wide])


def hub_class(name: str, registered: str | None = None, **settings: object) -> Callable:
    """A layer that names a class of keras-hub."""
    part = {
        "module": "keras_hub.src.models",
        "class_name": name,
        "registered_name": registered,
        "config": {"num_layers": 2, "hidden_dim": 64, "intermediate_dim": 64} | settings,
    }
    holder = {"class_name": "HubEncoder", "config": {"encoder": part}}
    return lambda members: config(lambda v: layers(v).append(holder), members[CONFIG])


def seed_with(value: dict, part: dict) -> None:
    """Keras builds what stands where an initializer's seed is expected."""
    seeded = {"class_name": "GlorotUniform", "config": {"seed": part}, "module": "keras"}
    layers(value)[-2]["config"].update(kernel_initializer=seeded)


NEGATIVE = {"class_name": "Dense", "config": {"units": -(2**20)}}
CRAFTED: dict[str, tuple[Callable[[dict], dict], str]] = {
    "a config of zeros": (lambda m: {CONFIG: b"0" * (256 * MB)}, "far more than its size"),
    "a long config": (lambda m: {CONFIG: b" " * (20 * MB) + b"{}"}, "config.json is too large"),
    "a deep config": (lambda m: {CONFIG: b"[" * 10**6}, "nests too deep"),
    "a rather deep config": (lambda m: {CONFIG: b"[" * 90 + b"]" * 90}, "nests too deep"),
    "a wide layer": (
        lambda m: config(lambda v: layers(v)[-2]["config"].update(units=2**40), m[CONFIG]),
        "asks for too much",
    ),
    "wide layers": (
        lambda m: config(widen, m[CONFIG]),
        "far more weights than it holds",
    ),
    "wide layers behind a negative one": (
        lambda m: config(lambda v: widen(v) or layers(v).append(NEGATIVE), m[CONFIG]),
        "far more weights than it holds",
    ),
    "a language model of keras-hub": (
        hub_class("GemmaBackbone", "keras_hub>GemmaBackbone"),
        "image encoders, not GemmaBackbone",
    ),
    "a class of keras-hub under another's name": (
        hub_class("ViTBackbone", "keras_hub>GemmaBackbone"),
        "image encoders, not ViTBackbone",
    ),
    "a class of keras-hub by its module alone": (hub_class("ViTEncoder"), "not ViTEncoder"),
    "a wide encoder": (
        hub_class("ViTBackbone", "keras_hub>ViTBackbone", hidden_dim=9_000, mlp_dim=36_000),
        "far more weights than it holds",
    ),
    "an encoder with far too many places": (
        hub_class(
            "CLIPVisionEncoder",
            "keras_hub>CLIPVisionEncoder",
            image_shape=[2**19, 2**19, 3],
            patch_size=16,
        ),
        "far more weights than it holds",
    ),
    "an encoder of a million layers": (
        hub_class("ViTBackbone", "keras_hub>ViTBackbone", num_layers=10**6, hidden_dim=1),
        "asks for too much",
    ),
    "a class of keras-hub by its class name alone": (
        lambda m: config(
            lambda v: layers(v).append({"class_name": "keras_hub>Tokenizer", "config": {}}),
            m[CONFIG],
        ),
        "not keras_hub>Tokenizer",
    ),
    "a class of keras-hub for a function": (
        lambda m: config(
            lambda v: layers(v)[-2]["config"].update(activation="keras_hub>Tokenizer"), m[CONFIG]
        ),
        "not keras_hub>Tokenizer",
    ),
    "a class of keras-hub for a seed": (
        lambda m: config(
            lambda v: seed_with(v, {"module": "keras_hub.src", "class_name": "X", "config": {}}),
            m[CONFIG],
        ),
        "image encoders, not X",
    ),
    "a wide layer for a seed": (
        lambda m: config(
            lambda v: seed_with(v, {"class_name": "Dense", "config": {"units": 2**40}}), m[CONFIG]
        ),
        "asks for too much",
    ),
    "endless floats": (
        lambda m: {CONFIG: m[CONFIG].replace(b'"strides"', b'"x": 1e999, "strides"', 1)},
        "asks for too much",
    ),
    "a number of 9,000 digits": (lambda m: {CONFIG: b"9" * 9_000}, "thousands of digits"),
    "weights of 8 TB": (
        lambda m: weights(
            lambda f: f.create_dataset("x", (2**40,), "f8", chunks=(1024,), fillvalue=0)
        ),
        "declare more than they hold",
    ),
    "packed weights": (
        lambda m: weights(
            lambda f: f.create_dataset(
                "x", data=np.zeros(20 * MB, "f4"), compression="gzip", chunks=(MB,)
            )
        ),
        "declare more than they hold",
    ),
    "weights elsewhere": (
        lambda m: weights(lambda f: f.update({"x": h5py.ExternalLink("/etc/passwd", "/")})),
        "other files",
    ),
    "weights in another file": (
        lambda m: weights(
            lambda f: f.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])
        ),
        "other files",
    ),
    "texts for weights": (
        lambda m: weights(lambda f: f.create_dataset("x", data=[b"a"])),
        "no numbers",
    ),
    "weights that are none": (lambda m: {WEIGHTS: b"hello"}, "damaged"),
    "no weights": (lambda m: {WEIGHTS: None}, "lacks model.weights.h5"),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_model_is_one_sentence_before_keras_sees_it(
    what: str, members: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, reason = CRAFTED[what]
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (members | make(members)).items():
            if data is not None:
                archive.writestr(name, data)

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("Keras was asked")

    monkeypatch.setattr(keras.saving, "load_model", opened)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"a\.keras is not a model we can load \(.*{reason}"):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 96 * MB
    finally:
        tracemalloc.stop()
    with pytest.raises(UserError, match=reason):
        write_half_precision(path, tmp_path / "half.keras")
    assert not (tmp_path / "half.keras").exists()


@pytest.mark.parametrize("name", ["PReLU", "LayerNormalization"])
def test_weights_that_no_width_tells_of_are_counted_while_keras_builds(
    name: str, members: dict, tmp_path: Path
) -> None:
    """A weight for each place of a picture that is 16,384 pixels wide, 268 MB."""
    built = {
        "module": "keras.layers",
        "class_name": name,
        "config": {"name": "much"} | ({"axis": [1, 2]} if name != "PReLU" else {}),
        "build_config": {"input_shape": [None, 16_384, 4_096]},
        "name": "much",
        "inbound_nodes": [],
    }
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in (
            members | config(lambda v: layers(v).append(built), members[CONFIG])
        ).items():
            archive.writestr(member, data)
    plain = keras.layers.Layer.add_weight
    with pytest.raises(UserError, match="far more weights than it holds"):
        load_model(path)
    assert keras.layers.Layer.add_weight is plain


def test_a_login_page_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"<!doctype html><title>Hotel</title>")
    with pytest.raises(UserError, match="web page"):
        load_model(tmp_path / "a.keras")


@pytest.mark.parametrize("preset", ["gaze", "original", "notebook"])
def test_what_ships_passes(preset: str) -> None:
    assert not names_keras_hub(check_model_file(ASSETS / f"{preset}.keras"))
