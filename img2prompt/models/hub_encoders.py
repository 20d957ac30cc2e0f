"""Image encoders of keras-hub as backbones: CLIP, SigLIP, DINOv2 and ViT.

`--backbone keras_hub:NAME` names a preset of keras-hub, a repository (`hf://…`, `kaggle://…`) or a
folder that a preset was saved to. Naming one is what downloads it; nothing here does so unasked.
A transformer gives one vector a patch and, but for some ViTs, one for the whole picture; its
patches are laid out as a map again, so that they are pooled as a CNN's maps are
(docs/better-eyes.md). keras-hub is imported only for a name that begins with `keras_hub:`, and by
Keras for a file that was made with one.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2prompt.core.backend import keras
from img2prompt.core.errors import UserError

PREFIX = "keras_hub:"
REMOTE = ("hf://", "kaggle://")  # what a name that is to be downloaded may begin with
BESIDE_TEXTS = "beside_texts"  # the layer that ends where pictures and texts are compared

ops = keras.ops


@dataclass(frozen=True)
class Family:
    """How an architecture of keras-hub is read.

    Attributes:
        encoder: the class of its image encoder, as a `.keras` file names it.
        read: (encoder, pictures as it wants them) → the tokens of the patches (b, n, c), and the
            token of the whole picture (b, c) or None.
        any_size: whether it takes pictures of any size that its patches divide.
        texts: the class that makes its texts into tokens; "" where it reads no texts.
    """

    encoder: str
    read: Callable[[Any, Any], tuple[Any, Any]]
    any_size: bool = False
    texts: str = ""


def _read_clip(encoder: Any, pictures: Any) -> tuple[Any, Any]:
    tokens = encoder({"images": pictures})
    if isinstance(tokens, dict):  # it gives a layer in between, too
        tokens = tokens["sequence_output"]
    return tokens[:, 1:], tokens[:, 0]


def _read_siglip(encoder: Any, pictures: Any) -> tuple[Any, Any]:
    tokens = encoder.embedding(pictures)  # its own output is the pooled vector alone
    for layer in encoder.encoder_layers:
        tokens = layer(tokens)
    tokens = encoder.post_layer_norm(tokens)
    return tokens, encoder.head(tokens)


def _read_dinov2(encoder: Any, pictures: Any) -> tuple[Any, Any]:
    tokens = encoder({"images": pictures})
    return tokens[:, 1 + encoder.num_register_tokens :], tokens[:, 0]


def _read_vit(encoder: Any, pictures: Any) -> tuple[Any, Any]:
    tokens = encoder(pictures)
    return (tokens[:, 1:], tokens[:, 0]) if encoder.use_class_token else (tokens, None)


# The class of a preset → how it is read.
FAMILIES = {
    "CLIPBackbone": Family("CLIPVisionEncoder", _read_clip, texts="CLIPPreprocessor"),
    "SigLIPBackbone": Family("SigLIPVisionEncoder", _read_siglip, texts="SigLIPPreprocessor"),
    # It interpolates what it learned of each place in a picture.
    "DINOV2Backbone": Family("DINOV2Backbone", _read_dinov2, any_size=True),
    "ViTBackbone": Family("ViTBackbone", _read_vit),
}
_READ = {family.encoder: family.read for family in FAMILIES.values()}
ENCODERS = tuple(_READ)  # what `HubEncoder` may hold


@keras.saving.register_keras_serializable(package="img2prompt")
class HubEncoder(keras.layers.Layer):
    """An image encoder of keras-hub: float32 pictures (b, side, side, 3) → its tokens.

    Called, it gives a list: the patches as a map (b, h, w, c) and, if the encoder has one, the
    token of the whole picture (b, c), which of SigLIP is its attention pooling.

    Args:
        encoder: of one of the classes `ENCODERS`.
    """

    def __init__(self, encoder: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self._read = _READ[type(encoder).__name__]

    def call(self, inputs: Any) -> Any:
        patches, whole = self._read(self.encoder, inputs)
        size = np.broadcast_to(self.encoder.patch_size, 2)
        rows, columns = (int(n) for n in np.array(self.encoder.image_shape[:2]) // size)
        patches = ops.reshape(patches, (-1, rows, columns, patches.shape[-1]))
        return [patches] if whole is None else [patches, whole]

    def get_config(self) -> dict[str, Any]:
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return super().get_config() | {"encoder": encoder}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubEncoder":
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        return cls(**(config | {"encoder": encoder}))


def is_hub_encoder(backbone: str) -> bool:
    """Whether a backbone's name means an encoder of keras-hub."""
    return backbone.startswith(PREFIX)


