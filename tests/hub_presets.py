"""Presets of keras-hub for the tests: the real classes, tiny, with random weights, in folders."""

import io
from pathlib import Path
from typing import Any

import numpy as np

OWN_SIDE = 48  # of the tiny encoders; the pictures of the tests have 32
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SIZES = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2}
INNER = {"intermediate_dim": 24}
PICTURE = {"patch_size": 16, "image_shape": (OWN_SIDE, OWN_SIDE, 3)}


def write_preset(family: str, folder: Path, seed: int = 0) -> Path:
    """A preset of `clip`, `siglip`, `dinov2`, `vit`, or `text`, which sees nothing."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(seed)
    network, parts = _NETWORKS[family](keras_hub)
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if "position_ids" in weight.path:
            weight.assign(np.arange(weight.shape[1])[None])
        elif "logit_scale" not in weight.path:  # biases and tokens begin as zeros
            weight.assign(weight + rng.normal(size=weight.shape, scale=0.1))
    for part in (network, *parts):
        part.save_to_preset(str(folder))
    return folder


def _converter(layers: Any, name: str, **changes: Any) -> Any:
    settings = {"scale": [0.015, 0.016, 0.014], "offset": [-1.8, -1.7, -1.5]}
    settings |= {"image_size": (OWN_SIDE, OWN_SIDE), "interpolation": "bicubic"}
    return getattr(layers, name)(**settings | changes)


def _clip(hub: Any) -> tuple[Any, list[Any]]:
    models = hub.models
    names = [*LETTERS, *[f"{letter}</w>" for letter in LETTERS], "ca", "do"]
    names += ["<|startoftext|>", "<|endoftext|>"]  # the end has the largest number
    tokenizer = models.CLIPTokenizer({name: i for i, name in enumerate(names)}, ["c a", "d o"])
    seeing = models.CLIPVisionEncoder(**SIZES, **INNER, **PICTURE, name="seeing")
    reading = models.CLIPTextEncoder(
        len(names), 16, **SIZES, **INNER, max_sequence_length=40, name="reading"
    )
    network = models.CLIPBackbone(seeing, reading, projection_dim=12)
    return network, [_converter(hub.layers, "CLIPImageConverter"), tokenizer]


def _siglip(hub: Any) -> tuple[Any, list[Any]]:
    import sentencepiece

    models, written = hub.models, io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"a picture of {LETTERS}"] * 20),
        model_writer=written, vocab_size=40, model_type="CHAR", minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )  # fmt: skip
    tokenizer = models.SigLIPTokenizer(proto=written.getvalue())
    deep = {**SIZES, "num_layers": 2}
    seeing = models.SigLIPVisionEncoder(**deep, **INNER, **PICTURE, name="seeing")
    reading = models.SigLIPTextEncoder(
        40, 16, **SIZES, **INNER, max_sequence_length=40, name="reading"
    )
    network = models.SigLIPBackbone(seeing, reading)
    converter = _converter(hub.layers, "SigLIPImageConverter", scale=1 / 127.5, offset=-1.0)
    return network, [converter, tokenizer]


def _dinov2(hub: Any) -> tuple[Any, list[Any]]:
    network = hub.models.DINOV2Backbone(
        **SIZES, **INNER, patch_size=8, num_register_tokens=2,
        image_shape=(OWN_SIDE, OWN_SIDE, 3), position_embedding_shape=(OWN_SIDE, OWN_SIDE, 3),
    )  # fmt: skip
    return network, [_converter(hub.layers, "DINOV2ImageConverter")]


def _vit(hub: Any) -> tuple[Any, list[Any]]:
    network = hub.models.ViTBackbone(**SIZES, **PICTURE, mlp_dim=24, use_patch_bias=False)
    return network, [_converter(hub.layers, "ViTImageConverter")]


def _text(hub: Any) -> tuple[Any, list[Any]]:
    network = hub.models.BertBackbone(vocabulary_size=20, **SIZES, **INNER)
    return network, []


_NETWORKS = {"clip": _clip, "siglip": _siglip, "dinov2": _dinov2, "vit": _vit, "text": _text}
