"""Prepared shards and an embedding → a trained model: pipelines, fit, checkpoint, resume, history.

A run's folder holds `config.json`, `history.csv`, `tensorboard/`, `checkpoint/` while it runs, and
in the end `model.keras`, `model.decoder.npz`, `embedding.npz` and `learning_curves.html`.
"""

import contextlib
import csv
import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import plotly.graph_objects as go
import tensorflow as tf

from img2prompt import reports, text
from img2prompt.class_words import CLASS_WORDS_FILE, ClassWords
from img2prompt.dataset import (
    Records,
    load_records,
    of_source_groups,
    pixel_reader,
    sampling_weights,
    settings_of,
    source_group,
    source_names,
)
from img2prompt.decoding import (
    DECODER_PROVENANCE,
    DECODER_SUFFIX,
    Decoder,
    prior_of_background,
)
from img2prompt.embedding import EMBEDDING_FILE, WordVectors
from img2prompt.errors import UserError
from img2prompt.evaluation import WORDS, f1_scores, is_hit, true_words
from img2prompt.features import cache_features, float_feature_reader
from img2prompt.files import PROVENANCE_FILE, atomic_path, provenance, read_json, write_json
from img2prompt.images import Fit, to_float
from img2prompt.models import gaze, losses, notebook, original
from img2prompt.models.backbones import load_classifier
from img2prompt.prediction import Predictor, load_model
from img2prompt.teacher import soft_targets

TARGET_WORDS = 40  # of a longer prompt the first forty content words teach `gaze`
# What `gaze` can be trained with: softmax over the vocabulary, the same with yes-no questions,
# cosine to the prompt's words in order, cosine under the best assignment.
LOSSES = ("vocabulary", "asymmetric", "ordered", "assigned")

VALIDATION_PICTURES = 1_000
CALIBRATION_PICTURES = 5_000  # of the validation split, for the confidences


