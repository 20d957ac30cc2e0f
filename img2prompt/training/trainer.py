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

import numpy as np
import plotly.graph_objects as go

from img2prompt.core import html_report
from img2prompt.core.backend import keras, tf
from img2prompt.core.errors import UserError
from img2prompt.core.files import (
    PROVENANCE_FILE,
    atomic_path,
    locked,
    provenance,
    read_json,
    sha256_of,
    write_json,
)
from img2prompt.core.forms import Run, Settings
from img2prompt.data import images
from img2prompt.data.data_account import account
from img2prompt.data.images import Fit, to_float
from img2prompt.data.sampling import balanced_weights, cap_mask, sampling_weights
from img2prompt.data.shards import Records, ShardIndex, load_records, pixel_reader, settings_of
from img2prompt.data.splits import SPLITS, of_source_groups, source_group, source_names
from img2prompt.embedding.class_words import CLASS_WORDS_FILE, ClassWords
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.evaluation.metrics import WORDS, f1_scores, is_hit, true_words
from img2prompt.inference.decoder import (
    DECODER_PROVENANCE,
    DECODER_SUFFIX,
    Decoder,
    prior_of_background,
)
from img2prompt.inference.predictor import Predictor, load_model
from img2prompt.models import gaze, losses, notebook, original
from img2prompt.models.backbones import load_classifier
from img2prompt.models.features import cache_features, feature_path
from img2prompt.training import checkpoints, distributed
from img2prompt.training import soft_targets as teacher
from img2prompt.training import stream as streaming
from img2prompt.training.checkpoints import Checkpoint as _Checkpoint
from img2prompt.training.checkpoints import restore as restore_checkpoint
from img2prompt.training.distributed import Cluster
from img2prompt.training.soft_targets import Teacher, soft_targets
from img2prompt.training.stream import TargetForm

LOCK_FILE = ".train.lock"  # in a run's folder while it runs
SOFT_FOLDER = "soft"  # in a run's folder: its soft targets

TARGET_WORDS = 40  # of a longer prompt the first forty content words teach `gaze`
# What `gaze` can be trained with: softmax over the vocabulary, the same with yes-no questions,
# cosine to the prompt's words in order, cosine under the best assignment.
LOSSES = ("vocabulary", "asymmetric", "ordered", "assigned")

# What runs of earlier versions were trained with, and do not say.
LATER_SETTINGS = {"stream": False, "dropout": 1.0, "max_per_prompt": 0, "word_power": 0.0}

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
    # Pictures that near-duplicate prompts may have in training; 0 for all.
    max_per_prompt: int = 0
    # How much less frequent words are drawn, from 0, not at all, to 1; see imbalance.py.
    word_power: float = 0.0
    # Read the shards from front to back, for data that no memory holds; see streaming.py. Asked
    # for rather than set above some size: it draws other pictures, so it is a part of the recipe.
    stream: bool = False
    # Times the preset's own rates. 0 makes a run's steps the same on any number of replicas, which
    # otherwise draw one mask for each of their slices instead of one for the whole batch.
    dropout: float = 1.0

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
        if self.max_per_prompt < 0 or not 0 <= self.word_power <= 1:
            raise UserError("The cap per prompt must be >= 0, the power of words lies in [0, 1].")
        if self.stream and (self.max_per_prompt or self.word_power):
            raise UserError(
                "A streamed run does not hold the prompts; cap them by prepare_data.py "
                "--max-per-prompt, and leave --max-per-prompt and --word-power out here."
            )
        if self.loss not in LOSSES:
            raise UserError(f"Unknown loss {self.loss!r}; choose one of {', '.join(LOSSES)}.")
        weights = (self.pull, self.soft_targets, self.linear_teacher, self.class_teacher)
        if min(*weights, self.prior) < 0:
            raise UserError("Pull, prior and the weights of the teacher must be >= 0.")
        if not 0 <= self.dropout <= 1:
            raise UserError("The factor on dropout must lie in [0, 1].")
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
    """What a preset needs to be trained.

    Attributes:
        build: () → the untrained network; it takes the inputs that `read` gives.
        read: positions (b,) → inputs (b, …) float32.
        targets: for every record, what the loss takes.
        loss: a Keras loss.
        optimizer: () → a Keras optimizer.
        finish: the trained network → the model that is saved, pictures in, vectors out.
        columns: what a streamed run reads; None for a run that draws from memory.
        prepare: () → None, what is to be computed once the run's folder is claimed.
        xla: whether the loss can be compiled with XLA (no shapes that depend on the data).
    """

    build: Callable[[], keras.Model]
    read: Callable[[np.ndarray], np.ndarray]
    targets: Callable[[np.ndarray], np.ndarray]
    loss: keras.losses.Loss
    optimizer: Callable[[], keras.optimizers.Optimizer]
    finish: Callable[[keras.Model], keras.Model]
    columns: streaming.Columns | None = None
    prepare: Callable[[], None] = lambda: None
    xla: bool = True


