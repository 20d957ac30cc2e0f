"""The presets: name → how the network is built and trained. Nothing else compares their names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from img2prompt.core.backend import keras
from img2prompt.core.errors import UserError
from img2prompt.models import losses, notebook, original


@dataclass(frozen=True)
class Preset:
    """How a preset is built and trained.

    Attributes:
        inputs: `pixels`: the network takes pictures. `features`: a head takes the channel
            statistics of a frozen pretrained CNN (`gaze.build_tower`, `gaze.build_head`).
        positions: so many words of a prompt are its target.
        content: the distinct content words of a prompt are; else all its words in their order.
        defaults: fields of `training.config.TrainConfig` that differ from that class's own.
        sorts_words: whether its answers know the lexicon: specific words first, generic ones after,
            one form of a word. The historical presets say what is nearest, filler or not.
        keep_best: whether the weights of the epoch with the best F1 are kept; else the last.
        build: of `pixels`: (vectors, side, fit) → the network.
        loss: of `pixels`: the class of its Keras loss.
    """

    inputs: Literal["pixels", "features"]
    positions: int
    content: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sorts_words: bool = False
    keep_best: bool = False
    build: Callable[..., keras.Model] | None = None
    loss: type[keras.losses.Loss] | None = None


PRESETS: Mapping[str, Preset] = {
    "gaze": Preset(
        inputs="features",
        positions=40,
        content=True,
        sorts_words=True,
        defaults={
            "epochs": 18,
            "batch_size": 256,
            "learning_rate": 1.5e-3,
            "images_per_epoch": 28_000,
            "source_power": 0.5,
            "auxiliary_weight": 0.2,
            "soft_targets": 1.5,
            "prior": 0.01,
        },
        keep_best=True,
    ),
    "original": Preset(
        inputs="pixels",
        positions=original.STEPS,
        build=original.build,
        loss=losses.MaskedCosineLoss,
    ),
    "notebook": Preset(
        inputs="pixels",
        positions=losses.PROMPT_POSITIONS,
        build=notebook.build,
        loss=losses.PaddedCosineLoss,
    ),
}


def preset_of(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UserError: there is none.
    """
    if name not in PRESETS:
        raise UserError("models.no_preset", name=name, names=", ".join(PRESETS))
    return PRESETS[name]