def import_keras_hub() -> Any:
    """The package keras-hub; importing it registers its layers with Keras.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise UserError("models.no_keras_hub", reason=error) from None


def load_hub_encoder(backbone: str, side: int) -> keras.Model:
    """An image encoder with its preprocessing: float32 (b, side, side, 3) in [0, 1] → its outputs.

    These are the patches (b, h, w, c); the token of the whole picture (b, c), if it has one; and,
    if it was trained with texts, the unit vector (b, p) that is compared with theirs. A picture of
    another size than the encoder's is resized inside: prepared pictures are of one size for all
    backbones. DINOv2 takes any, and gets the nearest that its patches divide.

    Args:
        backbone: `keras_hub:` and a preset, a repository or a folder.
        side: of the prepared pictures, in pixels.

    Raises:
        UserError: keras-hub is not installed, there is no such preset, or it is none of `FAMILIES`.
    """
    try:
        encoder = _encoder_with_preprocessing(backbone, side)
        encoder(np.zeros((1, side, side, 3), np.float32))  # Keras finds some faults only here
        return encoder
    except UserError:
        raise
    except Exception as error:  # a preset's settings that fit none of what is built here
        name = backbone.removeprefix(PREFIX)
        raise UserError("models.hub_preset_unread", name=name, reason=in_short(error)) from None


def _encoder_with_preprocessing(backbone: str, side: int) -> keras.Model:
    converter, whole = load_preset(backbone)
    family = FAMILIES[type(whole).__name__]
    encoder = whole.vision_encoder if family.texts else whole
    own = int(encoder.image_shape[0])
    if family.any_size:
        patch = int(encoder.patch_size)
        nearest = patch * max(1, round(side / patch))
        if nearest != own:
            del whole, encoder  # before it is read once more
            _, encoder = load_preset(backbone, image_shape=(nearest, nearest, 3))
            own = nearest
    layers = keras.layers
    inputs = keras.Input((side, side, 3), name="image")
    x = inputs
    if own != side:
        resizing = layers.Resizing(
            own, own, converter.interpolation, antialias=own < side, name="encoder_size"
        )
        x = resizing(x)
    # keras-hub's converters take 0–255.
    scale = np.multiply(255.0, 1.0 if converter.scale is None else converter.scale).tolist()
    offset = np.multiply(1.0, 0.0 if converter.offset is None else converter.offset).tolist()
    x = layers.Rescaling(scale, offset, name="encoder_range")(x)
    outputs = HubEncoder(encoder, name="encoder")(x)
    if family.texts:
        outputs = [*outputs, _joint(whole, outputs[-1])]
    return keras.Model(inputs, outputs, name="hub_encoder")


def _joint(whole: Any, token: Any) -> Any:
    """Where pictures and texts are compared: (b, c) → unit vectors (b, p)."""
    projection = getattr(whole, "vision_projection", None)  # SigLIP's pooling is all it needs
    if projection is not None:
        kernel = projection.get_weights()
        dense = keras.layers.Dense(kernel[0].shape[1], use_bias=False, name="encoder_projection")
        token = dense(token)
        dense.set_weights(kernel)
    return keras.layers.UnitNormalization(name=BESIDE_TEXTS)(token)


def reads_texts(tower: keras.Model) -> bool:
    """Whether the last features of a tower are compared with those of texts."""
    return any(layer.name == BESIDE_TEXTS for layer in tower.layers)


def load_preset(backbone: str, **changes: Any) -> tuple[Any, Any]:
    """The image converter of a preset, and its network with its weights.

    Args:
        backbone: `keras_hub:` and a preset, a repository or a folder.
        changes: what is to differ from the preset's settings.

    Raises:
        UserError: as `load_hub_encoder`.
    """
    keras_hub, name = import_keras_hub(), backbone.removeprefix(PREFIX)
    classes = [getattr(keras_hub.models, family) for family in FAMILIES]
    known = any(name in one.presets for one in classes)
    if not known and not name.startswith(REMOTE) and not _is_folder(name):
        raise UserError("models.no_hub_preset", name=name)
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(name)
        if converter.backbone_cls in classes:  # before gigabytes of another kind are fetched
            network = keras_hub.models.Backbone.from_preset(name, dtype="float32", **changes)
            if type(network) in classes:  # the converter may be another network's
                return converter, network
    except Exception as error:  # of many types: network, rights, JSON, HDF5, Keras
        raise UserError("models.hub_preset_unread", name=name, reason=in_short(error)) from None
    raise UserError("models.no_hub_family", name=name, families=", ".join(FAMILIES))


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # no name of a file: too long, or with a zero in it
        return False


def in_short(error: Exception) -> str:
    """The type of an error of others and the beginning of what it says, on one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:160]}".rstrip(": .")
