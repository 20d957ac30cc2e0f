"""How a preset's network is trained: what is read, its targets, its loss and its optimizer."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.backend import keras, tf
from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.data.shards import PathOf, pixel_path
from img2prompt.embedding.class_words import Classes, ClassWords, WordsAsClasses
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.decoder import prior_of_background
from img2prompt.models import gaze, losses
from img2prompt.models.backbones import Classifier, load_classifier
from img2prompt.models.features import (
    cache_features,
    cache_name,
    feature_path,
    float_feature_reader,
)
from img2prompt.models.hub_encoders import reads_texts
from img2prompt.models.hub_texts import word_classifier
from img2prompt.training import soft_targets
from img2prompt.training.config import SEQUENCE_LOSSES, TrainConfig
from img2prompt.training.inputs import Columns, Data, target_form


@dataclass(frozen=True)
class Trainable:
    """What a preset needs to be trained.

    Attributes:
        build: () → the untrained network; it takes the inputs of `columns`.
        columns: what is read for a batch.
        loss: a Keras loss.
        optimizer: () → a Keras optimizer.
        finish: the trained network → the model that is saved, pictures in, vectors out.
        prepare: () → None, what is to be computed once the run's folder is claimed.
        xla: whether the loss can be compiled with XLA (no shapes that depend on the data).
    """

    build: Callable[[], keras.Model]
    columns: Columns
    loss: keras.losses.Loss
    optimizer: Callable[[], keras.optimizers.Optimizer]
    finish: Callable[[keras.Model], keras.Model] = lambda trained: trained
    prepare: Callable[[], None] = lambda: None
    xla: bool = True


def trainable(
    config: TrainConfig, vectors: WordVectors, data: Data, class_words: ClassWords | None
) -> Trainable:
    """What the preset of `config` needs to be trained.

    Args:
        config: the run's settings.
        vectors: the embedding to predict.
        data: the pictures.
        class_words: the words that go with each ImageNet class, where the settings need them.

    Raises:
        UserError: a backbone whose weights, or whose classifier, cannot be had.
    """
    if config.recipe.inputs == "pixels":
        return _on_pixels(config, vectors, data)
    return _on_features(config, vectors, data, class_words)


def decoder_prior(
    config: TrainConfig, vectors: WordVectors, class_words: ClassWords | None
) -> NDArray[np.float32]:
    """What is added to each word's cosine when words are ranked: float32 (V,)."""
    if class_words is None or not config.prior:
        return np.zeros(len(vectors), np.float32)
    return prior_of_background(class_words.background, config.prior)


def _on_pixels(config: TrainConfig, vectors: WordVectors, data: Data) -> Trainable:
    """From pictures themselves to the vectors of the prompt's first words."""
    preset = config.recipe
    assert preset.build is not None and preset.loss is not None
    build = preset.build
    return Trainable(
        build=lambda: build(vectors, *data.form),
        columns=Columns(
            data.pictures,
            pixel_path,
            (target_form(preset).path_of(vectors),),
            lambda pixels: tf.cast(pixels, tf.float32) / images.WHITE,
            vector_table(vectors),
        ),
        loss=preset.loss(),
        optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
    )