@dataclass(frozen=True)
class Data:
    """The pictures of a run.

    Attributes:
        pictures: what is known of them, all of it or, for a streamed run, the least.
        training, validation, calibration: positions of the pictures that teach, that are looked
            at after each epoch, and that confidences are fitted to.
        weights: (len(training),), how often each is drawn.
        own: a folder for what only this run can use.
        cluster: the replicas that train.
    """

    pictures: Records | ShardIndex
    training: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray
    weights: np.ndarray
    own: Path
    cluster: Cluster

    @property
    def form(self) -> tuple[int, Fit]:
        """Side and fit of the prepared pictures; the folders were found to be alike."""
        return _form(self.pictures)

    @property
    def shards(self) -> list[tuple[Path, str]]:
        """Folder and name of every shard."""
        return self.pictures.places()

    def reader(self, path_of: streaming.PathOf) -> Callable[[np.ndarray], np.ndarray]:
        """Positions (b,) → rows of the files beside the shards."""
        return self.pictures.reader(path_of)

    def prompts(self, index: np.ndarray) -> Sequence[str]:
        """The prompts at some positions."""
        if isinstance(self.pictures, ShardIndex):
            return self.pictures.prompts(index)
        return self.pictures.prompt[index]


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
    strategy: str = "none",
) -> dict[str, list[float]]:
    """Train one preset and write its run folder.

    Killed at any moment, the same call with `resume=True` goes on from the last whole epoch, on
    the same or another number of replicas. On the same machine and the same number it ends with
    the weights of a run that nobody disturbed, to 1e-6: what is drawn depends on the seed and the
    epoch, and where the numbers of dropout and of the loss stand is saved. What further
    `callbacks` remember is theirs to save.

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
        strategy: one of `distribution.STRATEGIES`. With `multiworker` every worker makes this
            call, and the chief alone writes `out`.

    Returns:
        Keras' history: figure → one value an epoch of this call.

    Raises:
        UserError: bad folders, no training pictures, `out` holds another run or one that is
            still going on, or a worker of a distributed run is gone.
    """
    with distributed.opened(strategy) as cluster:
        if config.stream:
            streaming.check_workers(config.batch_size, cluster.task.workers)
        cluster.check_batch(config.batch_size)
        return _train(
            config, [*folders], embedding, Path(out), resume, [*(auxiliary or [])], class_words,
            verbose if cluster.chief else 0, callbacks or [], command, cluster,
        )  # fmt: skip