@dataclass(frozen=True)
class TrainConfig:
    """One training run; every preset has its own defaults in `PRESETS`."""

    preset: str
    epochs: int = 20  # the original's
    batch_size: int = 32  # the original's
    learning_rate: float = 1e-3  # the original's, Adam
    # Pictures drawn an epoch. The original saw 80 % of its 10,000 pictures an epoch; drawing the
    # same number from a larger set keeps its schedule of 5,000 updates.
    images_per_epoch: int = 8_000
    # Share of a source ∝ (its pictures) ** power; 1 is the data as it lies, see dataset.py.
    source_power: float = 1.0
    auxiliary_weight: float = 0.0  # share of draws from folders of auxiliary pictures
    seed: int = 1
    without: str = ""  # source groups left out altogether, commas between: to test on them

    # Of `gaze` alone:
    backbone: str = "efficientnet_lite2"
    loss: str = "vocabulary"  # one of LOSSES
    pull: float = losses.VocabularyLoss.PULL
    evidence: bool = True  # whether the classes that the CNN sees are an input of the head
    soft_targets: float = 0.0  # weight of the teacher's words against the true ones
    linear_teacher: float = 1.0  # weight of the ridge regression in the teacher
    class_teacher: float = 2.0  # weight of the class words in the teacher
    # Bonus for words that prompts use often, added to the cosine when words are ranked, times the
    # logarithm of the share of prompts that hold the word.
    prior: float = 0.0

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UserError(f"Unknown preset {self.preset!r}; choose one of {', '.join(PRESETS)}.")
        if min(self.epochs, self.batch_size, self.images_per_epoch) < 1:
            raise UserError("Epochs, batch size and images per epoch must be > 0.")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError("The learning rate must be > 0 and finite.")
        if not 0 <= self.seed < 2**32:
            raise UserError("The seed must lie in 0…4294967295.")
        if not 0 <= self.auxiliary_weight < 1 or not 0 <= self.source_power <= 1:
            raise UserError("The auxiliary weight lies in [0, 1), the source power in [0, 1].")
        if self.loss not in LOSSES:
            raise UserError(f"Unknown loss {self.loss!r}; choose one of {', '.join(LOSSES)}.")
        weights = (self.pull, self.soft_targets, self.linear_teacher, self.class_teacher)
        if min(*weights, self.prior) < 0:
            raise UserError("Pull, prior and the weights of the teacher must be >= 0.")
        if self.soft_targets and self.loss in ("ordered", "assigned"):
            raise UserError(f"The loss {self.loss} takes no soft targets; set --soft-targets 0.")

    @property
    def steps(self) -> int:
        """Updates an epoch."""
        return max(1, self.images_per_epoch // self.batch_size)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The source groups of `without`."""
        return source_names(self.without)

    @property
    def needs_class_words(self) -> bool:
        """Whether a file of class words must be there."""
        taught = self.soft_targets > 0 and self.class_teacher > 0
        return self.preset == "gaze" and (self.evidence or taught or self.prior > 0)


@dataclass(frozen=True)
class Trainable:
    """What a preset needs for `fit`.

    Attributes:
        build: () → the untrained network; it takes the inputs that `read` gives.
        read: positions (b,) → inputs (b, …) float32.
        targets: for every record, what the loss takes.
        loss: a Keras loss.
        optimizer: a Keras optimizer.
        finish: the trained network → the model that is saved, pictures in, vectors out.
        xla: whether the loss can be compiled with XLA (no shapes that depend on the data).
    """

    build: Callable[[], keras.Model]
    read: Callable[[np.ndarray], np.ndarray]
    targets: Callable[[np.ndarray], np.ndarray]
    loss: keras.losses.Loss
    optimizer: keras.optimizers.Optimizer
    finish: Callable[[keras.Model], keras.Model]
    xla: bool = True


def train(
    config: TrainConfig,
    folders: list[str | os.PathLike],
    embedding: str | os.PathLike,
    out: str | os.PathLike,
    resume: bool = False,
    auxiliary: list[str | os.PathLike] | None = None,
    class_words: str | os.PathLike | None = None,
    verbose: int = 2,
    callbacks: list[keras.callbacks.Callback] | None = None,
    command: Sequence[str] = (),
) -> dict[str, list[float]]:
    """Train one preset and write its run folder.

    Killed at any moment, the same call with `resume=True` goes on from the last whole epoch.

    Args:
        config: what to train.
        folders: prepared folders with pairs.
        embedding: the `.npz` to predict.
        out: the run's folder.
        resume: go on with a run that was stopped.
        auxiliary: prepared folders (`--train-only`) whose pictures only teach words.
        class_words: what `count_class_words.py` wrote; unset, beside the embedding. Read only by
            a `gaze` that asks for it.
        verbose: as Keras' `fit`.
        callbacks: more Keras callbacks.
        command: what a person typed, kept in `made.json` for the manifest.

    Returns:
        Keras' history: figure → one value an epoch of this call.

    Raises:
        UserError: bad folders, no training pictures, or `out` holds another run.
    """
    out = Path(out)
    vectors = WordVectors.load(embedding)
    records = load_records([*folders, *(auxiliary or [])])
    is_auxiliary = records.folder >= len(folders)
    records, is_auxiliary = _without(records, is_auxiliary, config.left_out)
    training = np.flatnonzero(records.split == "train")
    validation = np.flatnonzero((records.split == "validation") & ~is_auxiliary)
    known = _known(records, vectors)
    training, validation = training[known[training]], validation[known[validation]]
    if not len(training) or not len(validation):
        raise UserError(
            "No training or no validation pictures have words that the embedding knows."
        )
    calibration = _calibration(validation)
    # Enough to follow a run and choose its epoch; the whole split is for `evaluate.py`.
    validation = validation[:: -(-len(validation) // VALIDATION_PICTURES)]
    stamp = dataclasses.asdict(config) | {
        "embedding": vectors.fingerprint,
        "training_pictures": len(training),
        "validation_pictures": len(validation),
    }
    beside = None
    if config.needs_class_words:
        path = class_words or Path(embedding).with_name(CLASS_WORDS_FILE)
        beside = ClassWords.load(path, vectors)
        stamp["class_words"] = beside.fingerprint
    _check_claim(out, stamp, resume)
    weights = _draw_weights(config, records, training, is_auxiliary)
    plan = PRESETS[config.preset].plan(config, vectors, records, training, weights, beside)
    _claim(out, stamp, vectors, command)

    decoder = dataclasses.replace(
        Decoder.plain(vectors), prior=_decoder_prior(config, vectors, beside)
    )
    keras.utils.set_random_seed(config.seed)
    with _mixed_precision():
        network = plan.build()
    network.compile(optimizer=plan.optimizer, loss=plan.loss, jit_compile=_has_gpu() and plan.xla)
    first_epoch = restore_checkpoint(out / "checkpoint", network) if resume else 0
    _keep_rows(out / "history.csv", first_epoch)
    history = network.fit(
        _draws(plan, training, weights, config, first_epoch),
        steps_per_epoch=config.steps,
        epochs=config.epochs,
        initial_epoch=first_epoch,
        validation_data=_in_order(plan, validation, config.batch_size),
        verbose=verbose,
        callbacks=[
            # First, so that the figures it adds reach the checkpoint and the logs.
            _ValidationF1(plan, records, validation, decoder),
            _BestWeights(out / "best.weights.h5", PRESETS[config.preset].keep_best),
            keras.callbacks.CSVLogger(str(out / "history.csv"), append=first_epoch > 0),
            keras.callbacks.TensorBoard(str(out / "tensorboard")),
            _Checkpoint(out / "checkpoint"),
            keras.callbacks.TerminateOnNaN(),
            *(callbacks or []),
        ],
    )
    if not np.all(np.isfinite(history.history.get("loss", [0.0]))):
        raise UserError("The loss is no longer a number; try a smaller --learning-rate.")
    if (out / "best.weights.h5").exists():
        network.load_weights(out / "best.weights.h5")
    # Built anew: without optimizer and loss the file has a third of the size and needs no code of
    # training, and whatever the precision of training, the model that ships computes in float32.
    trained = plan.build()
    trained.set_weights(network.get_weights())
    predicted = _predict(trained, plan, calibration)
    true = [true_words(records.prompt[i], vectors) for i in calibration]
    fit_decoder(decoder, predicted, true).save(out / ("model" + DECODER_SUFFIX))
    with atomic_path(out / "model.keras") as temporary:
        plan.finish(trained).save(temporary)
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    for name in ("best.weights.h5", "best.weights.json"):
        (out / name).unlink(missing_ok=True)
    write_learning_curves(out)
    return history.history


def fit_decoder(decoder: Decoder, predicted: np.ndarray, true: Sequence[np.ndarray]) -> Decoder:
    """A decoder whose confidences fit the answers to validation pictures.

    Args:
        decoder: how words are ranked.
        predicted: float32 (n, steps, D).
        true: positions of each picture's true words.
    """
    words, values = decoder.rank_vectors(predicted, WORDS)
    return decoder.calibrate(values.ravel(), is_hit(words, true).ravel())


def refit_decoder(
    run: str | os.PathLike,
    folders: Sequence[str | os.PathLike],
    class_words: str | os.PathLike | None = None,
    command: Sequence[str] = (),
) -> Decoder:
    """Fit the confidences of a finished run anew and write its `model.decoder.npz`.

    Args:
        run: what `train` wrote.
        folders: prepared folders at the model's size, whose validation split is used.
        class_words: needed for a run that was trained with a prior.
        command: what a person typed, kept for the manifest.

    Raises:
        UserError: an unfinished run, or folders without validation pictures of its size.
    """
    run = Path(run)
    config = read_json(run / "config.json")
    vectors = WordVectors.load(run / EMBEDDING_FILE)
    prior = Decoder.plain(vectors).prior
    if weight := config.get("prior", 0.0):
        if class_words is None:
            raise UserError(f"{run} was trained with a prior; give its --class-words.")
        prior = prior_of_background(ClassWords.load(class_words, vectors).background, weight)
    predictor = Predictor(load_model(run / "model.keras"), vectors, run.name)
    records = load_records(folders).of_split("validation")
    left_out = set(source_names(config.get("without", "")))
    there = {source_group(source) for source in records.source}
    records = records.take(~of_source_groups(records, sorted(left_out & there)))
    if not len(records) or _form(records) != (predictor.side, predictor.fit):
        raise UserError(
            f"These folders hold no validation pictures of {predictor.side} pixels fitted by "
            f"{predictor.fit}; prepare the data so."
        )
    index = _calibration(np.flatnonzero(_known(records, vectors)))
    pixels = pixel_reader(records)
    blocks = np.array_split(index, max(1, len(index) // 64))
    predicted = np.concatenate([predictor.predict_vectors(to_float(pixels(b))) for b in blocks])
    true = [true_words(records.prompt[i], vectors) for i in index]
    plain = dataclasses.replace(Decoder.plain(vectors), prior=prior)
    decoder = fit_decoder(plain, predicted, true)
    decoder.save(run / ("model" + DECODER_SUFFIX))
    write_json(run / DECODER_PROVENANCE, provenance(command))
    return decoder


def _known(records: Records, vectors: WordVectors) -> np.ndarray:
    """Which prompts have a content word that the embedding knows: bool (n,)."""
    return np.array([bool(text.content_words(prompt, vectors)) for prompt in records.prompt], bool)


def _calibration(validation: np.ndarray) -> np.ndarray:
    """The validation pictures that confidences are fitted to, evenly spread."""
    return validation[:: max(1, -(-len(validation) // CALIBRATION_PICTURES))]


def write_learning_curves(out: str | os.PathLike) -> None:
    """`history.csv` of a run → `learning_curves.html`."""
    out = Path(out)
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    blocks = []
    for title, keys in (("Loss", ("loss", "val_loss")), ("F1@10 (validation)", ("val_f1",))):
        figure = go.Figure()
        for key, color in zip(keys, (reports.ACCENT, reports.SECOND), strict=False):
            if rows and key in rows[0]:
                x = [int(row["epoch"]) + 1 for row in rows]
                y = [float(row[key]) for row in rows]
                figure.add_scatter(x=x, y=y, name=key, line_color=color)
        figure.update_layout(title=title, xaxis_title="epoch", template="simple_white")
        blocks.append(figure)
    with atomic_path(out / "learning_curves.html") as temporary:
        temporary.write_text(reports.page(f"Run {out.name}", blocks), encoding="utf-8")


def _plan_pixels(
    config: TrainConfig,
    vectors: WordVectors,
    records: Records,
    training: np.ndarray,
    weights: np.ndarray,
    class_words: ClassWords | None,
    *,
    build: Callable[..., keras.Model],
    loss: type[keras.losses.Loss],
    positions: int,
) -> Trainable:
    """From pictures themselves to the vectors of the prompt's first `positions` words."""
    reader = pixel_reader(records)

    def targets(index: np.ndarray) -> np.ndarray:
        return np.stack([_word_sequence(records.prompt[i], vectors, positions) for i in index])

    return Trainable(
        build=lambda: build(vectors, *_form(records)),
        read=lambda index: to_float(reader(index)),
        targets=targets,
        loss=loss(),
        optimizer=keras.optimizers.Adam(config.learning_rate),
        finish=lambda trained: trained,
    )


def _plan_gaze(
    config: TrainConfig,
    vectors: WordVectors,
    records: Records,
    training: np.ndarray,
    weights: np.ndarray,
    class_words: ClassWords | None,
) -> Trainable:
    side, fit = _form(records)
    tower = gaze.build_tower(config.backbone, side)
    cache_features(tower, config.backbone, records)
    read = float_feature_reader(records, config.backbone)
    sample = read(training[:: max(1, len(training) // 4096)])
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    evidence = None
    classifier = load_classifier(config.backbone) if class_words is not None else None
    if config.evidence and classifier is None:
        raise UserError(f"{config.backbone} comes without a classifier; add --no-evidence.")
    if classifier is not None and class_words is not None:
        evidence = gaze.Evidence.of(classifier, class_words, vectors, sample)
    loss, targets = _gaze_loss(
        config, vectors, records, training, weights, read, class_words, evidence
    )
    return Trainable(
        build=lambda: gaze.build_head(
            mean, deviation, vectors, fit, evidence if config.evidence else None
        ),
        read=read,
        targets=targets,
        loss=loss,
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                config.learning_rate, config.epochs * config.steps
            ),
            weight_decay=gaze.WEIGHT_DECAY,
            clipnorm=1.0,
        ),
        finish=lambda trained: gaze.join(tower, trained),
        xla=False,
    )


def _gaze_loss(
    config: TrainConfig,
    vectors: WordVectors,
    records: Records,
    training: np.ndarray,
    weights: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
    class_words: ClassWords | None,
    evidence: gaze.Evidence | None,
) -> tuple[keras.losses.Loss, Callable[[np.ndarray], np.ndarray]]:
    """The loss of `config.loss`, and for positions (b,) what it takes."""
    if config.loss in ("ordered", "assigned"):

        def sequences(index: np.ndarray) -> np.ndarray:
            rows = [_word_sequence(records.prompt[i], vectors, gaze.STEPS, True) for i in index]
            return np.stack(rows)

        ordered = config.loss == "ordered"
        return (losses.MaskedCosineLoss() if ordered else losses.AssignedCosineLoss()), sequences
    true = [true_words(prompt, vectors) for prompt in records.prompt]
    table = np.full((len(records), TARGET_WORDS), -1, dtype=np.float32)
    for row, words in zip(table, true, strict=True):
        row[: len(words)] = words[:TARGET_WORDS]
    taught = np.unique(table[training])
    soft_words = 0
    if config.soft_targets:
        words, shares = soft_targets(
            read,
            training,
            weights,
            true,
            vectors,
            linear=config.linear_teacher,
            class_words=class_words,
            probabilities=evidence.probabilities if evidence is not None else None,
            class_weight=config.class_teacher,
        )
        soft_words = words.shape[1]
        soft = np.zeros((len(records), 2 * soft_words), np.float32)
        soft[training] = np.hstack([words, shares])
        table = np.hstack([table, soft])
    loss = losses.VocabularyLoss(
        vectors,
        taught[taught >= 0].astype(np.int32),
        config.seed,
        soft_words,
        config.soft_targets,
        config.pull,
        _decoder_prior(config, vectors, class_words),
        asymmetric=config.loss == "asymmetric",
    )
    return loss, lambda index: table[index]


@dataclass(frozen=True)
class Preset:
    """A name, what it is in a sentence, its defaults, and how it is trained."""

    description: str
    plan: Callable[..., Trainable]
    defaults: dict[str, Any]
    keep_best: bool


PRESETS: dict[str, Preset] = {
    "gaze": Preset(
        "a pretrained CNN looks, an LSTM says ten vectors, matched to the prompt's words as a set",
        _plan_gaze,
        {
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
        "the student project as its README describes it: ten vectors in the prompt's order",
        functools.partial(
            _plan_pixels,
            build=original.build,
            loss=losses.MaskedCosineLoss,
            positions=original.STEPS,
        ),
        {},
        keep_best=False,
    ),
    "notebook": Preset(
        "the student project as its notebook ran: one vector for the whole prompt",
        functools.partial(
            _plan_pixels,
            build=notebook.build,
            loss=losses.PaddedCosineLoss,
            positions=losses.PROMPT_POSITIONS,
        ),
        {},
        keep_best=False,
    ),
}


def default_config(preset: str, **changes: Any) -> TrainConfig:
    """The preset's defaults with `changes` (None means unchanged).

    Raises:
        UserError: unknown preset or a value out of range.
    """
    if preset not in PRESETS:
        raise UserError(f"Unknown preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    given = {name: value for name, value in changes.items() if value is not None}
    return TrainConfig(preset=preset, **(PRESETS[preset].defaults | given))


class _ValidationF1(keras.callbacks.Callback):
    """Adds `val_f1`, F1@10 on validation pictures averaged over images, to the epoch's figures."""

    def __init__(
        self, plan: Trainable, records: Records, validation: np.ndarray, decoder: Decoder
    ) -> None:
        super().__init__()
        self.index = validation
        self.plan, self.decoder = plan, decoder
        self.true = [true_words(records.prompt[i], decoder.vectors) for i in self.index]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        predicted = _predict(self.model, self.plan, self.index)
        scores = f1_scores(self.decoder.rank_vectors(predicted, WORDS)[0], self.true)
        if logs is not None:
            logs["val_f1"] = float(np.mean(scores))


class _Checkpoint(keras.callbacks.Callback):
    """Weights and optimizer after every epoch: `epoch-0007.weights.h5` after seven.

    Keras' own BackupAndRestore writes over the file it would restore from, so a kill during the
    write left nothing; this one writes beside it and renames.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            return  # the epoch before is the one to go back to
        self.folder.mkdir(parents=True, exist_ok=True)
        older = list(self.folder.glob("epoch-*.weights.h5"))
        temporary = self.folder / "new.weights.h5"
        self.model.save_weights(temporary)
        os.replace(temporary, self.folder / f"epoch-{epoch + 1:04}.weights.h5")
        for path in older:
            path.unlink(missing_ok=True)


def restore_checkpoint(folder: str | os.PathLike, network: keras.Model) -> int:
    """Load the latest checkpoint into a compiled network; the number of epochs it has had."""
    found = sorted(Path(folder).glob("epoch-*.weights.h5"))
    if not found:
        return 0
    network.optimizer.build(network.trainable_variables)  # so that its moments are loaded too
    network.load_weights(found[-1])
    return int(found[-1].name.removeprefix("epoch-").removesuffix(".weights.h5"))


class _BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best `val_f1`; the record survives a kill."""

    def __init__(self, path: Path, enabled: bool) -> None:
        super().__init__()
        self.path, self.record, self.enabled = path, path.with_suffix(".json"), enabled

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        score = (logs or {}).get("val_f1", 0.0)
        best = read_json(self.record)["val_f1"] if self.record.exists() else -1.0
        if self.enabled and score > best:
            temporary = self.path.with_name("new." + self.path.name)
            self.model.save_weights(temporary)
            os.replace(temporary, self.path)
            write_json(self.record, {"epoch": epoch + 1, "val_f1": score})


def _predict(network: keras.Model, plan: Trainable, index: np.ndarray) -> np.ndarray:
    """Vectors (n, steps, D) of the pictures at `index`."""
    batches = np.array_split(index, max(1, len(index) // 64))
    return np.concatenate([network.predict_on_batch(plan.read(batch)) for batch in batches])


def _without(
    records: Records, is_auxiliary: np.ndarray, groups: Sequence[str]
) -> tuple[Records, np.ndarray]:
    """The records of all other source groups."""
    kept = ~of_source_groups(records, groups)
    return records.take(kept), is_auxiliary[kept]


def _decoder_prior(
    config: TrainConfig, vectors: WordVectors, class_words: ClassWords | None
) -> np.ndarray:
    if class_words is None or not config.prior:
        return np.zeros(len(vectors), np.float32)
    return prior_of_background(class_words.background, config.prior)


def _form(records: Records) -> tuple[int, Fit]:
    """Side and fit of the prepared pictures; `load_records` made sure that they are alike."""
    settings = settings_of(records.folders[0])
    return settings.size, settings.fit


def _word_sequence(
    prompt: str, vectors: WordVectors, positions: int, content: bool = False
) -> np.ndarray:
    """The vectors of a prompt's known words in order, zero-padded: float32 (positions, D).

    With `content` of its distinct content words alone.
    """
    own = text.content_words(prompt) if content else text.words(prompt)
    known = [vectors.index[word] for word in own if word in vectors][:positions]
    sequence = np.zeros((positions, vectors.dimensions), np.float32)
    sequence[: len(known)] = vectors.vectors[known]
    return sequence


def _draw_weights(
    config: TrainConfig, records: Records, training: np.ndarray, is_auxiliary: np.ndarray
) -> np.ndarray:
    auxiliary = is_auxiliary[training]
    weights = np.zeros(len(training))
    main = sampling_weights(records.take(training[~auxiliary]), config.source_power)
    share = config.auxiliary_weight if auxiliary.any() else 0.0
    weights[~auxiliary] = main * (1 - share)
    if auxiliary.any():
        weights[auxiliary] = share * sampling_weights(records.take(training[auxiliary]), 1.0)
    return weights / weights.sum()


def _draws(
    plan: Trainable,
    training: np.ndarray,
    weights: np.ndarray,
    config: TrainConfig,
    first_epoch: int,
) -> tf.data.Dataset:
    """Endless batches of weighted draws; each epoch has its own seed, so a resumed run draws on."""

    def indices() -> Iterator[np.ndarray]:
        epoch = first_epoch
        while True:
            rng = np.random.default_rng((config.seed, epoch))
            for _ in range(config.steps):
                yield rng.choice(training, config.batch_size, p=weights).astype(np.int64)
            epoch += 1

    source = tf.data.Dataset.from_generator(
        indices, output_signature=tf.TensorSpec((None,), tf.int64)
    )
    return _read_batches(plan, source)


def _in_order(plan: Trainable, index: np.ndarray, batch_size: int) -> tf.data.Dataset:
    return _read_batches(plan, tf.data.Dataset.from_tensor_slices(index).batch(batch_size))


def _read_batches(plan: Trainable, indices: tf.data.Dataset) -> tf.data.Dataset:
    inputs = plan.read(np.zeros(1, np.int64))
    targets = plan.targets(np.zeros(1, np.int64))

    def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return plan.read(index), plan.targets(index)

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(read, [index], (inputs.dtype, targets.dtype))
        x.set_shape((None, *inputs.shape[1:]))
        y.set_shape((None, *targets.shape[1:]))
        return x, y

    return indices.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _check_claim(out: Path, stamp: dict, resume: bool) -> None:
    path = out / "config.json"
    if path.exists():
        if read_json(path) != stamp:
            raise UserError(f"{out} holds another run ({path.name} differs); give another --out.")
        if not resume:
            raise UserError(f"{out} holds this run already; add --resume or give another --out.")
        if (out / "model.keras").exists():
            raise UserError(f"{out} is finished; there is nothing to resume.")
    elif resume:
        raise UserError(f"{out} holds no run to resume; leave --resume out to start one.")
    elif out.is_file() or (out.exists() and any(out.iterdir())):
        raise UserError(f"{out} is not empty and holds no run; give another --out.")


def _claim(out: Path, stamp: dict, vectors: WordVectors, command: Sequence[str]) -> None:
    if not (out / "config.json").exists():
        write_json(out / "config.json", stamp)
    if not (out / PROVENANCE_FILE).exists():  # of the start, not of a resumption
        write_json(out / PROVENANCE_FILE, provenance(command))
    if not (out / EMBEDDING_FILE).exists():
        vectors.save(out / EMBEDDING_FILE)


def _keep_rows(history: Path, epochs: int) -> None:
    """Drop rows of epochs that will run again: a kill may fall between log and checkpoint."""
    if history.exists():
        lines = history.read_text().splitlines(keepends=True)
        with atomic_path(history) as temporary:
            temporary.write_text("".join(lines[: epochs + 1]) if epochs else "")


def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


@contextlib.contextmanager
def _mixed_precision() -> Iterator[None]:
    """Layers built inside compute in bfloat16 where a GPU is there.

    bfloat16 needs no loss scaling, and every GPU sold since 2020 has it. On a CPU neither it nor
    XLA made the originals faster.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if _has_gpu() else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