def _on_features(
    config: TrainConfig, vectors: WordVectors, data: Data, class_words: ClassWords | None
) -> Trainable:
    """From a frozen CNN's channel statistics to the prompt's words as a set or a sequence."""
    side, fit = data.form
    tower = gaze.build_tower(config.backbone, side)
    name = cache_name(config.backbone, tower)
    # Workers on one disk share the work out; on disks of their own each does the rest then.
    task, shards = data.cluster.task, data.pictures.places()
    cache_features(tower, name, shards[task.rank :: task.workers])
    data.cluster.barrier()
    cache_features(tower, name, shards)
    read = float_feature_reader(data.pictures, name)
    sample = read(data.training[:: max(1, len(data.training) // 4096)])
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    cache = feature_path(data.pictures.folders[0], name, "").parent
    classifier, classes = _classifier(config, vectors, class_words, tower, cache)
    evidence = None
    if classifier is not None and classes is not None:
        evidence = gaze.Evidence.of(classifier, classes, vectors, sample)
    plan = Trainable(
        build=lambda: gaze.build_head(
            mean, deviation, vectors, fit, evidence if config.evidence else None
        ),
        columns=_feature_columns(config, vectors, data, name),
        loss=losses.MaskedCosineLoss(),
        optimizer=lambda: keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                config.learning_rate, config.epochs * config.steps
            ),
            weight_decay=gaze.WEIGHT_DECAY,
            clipnorm=1.0,
        ),
        finish=lambda trained: gaze.join(tower, trained),
        xla=False,
    )
    if config.loss in SEQUENCE_LOSSES:
        ordered = config.loss == "ordered"
        return plan if ordered else dataclasses.replace(plan, loss=losses.AssignedCosineLoss())
    mixture = soft_targets.Mixture(
        linear=config.linear_teacher,
        class_words=classes,
        probabilities=evidence.probabilities if evidence is not None else None,
        class_weight=config.class_teacher,
    )

    def prepare() -> None:
        if config.soft_targets:
            soft_targets.cache_soft_targets(data, read, vectors, mixture)

    settings = losses.VocabularySettings(
        seed=config.seed,
        soft_words=soft_targets.words_of_teacher(vectors) if config.soft_targets else 0,
        soft_weight=config.soft_targets,
        cosine_weight=config.pull,
        prior=decoder_prior(config, vectors, class_words),
        asymmetric=config.loss == "asymmetric",
        devices=data.cluster.local,
    )
    loss = losses.VocabularyLoss(vectors, _seen_words(config, vectors, data), settings)
    return dataclasses.replace(plan, loss=loss, prepare=prepare)


def _classifier(
    config: TrainConfig,
    vectors: WordVectors,
    class_words: ClassWords | None,
    tower: keras.Model,
    cache: Path,
) -> tuple[Classifier | None, Classes | None]:
    """What the backbone was trained to tell apart, and what that says about words.

    The 1,000 ImageNet classes with the words that prompts put beside them; or, where the backbone
    reads texts, each answerable word of the vocabulary for itself.

    Raises:
        UserError: the settings ask for it, and there is none.
    """
    classifier: Classifier | None = None
    classes: Classes | None = None
    if reads_texts(tower):
        if config.evidence or (config.soft_targets and config.class_teacher):
            words = np.flatnonzero(vectors.answerable)
            named = [vectors.words[position] for position in words]
            classifier = word_classifier(config.backbone, named, cache)
            classes = WordsAsClasses(words, len(vectors))
    elif class_words is not None:
        classifier, classes = load_classifier(config.backbone), class_words
    if config.evidence and classifier is None:
        raise UserError("training.no_classifier", backbone=config.backbone)
    return classifier, classes


def _feature_columns(config: TrainConfig, vectors: WordVectors, data: Data, name: str) -> Columns:
    """What a head on features kept as `name` reads: features, words, and what the teacher gives."""

    def features_path(folder: Path, shard: str) -> Path:
        return feature_path(folder, name, shard)

    def floats(rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(rows, tf.float32)

    look_up = vector_table(vectors)

    def sequence(words: tf.Tensor) -> tf.Tensor:
        return look_up(words[:, : gaze.STEPS])

    def together(*targets: tf.Tensor) -> tf.Tensor:
        return tf.concat([floats(target) for target in targets], axis=1)

    paths: tuple[PathOf, ...] = (target_form(config.recipe).path_of(vectors),)
    if config.soft_targets:
        paths += (soft_targets.soft_path(data),)
    decode = sequence if config.loss in SEQUENCE_LOSSES else together
    return Columns(data.pictures, features_path, paths, floats, decode)


def _seen_words(config: TrainConfig, vectors: WordVectors, data: Data) -> NDArray[np.int32]:
    """Positions of the words that training prompts hold, among their targets."""
    words_of = data.pictures.reader(target_form(config.recipe).path_of(vectors))
    seen = np.zeros(len(vectors) + 1, bool)  # the last for −1, no word
    for block in np.array_split(data.training, -(-len(data.training) // 65_536)):
        seen[words_of(block)] = True
    return np.flatnonzero(seen[:-1]).astype(np.int32)


def vector_table(vectors: WordVectors) -> Callable[[Any], tf.Tensor]:
    """Positions in the vocabulary (…), −1 for none → their vectors, zeros for none: (…, D)."""
    table = tf.constant(np.vstack([vectors.vectors, np.zeros((1, vectors.dimensions), np.float32)]))
    return lambda words: tf.gather(table, tf.where(words < 0, len(vectors), words))
