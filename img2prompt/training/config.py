"""What a training run is told: its settings, and the files that it reads and writes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from img2prompt.core.errors import UserError
from img2prompt.data.splits import source_names
from img2prompt.models.losses import VocabularySettings
from img2prompt.models.presets import Preset, preset_of

# What a head on features can be trained with: softmax over the vocabulary, the same with yes-no
# questions, cosine to the prompt's words in order, cosine under the best assignment.
SEQUENCE_LOSSES = ("ordered", "assigned")
LOSSES = ("vocabulary", "asymmetric", *SEQUENCE_LOSSES)

# What runs of earlier versions were trained with, and their `config.json` lacks.
LATER_SETTINGS = {"stream": False, "dropout": 1.0, "max_per_prompt": 0, "word_power": 0.0}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run, the keys of its `config.json`.

    Every preset has defaults of its own (`models.presets`); `default_config` fills them in.

    Raises:
        UserError: a value out of range, or two that contradict each other.
    """

    preset: str
    epochs: int = 20  # the original's
    batch_size: int = 32  # the original's
    learning_rate: float = 1e-3  # the original's, Adam
    # Pictures drawn an epoch. The original saw 80 % of its 10,000 pictures an epoch; drawing the
    # same number from a larger set keeps its schedule of 5,000 updates.
    images_per_epoch: int = 8_000
    # Share of a source ∝ (its pictures) ** power; 1 is the data as it lies, see data/sampling.py.
    source_power: float = 1.0
    auxiliary_weight: float = 0.0  # share of draws from folders of auxiliary pictures
    seed: int = 1
    # Sources or source groups left out altogether, commas between: to test on them.
    without: str = ""
    # Pictures that near-duplicate prompts may have in training; 0 for all.
    max_per_prompt: int = 0
    # How much less frequent words are drawn, from 0, not at all, to 1; see data/imbalance.py.
    word_power: float = 0.0
    # Draw in the order of the shards, from front to back, so that an epoch reads its part of the
    # disk once; else draw each batch from all pictures. The draws differ, so it is a part of the
    # recipe and never switched on by itself.
    stream: bool = False
    # Times the preset's own rates. 0 makes a run's steps the same on any number of replicas, which
    # otherwise draw one mask for each of their slices instead of one for the whole batch.
    dropout: float = 1.0

    # Of a head on features alone:
    backbone: str = "efficientnet_lite2"
    loss: str = "vocabulary"  # one of LOSSES
    pull: float = VocabularySettings.cosine_weight
    evidence: bool = True  # whether the classes that the CNN sees are an input of the head
    soft_targets: float = 0.0  # weight of the teacher's words against the true ones
    linear_teacher: float = 1.0  # weight of the ridge regression in the teacher
    class_teacher: float = 2.0  # weight of the class words in the teacher
    # Bonus for words that prompts use often, added to the cosine when words are ranked, times the
    # logarithm of the share of prompts that hold the word.
    prior: float = 0.0

    def __post_init__(self) -> None:
        preset_of(self.preset)
        weights = (self.pull, self.soft_targets, self.linear_teacher, self.class_teacher)
        sequence = self.soft_targets > 0 and self.loss in SEQUENCE_LOSSES
        allowed = {
            "training.counts": min(self.epochs, self.batch_size, self.images_per_epoch) >= 1,
            "training.learning_rate": 0 < self.learning_rate < float("inf"),
            "training.seed": 0 <= self.seed < 2**32,
            "training.shares": 0 <= self.auxiliary_weight < 1 and 0 <= self.source_power <= 1,
            "training.caps": self.max_per_prompt >= 0 and 0 <= self.word_power <= 1,
            "training.stream_caps": not (self.stream and (self.max_per_prompt or self.word_power)),
            "training.loss": self.loss in LOSSES,
            "training.weights": min(*weights, self.prior) >= 0,
            "training.dropout": 0 <= self.dropout <= 1,
            "training.no_soft_targets": not sequence,
        }
        for key, fine in allowed.items():
            if not fine:
                raise UserError(key, loss=self.loss, losses=", ".join(LOSSES))

    @property
    def recipe(self) -> Preset:
        """The preset's entry."""
        return preset_of(self.preset)

    @property
    def steps(self) -> int:
        """Updates an epoch."""
        return max(1, self.images_per_epoch // self.batch_size)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of `without`: source groups, single sources."""
        return source_names(self.without)

    @property
    def needs_class_words(self) -> bool:
        """Whether a file of class words must be there."""
        taught = self.soft_targets > 0 and self.class_teacher > 0
        return self.recipe.inputs == "features" and (self.evidence or taught or self.prior > 0)


def default_config(preset: str, **changes: Any) -> TrainConfig:
    """The preset's defaults with `changes` (None means unchanged).

    Raises:
        UserError: unknown preset or a value out of range.
        TypeError: an unknown setting.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return TrainConfig(preset=preset, **{**preset_of(preset).defaults, **given})


@dataclass(frozen=True)
class TrainJob:
    """Where a run reads and writes, and how it is started.

    Attributes:
        folders: prepared folders with pairs.
        embedding: the `.npz` to predict.
        out: the run's folder.
        auxiliary: prepared folders (`--train-only`) whose pictures only teach words.
        class_words: what `count_class_words.py` wrote; unset, beside the embedding. Read only
            where the settings need it.
        resume: go on with a run that was stopped.
        strategy: one of `distributed.STRATEGIES`. With `multiworker` every worker trains the same
            job, and the chief alone writes the run's files.
        command: what a person typed, kept in `made.json` for the manifest.
    """

    folders: Sequence[str | os.PathLike[str]]
    embedding: str | os.PathLike[str]
    out: str | os.PathLike[str]
    auxiliary: Sequence[str | os.PathLike[str]] = ()
    class_words: str | os.PathLike[str] | None = None
    resume: bool = False
    strategy: str = "none"
    command: Sequence[str] = ()