def _train(
    config: TrainConfig,
    folders: list[str | os.PathLike],
    embedding: str | os.PathLike,
    out: Path,
    resume: bool,
    auxiliary: list[str | os.PathLike],
    class_words: str | os.PathLike | None,
    verbose: int,
    callbacks: list[keras.callbacks.Callback],
    command: Sequence[str],
    cluster: Cluster,
) -> dict[str, list[float]]:
    vectors = WordVectors.load(embedding)
    data = load_data(config, folders, auxiliary, vectors, out / SOFT_FOLDER, cluster)
    stamp = dataclasses.asdict(config) | {
        "embedding": vectors.fingerprint,
        "training_pictures": len(data.training),
        "validation_pictures": len(data.validation),
    }
    beside = None
    if config.needs_class_words:
        path = class_words or Path(embedding).with_name(CLASS_WORDS_FILE)
        beside = ClassWords.load(path, vectors)
        stamp["class_words"] = beside.fingerprint
    with _claimed(out, stamp, resume, cluster):
        plan = PRESETS[config.preset].plan(config, vectors, data, beside)
        if cluster.chief:
            _claim(out, stamp, vectors, command, account(folders, auxiliary))
        plan.prepare()
        decoder = dataclasses.replace(
            Decoder.plain(vectors), prior=_decoder_prior(config, vectors, beside)
        )
        network = _compiled(config, plan, cluster)
        first_epoch = 0
        if resume and cluster.chief:
            first_epoch = restore_checkpoint(out / checkpoints.FOLDER, network)
        first_epoch = int(cluster.gather(first_epoch)[0])
        cluster.share_state(network)
        if cluster.chief:
            _keep_rows(out / "history.csv", first_epoch)
        # What the chief's callbacks ask for answers must not need the other workers.
        seer = network if cluster.strategy is None else _compiled_alone(plan)
        chain: list[keras.callbacks.Callback] = [keras.callbacks.TerminateOnNaN()]
        if cluster.chief:
            chain = [
                # First, so that the figures it adds reach the checkpoint and the logs.
                _ValidationF1(plan, seer, data, decoder),
                checkpoints.BestWeights(out, PRESETS[config.preset].keep_best),
                keras.callbacks.CSVLogger(str(out / "history.csv"), append=first_epoch > 0),
                keras.callbacks.TensorBoard(str(out / "tensorboard")),
                _Checkpoint(out / checkpoints.FOLDER),
                *chain,
                *callbacks,
            ]
        epochs = range(first_epoch, config.epochs)
        history = _fit(config, plan, data, network, seer, epochs, chain, verbose, cluster)
        if not np.all(np.isfinite(history.history.get("loss", [0.0]))):
            raise UserError("The loss is no longer a number; try a smaller --learning-rate.")
        if cluster.chief:
            _finish(config, plan, data, network, decoder, out)
        try:
            cluster.barrier()  # a worker that left early would be missed
        except tf.errors.OpError:
            if not cluster.chief:
                raise
            # All that the run leaves behind is written: whoever is gone by now is not missed.
    return history.history


@contextlib.contextmanager
def _claimed(out: Path, stamp: dict, resume: bool, cluster: Cluster) -> Iterator[None]:
    """Let the chief hold the run's folder, and all workers agree on what to train.

    Raises:
        UserError: on every worker, where the chief may not train there or they do not agree.
    """
    with contextlib.ExitStack() as held:
        refused = None
        if cluster.chief:
            try:
                if not out.is_dir():
                    _check_claim(out, stamp, resume)  # before there is a folder to hold
                held.enter_context(locked(out, LOCK_FILE))
                checkpoints.sweep_run(out)
                _check_claim(out, stamp, resume)
            except UserError as error:
                refused = error
        if cluster.gather(int(refused is not None))[0]:
            raise refused or UserError("The chief refused this run; its own message says why.")
        cluster.agree([stamp, resume])
        yield


def _compiled(config: TrainConfig, plan: Trainable, cluster: Cluster) -> keras.Model:
    """The network at the start of a run."""
    keras.utils.set_random_seed(config.seed)
    with cluster.scope(), _mixed_precision():
        network = _with_dropout(plan.build(), config.dropout)
        network.compile(
            optimizer=plan.optimizer(), loss=plan.loss, jit_compile=_has_gpu() and plan.xla
        )
        network.optimizer.build(network.trainable_variables)
    return network


def _fit(
    config: TrainConfig,
    plan: Trainable,
    data: Data,
    network: keras.Model,
    seer: keras.Model,
    epochs: range,
    callbacks: list[keras.callbacks.Callback],
    verbose: int,
    cluster: Cluster,
) -> keras.callbacks.History:
    """Train some epochs; `seer` measures them."""
    failures: list[UserError] = []
    training = _training_batches(plan, data, config, epochs, failures)
    validation = _in_order(plan, data.validation, config.batch_size, failures)

    def validate() -> dict[str, float]:
        # On every worker, so that all have drawn the same negatives when they go on.
        seer.set_weights(network.get_weights())
        loss = float(seer.evaluate(validation, verbose=0))
        if isinstance(plan.loss, losses.VocabularyLoss):
            plan.loss.align()
        return {"val_loss": loss}

    try:
        if cluster.strategy is None:
            return network.fit(
                training,
                steps_per_epoch=config.steps,
                epochs=epochs.stop,
                initial_epoch=epochs.start,
                validation_data=validation,
                shuffle=False,  # the batches are drawn already
                verbose=verbose,
                callbacks=callbacks,
            )
        return distributed.fit(
            cluster,
            network,
            training,
            steps=config.steps,
            epochs=epochs,
            validate=validate,
            callbacks=callbacks,
            verbose=verbose,
        )
    except tf.errors.OpError:
        if failures:
            raise failures[0] from None
        raise


def _finish(
    config: TrainConfig,
    plan: Trainable,
    data: Data,
    network: keras.Model,
    decoder: Decoder,
    out: Path,
) -> None:
    """Write what a run leaves behind, and delete what only its training needed."""
    if (out / checkpoints.BEST_WEIGHTS).exists():
        network.load_weights(out / checkpoints.BEST_WEIGHTS)
    # Built anew: without optimizer and loss the file has a third of the size and needs no code of
    # training, and whatever the precision of training, the model that ships computes in float32.
    trained = plan.build()
    trained.set_weights(network.get_weights())
    predicted = _predict(trained, plan, data.calibration)
    vectors = decoder.vectors
    true = [true_words(prompt, vectors) for prompt in data.prompts(data.calibration)]
    fitted = fit_decoder(decoder, predicted, true)
    write_learning_curves(out)
    with atomic_path(out / "model.keras") as temporary:  # the last: it says that all is there
        plan.finish(trained).save(temporary)
        fitted.save(out / ("model" + DECODER_SUFFIX), model=sha256_of(temporary))
    _clear(out)


def _clear(out: Path) -> None:
    """Delete what only the training needed; a kill may have prevented it."""
    checkpoints.clear(out)
    shutil.rmtree(out / SOFT_FOLDER, ignore_errors=True)


def load_data(
    config: TrainConfig,
    folders: Sequence[str | os.PathLike],
    auxiliary: Sequence[str | os.PathLike],
    vectors: WordVectors,
    own: Path,
    cluster: Cluster | None = None,
) -> Data:
    """The pictures that a run of `config` trains on and is followed by.

    Args:
        config: what is trained.
        folders: prepared folders with pairs.
        auxiliary: prepared folders whose pictures only teach words.
        vectors: the embedding.
        own: a folder for what only this run can use.
        cluster: the replicas that train; unset, this process alone.

    Raises:
        UserError: bad folders, or no training or validation pictures.
    """
    cluster = cluster or Cluster(None, distributed.Task())
    folders = [Path(folder) for folder in folders]
    everything = [*folders, *(Path(folder) for folder in auxiliary)]
    pictures: Records | ShardIndex
    if config.stream:
        # The chief first: what it computes, the others find where the folders are shared.
        for mine in (cluster.chief, not cluster.chief):
            if mine:
                pictures = streaming.read_index(
                    everything, vectors, _target_forms(config), hashes=config.source_power != 1
                )
            cluster.barrier()
        is_auxiliary = pictures.folder >= len(folders)
        kept = pictures.known & ~of_source_groups(pictures, config.left_out)
        training = kept & (pictures.split == SPLITS.index("train"))
        validation = kept & (pictures.split == SPLITS.index("validation")) & ~is_auxiliary
        training, validation = np.flatnonzero(training), np.flatnonzero(validation)
    else:
        pictures = load_records(everything)
        is_auxiliary = pictures.folder >= len(folders)
        pictures, is_auxiliary = _without(pictures, is_auxiliary, config.left_out)
        training = np.flatnonzero(pictures.split == "train")
        validation = np.flatnonzero((pictures.split == "validation") & ~is_auxiliary)
        known = _known(pictures, vectors)
        training, validation = training[known[training]], validation[known[validation]]
        training = training[cap_mask(pictures.take(training), config.max_per_prompt)]
    if not len(training) or not len(validation):
        raise UserError(
            "No training or no validation pictures have words that the embedding knows."
        )
    return Data(
        pictures,
        training,
        # Enough to follow a run and choose its epoch; the whole split is for `evaluate.py`.
        validation[:: -(-len(validation) // VALIDATION_PICTURES)],
        _calibration(validation),
        _draw_weights(config, pictures, training, is_auxiliary),
        own,
        cluster,
    )


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
    config = read_json(run / "config.json", Run)
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
    decoder.save(run / ("model" + DECODER_SUFFIX), model=sha256_of(run / "model.keras"))
    write_json(run / DECODER_PROVENANCE, provenance(command))
    return decoder


def _known(records: Records, vectors: WordVectors) -> np.ndarray:
    """Which prompts have a content word that the embedding knows: bool (n,)."""
    return np.array([len(vectors.prompt_positions(prompt)) > 0 for prompt in records.prompt], bool)


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
        for key, color in zip(keys, (html_report.ACCENT, html_report.SECOND), strict=False):
            if rows and key in rows[0]:
                x = [int(row["epoch"]) + 1 for row in rows]
                y = [float(row[key]) for row in rows]
                figure.add_scatter(x=x, y=y, name=key, line_color=color)
        figure.update_layout(title=title, xaxis_title="epoch", template="simple_white")
        blocks.append(figure)
    html_report.write_page(out / "learning_curves.html", f"Run {out.name}", blocks)


def _target_forms(config: TrainConfig) -> list[TargetForm]:
    """The targets that a streamed run of a preset reads; content words always, they also tell
    which prompts the embedding knows."""
    content = TargetForm(content=True, positions=TARGET_WORDS)
    positions = {"original": original.STEPS, "notebook": losses.PROMPT_POSITIONS}
    if config.preset in positions:
        return [TargetForm(content=False, positions=positions[config.preset]), content]
    return [content]


def _pixel_path(folder: Path, shard: str) -> Path:
    return folder / f"{shard}.npy"


def _plan_pixels(
    config: TrainConfig,
    vectors: WordVectors,
    data: Data,
    class_words: ClassWords | None,
    *,
    build: Callable[..., keras.Model],
    loss: type[keras.losses.Loss],
    positions: int,
) -> Trainable:
    """From pictures themselves to the vectors of the prompt's first `positions` words."""
    reader = data.reader(_pixel_path)
    columns = None
    if config.stream:
        path_of = TargetForm(content=False, positions=positions).path_of(vectors)
        stored = data.reader(path_of)
        look_up = _vector_table(vectors)

        def targets(index: np.ndarray) -> np.ndarray:
            return look_up(stored(index)).numpy()

        def decode(pixels: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.cast(pixels, tf.float32) / images.WHITE, look_up(words)

        columns = streaming.Columns((_pixel_path, path_of), decode)
    else:

        def targets(index: np.ndarray) -> np.ndarray:
            prompts = data.prompts(index)
            return np.stack([_word_sequence(prompt, vectors, positions) for prompt in prompts])

    return Trainable(
        build=lambda: build(vectors, *data.form),
        read=lambda index: to_float(reader(index)),
        targets=targets,
        loss=loss(),
        optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
        finish=lambda trained: trained,
        columns=columns,
    )


def _plan_gaze(
    config: TrainConfig, vectors: WordVectors, data: Data, class_words: ClassWords | None
) -> Trainable:
    side, fit = data.form
    tower = gaze.build_tower(config.backbone, side)
    # Workers on one disk share the work out; on disks of their own each does the rest then.
    task = data.cluster.task
    cache_features(tower, config.backbone, data.shards[task.rank :: task.workers])
    data.cluster.barrier()
    cache_features(tower, config.backbone, data.shards)

    def path_of(folder: Path, shard: str) -> Path:
        return feature_path(folder, config.backbone, shard)

    stored = data.reader(path_of)

    def read(index: np.ndarray) -> np.ndarray:
        return stored(index).astype(np.float32)

    sample = read(data.training[:: max(1, len(data.training) // 4096)])
    mean, deviation = sample.mean(axis=0), sample.std(axis=0)
    evidence = None
    classifier = load_classifier(config.backbone) if class_words is not None else None
    if config.evidence and classifier is None:
        raise UserError(f"{config.backbone} comes without a classifier; add --no-evidence.")
    if classifier is not None and class_words is not None:
        evidence = gaze.Evidence.of(classifier, class_words, vectors, sample)
    plan = _stream_gaze_loss if config.stream else _gaze_loss
    taught = plan(config, vectors, data, read, path_of, class_words, evidence)
    return Trainable(
        build=lambda: gaze.build_head(
            mean, deviation, vectors, fit, evidence if config.evidence else None
        ),
        read=read,
        targets=taught.targets,
        loss=taught.loss,
        optimizer=lambda: keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                config.learning_rate, config.epochs * config.steps
            ),
            weight_decay=gaze.WEIGHT_DECAY,
            clipnorm=1.0,
        ),
        finish=lambda trained: gaze.join(tower, trained),
        columns=taught.columns,
        prepare=taught.prepare,
        xla=False,
    )


@dataclass(frozen=True)
class _GazeLoss:
    """The part of a `Trainable` that depends on the loss of `gaze`."""

    loss: keras.losses.Loss
    targets: Callable[[np.ndarray], np.ndarray]
    columns: streaming.Columns | None = None
    prepare: Callable[[], None] = lambda: None


def _gaze_loss(
    config: TrainConfig,
    vectors: WordVectors,
    data: Data,
    read: Callable[[np.ndarray], np.ndarray],
    path_of: streaming.PathOf,
    class_words: ClassWords | None,
    evidence: gaze.Evidence | None,
) -> _GazeLoss:
    """The loss of `config.loss`, and for positions (b,) what it takes."""
    prompts, training = data.pictures.prompt, data.training
    if config.loss in ("ordered", "assigned"):

        def sequences(index: np.ndarray) -> np.ndarray:
            rows = [_word_sequence(prompts[i], vectors, gaze.STEPS, True) for i in index]
            return np.stack(rows)

        return _GazeLoss(_cosine_loss(config), sequences)
    true = [true_words(prompt, vectors) for prompt in prompts]
    table = np.full((len(true), TARGET_WORDS), -1, dtype=np.float32)
    for row, words in zip(table, true, strict=True):
        row[: len(words)] = words[:TARGET_WORDS]
    taught = np.unique(table[training])
    soft_words = 0
    if config.soft_targets:
        words, shares = soft_targets(
            read, training, data.weights, true, vectors, **_mixture(config, class_words, evidence)
        )
        soft_words = words.shape[1]
        soft = np.zeros((len(true), 2 * soft_words), np.float32)
        soft[training] = np.hstack([words, shares])
        table = np.hstack([table, soft])
    taught = taught[taught >= 0].astype(np.int32)
    loss = _vocabulary_loss(config, vectors, taught, soft_words, class_words, data.cluster)
    return _GazeLoss(loss, lambda index: table[index])


def _stream_gaze_loss(
    config: TrainConfig,
    vectors: WordVectors,
    data: Data,
    read: Callable[[np.ndarray], np.ndarray],
    path_of: streaming.PathOf,
    class_words: ClassWords | None,
    evidence: gaze.Evidence | None,
) -> _GazeLoss:
    """As `_gaze_loss`; targets are read from beside the shards, and prompts' words after the
    fortieth are unknown to the teacher too."""
    words_path = TargetForm(content=True, positions=TARGET_WORDS).path_of(vectors)
    words_of = data.reader(words_path)

    def floats(features: tf.Tensor) -> tf.Tensor:
        return tf.cast(features, tf.float32)

    if config.loss in ("ordered", "assigned"):
        look_up = _vector_table(vectors)
        columns = streaming.Columns(
            (path_of, words_path), lambda x, y: (floats(x), look_up(y[:, : gaze.STEPS]))
        )
        return _GazeLoss(
            _cosine_loss(config),
            lambda index: look_up(words_of(index)[:, : gaze.STEPS]).numpy(),
            columns,
        )
    seen = np.zeros(len(vectors) + 1, bool)  # the last for −1, no word
    blocks = np.array_split(data.training, -(-len(data.training) // 65_536))
    for block in blocks:
        seen[words_of(block)] = True
    taught = np.flatnonzero(seen[:-1]).astype(np.int32)
    paths = (path_of, words_path)
    soft_words = min(teacher.WORDS, len(vectors)) if config.soft_targets else 0
    if config.soft_targets:
        paths += (_soft_path(data),)

    def prepare() -> None:
        if config.soft_targets:
            mixture = _mixture(config, class_words, evidence)
            _cache_soft_targets(data, vectors, read, words_of, **mixture)

    def decode(features: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return floats(features), tf.concat([floats(target) for target in targets], axis=1)

    stored = [data.reader(path) for path in paths[1:]]
    return _GazeLoss(
        _vocabulary_loss(config, vectors, taught, soft_words, class_words, data.cluster),
        lambda index: np.hstack([part(index).astype(np.float32) for part in stored]),
        streaming.Columns(paths, decode),
        prepare,
    )


def _soft_path(data: Data) -> streaming.PathOf:
    """Where the soft targets of a shard lie."""
    number = {folder: str(place) for place, folder in enumerate(data.pictures.folders)}
    return lambda folder, shard: data.own / number[folder] / f"{shard}.npy"


def _cache_soft_targets(
    data: Data,
    vectors: WordVectors,
    read: Callable[[np.ndarray], np.ndarray],
    words_of: Callable[[np.ndarray], np.ndarray],
    **mixture: Any,
) -> None:
    """The teacher's words of every shard, float32 (n, 2 · words), kept in the run's folder.

    They depend on all training pictures, so they are of no use to another run. The chief computes
    them; zeros where a picture is not of the training split.
    """
    index, path_of = data.pictures, _soft_path(data)
    files = [index.file(shard, path_of) for shard in range(len(index.shards))]
    if data.cluster.chief and not all(path.exists() for path in files):

        def true(chosen: np.ndarray) -> list[np.ndarray]:
            return [row[row >= 0] for row in words_of(chosen)]

        say = Teacher(read, data.training, data.weights, true, vectors, **mixture)
        for shard, path in enumerate(files):
            if path.exists():
                continue
            first, last = np.searchsorted(data.training, index.start[shard : shard + 2])
            chosen = data.training[first:last]
            rows = np.zeros((int(np.diff(index.start)[shard]), 2 * say.words), np.float32)
            for start in range(0, len(chosen), teacher.BLOCK):
                block = chosen[start : start + teacher.BLOCK]
                rows[block - index.start[shard]] = np.hstack(say(read(block)))
            with atomic_path(path) as temporary:
                np.save(temporary, rows)
    data.cluster.barrier()
    if not all(path.exists() for path in files):
        raise UserError(
            "The chief's soft targets are not to be seen here; put --out on a disk that all "
            "workers share, or set --soft-targets 0."
        )


def _mixture(
    config: TrainConfig, class_words: ClassWords | None, evidence: gaze.Evidence | None
) -> dict[str, Any]:
    """How the teacher is mixed."""
    return {
        "linear": config.linear_teacher,
        "class_words": class_words,
        "probabilities": evidence.probabilities if evidence is not None else None,
        "class_weight": config.class_teacher,
    }


def _cosine_loss(config: TrainConfig) -> keras.losses.Loss:
    ordered = config.loss == "ordered"
    return losses.MaskedCosineLoss() if ordered else losses.AssignedCosineLoss()


def _vocabulary_loss(
    config: TrainConfig,
    vectors: WordVectors,
    taught: np.ndarray,
    soft_words: int,
    class_words: ClassWords | None,
    cluster: Cluster,
) -> losses.VocabularyLoss:
    return losses.VocabularyLoss(
        vectors,
        taught,
        config.seed,
        soft_words,
        config.soft_targets,
        config.pull,
        _decoder_prior(config, vectors, class_words),
        asymmetric=config.loss == "asymmetric",
        devices=cluster.local,
    )


def _vector_table(vectors: WordVectors) -> Callable[[Any], tf.Tensor]:
    """Positions in the vocabulary (…), −1 for none → their vectors, zeros for none: (…, D)."""
    table = tf.constant(np.vstack([vectors.vectors, np.zeros((1, vectors.dimensions), np.float32)]))
    return lambda words: tf.gather(table, tf.where(words < 0, len(vectors), words))


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

    def __init__(self, plan: Trainable, seer: keras.Model, data: Data, decoder: Decoder) -> None:
        super().__init__()
        self.index = data.validation
        # The network itself, or the same weights outside of a cluster.
        self.plan, self.seer, self.decoder = plan, seer, decoder
        self.true = [true_words(prompt, decoder.vectors) for prompt in data.prompts(self.index)]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        predicted = _predict(self.seer, self.plan, self.index)
        scores = f1_scores(self.decoder.rank_vectors(predicted, WORDS)[0], self.true)
        if logs is not None:
            logs["val_f1"] = float(np.mean(scores))


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


def _compiled_alone(plan: Trainable) -> keras.Model:
    """The network once more, outside of a cluster, to measure with the cluster's weights."""
    network = plan.build()
    network.compile(loss=plan.loss, jit_compile=False)
    return network


def _with_dropout(network: keras.Model, factor: float) -> keras.Model:
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate *= factor
    return network


def _form(pictures: Records | ShardIndex) -> tuple[int, Fit]:
    """Side and fit of the prepared pictures; whoever read them made sure that they are alike."""
    settings = settings_of(pictures.folders[0])
    return settings.size, settings.fit


def _word_sequence(
    prompt: str, vectors: WordVectors, positions: int, content: bool = False
) -> np.ndarray:
    """The vectors of a prompt's known words in order, zero-padded: float32 (positions, D).

    With `content` of its distinct content words alone.
    """
    known = vectors.prompt_positions(prompt, content)[:positions]
    sequence = np.zeros((positions, vectors.dimensions), np.float32)
    sequence[: len(known)] = vectors.vectors[known]
    return sequence


def _draw_weights(
    config: TrainConfig,
    pictures: Records | ShardIndex,
    training: np.ndarray,
    is_auxiliary: np.ndarray,
) -> np.ndarray:
    auxiliary = is_auxiliary[training]
    streamed = isinstance(pictures, ShardIndex)
    weights = np.zeros(len(training), np.float32 if streamed else np.float64)

    def of(members: np.ndarray, power: float, word_power: float = 0.0) -> np.ndarray:
        chosen = training[members]
        if not streamed:
            return balanced_weights(pictures.take(chosen), power, word_power)
        return sampling_weights(pictures, power, chosen).astype(np.float32)

    main = of(~auxiliary, config.source_power, config.word_power)
    share = config.auxiliary_weight if auxiliary.any() else 0.0
    weights[~auxiliary] = main * (1 - share)
    if auxiliary.any():
        weights[auxiliary] = share * of(auxiliary, 1.0)
    return weights / weights.sum()


def _training_batches(
    plan: Trainable,
    data: Data,
    config: TrainConfig,
    epochs: range,
    failures: list[UserError],
) -> tf.data.Dataset:
    """This worker's parts of the batches of some epochs."""
    if plan.columns is None:
        return _draws(plan, data.training, data.weights, config, epochs.start, data.cluster)
    weights = np.zeros(len(data.pictures), np.float32)
    weights[data.training] = data.weights
    task = data.cluster.task
    return streaming.batches(
        data.pictures,
        plan.columns,
        streaming.Draws(
            weights, data.pictures.start, config.steps * config.batch_size, config.seed
        ),
        config.batch_size,
        epochs,
        task.rank,
        task.workers,
        failures,
    )


def _draws(
    plan: Trainable,
    training: np.ndarray,
    weights: np.ndarray,
    config: TrainConfig,
    first_epoch: int,
    cluster: Cluster,
    failures: list[UserError] | None = None,
) -> tf.data.Dataset:
    """Endless batches of weighted draws; each epoch has its own seed, so a resumed run draws on."""

    def indices() -> Iterator[np.ndarray]:
        epoch = first_epoch
        while True:
            rng = np.random.default_rng((config.seed, epoch))
            for _ in range(config.steps):
                drawn = rng.choice(training, config.batch_size, p=weights).astype(np.int64)
                yield cluster.part(drawn)
            epoch += 1

    source = tf.data.Dataset.from_generator(
        indices, output_signature=tf.TensorSpec((None,), tf.int64)
    )
    return _read_batches(plan, source, failures)


def _in_order(
    plan: Trainable,
    index: np.ndarray,
    batch_size: int,
    failures: list[UserError] | None = None,
) -> tf.data.Dataset:
    return _read_batches(
        plan, tf.data.Dataset.from_tensor_slices(index).batch(batch_size), failures
    )


def _read_batches(
    plan: Trainable, indices: tf.data.Dataset, failures: list[UserError] | None
) -> tf.data.Dataset:
    """`failures` takes what a person has to be told, which tf.data wraps beyond recognition."""
    inputs = plan.read(np.zeros(1, np.int64))
    targets = plan.targets(np.zeros(1, np.int64))

    def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return plan.read(index), plan.targets(index)
        except UserError as error:
            if failures is not None:
                failures.append(error)
            raise

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(read, [index], (inputs.dtype, targets.dtype))
        x.set_shape((None, *inputs.shape[1:]))
        y.set_shape((None, *targets.shape[1:]))
        return x, y

    return indices.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _check_claim(out: Path, stamp: dict, resume: bool) -> None:
    path = out / "config.json"
    if path.exists():
        if LATER_SETTINGS | read_json(path, Settings) != stamp:
            raise UserError(f"{out} holds another run ({path.name} differs); give another --out.")
        if not resume:
            raise UserError(f"{out} holds this run already; add --resume or give another --out.")
        if (out / "model.keras").exists():
            _clear(out)
            raise UserError(f"{out} is finished; there is nothing to resume.")
    elif resume:
        raise UserError(f"{out} holds no run to resume; leave --resume out to start one.")
    elif out.is_file() or any(path.name != LOCK_FILE for path in out.glob("*")):
        raise UserError(f"{out} is not empty and holds no run; give another --out.")


def _claim(
    out: Path, stamp: dict, vectors: WordVectors, command: Sequence[str], learned_from: str
) -> None:
    if not (out / "config.json").exists():
        write_json(out / "config.json", stamp)
    if not (out / PROVENANCE_FILE).exists():  # of the start, not of a resumption
        made = provenance(command) | {"learned_from": learned_from}
        write_json(out / PROVENANCE_FILE, made)
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
