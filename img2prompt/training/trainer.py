"""Prepared shards and an embedding → a trained model: set up, fit, checkpoint, resume, history.

A run's folder holds `config.json`, `history.csv`, `tensorboard/`, `checkpoint/` while it runs, and
in the end `model.keras`, `model.decoder.npz`, `embedding.npz`, `learning_curves.html`, and the
lexicon that lay beside the embedding where the preset sorts words by it.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
from img2prompt.core.forms import Settings
from img2prompt.data.data_account import account
from img2prompt.embedding.class_words import CLASS_WORDS_FILE, ClassWords
from img2prompt.embedding.lexicon import LEXICON_FILE, Lexicon
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.decoder import DECODER_SUFFIX, Decoder
from img2prompt.models import losses
from img2prompt.models.presets import preset_of
from img2prompt.training import checkpoints, distributed, stream
from img2prompt.training.calibration import fit_decoder
from img2prompt.training.callbacks import (
    ValidationF1,
    predict,
    true_words_of,
    write_learning_curves,
)
from img2prompt.training.config import LATER_SETTINGS, TrainConfig, TrainJob
from img2prompt.training.distributed import Cluster, Schedule
from img2prompt.training.inputs import (
    Data,
    batches_at_random,
    batches_in_order,
    load_data,
)
from img2prompt.training.presets import Trainable, decoder_prior, trainable

LOCK_FILE = ".train.lock"  # in a run's folder while it runs
SOFT_FOLDER = "soft"  # in a run's folder: its soft targets

History = dict[str, list[float]]


def train(
    config: TrainConfig,
    job: TrainJob,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 2,
) -> History:
    """Train one preset and write its run folder.

    Killed at any moment, the same call with `job.resume` goes on from the last whole epoch, on
    the same or another number of replicas. On the same machine and the same number it ends with
    the weights of a run that nobody disturbed, to 1e-6: what is drawn depends on the seed and the
    epoch, and the state of the random numbers of dropout and of the loss is saved. What further
    `callbacks` remember is theirs to save.

    Args:
        config: what to train.
        job: where to read and write.
        callbacks: more Keras callbacks.
        verbose: as Keras' `fit`.

    Returns:
        Keras' history: figure → one value an epoch of this call.

    Raises:
        UserError: bad folders, no training pictures, `job.out` holds another run or one that is
            still going on, or a worker of a distributed run is gone.
    """
    with distributed.opened(job.strategy) as cluster:
        if config.stream:
            stream.check_workers(config.batch_size, cluster.task.workers)
        cluster.check_batch(config.batch_size)
        vectors = WordVectors.load(job.embedding)
        out = Path(job.out)
        data = load_data(config, job.folders, job.auxiliary, vectors, out / SOFT_FOLDER, cluster)
        stamp = dataclasses.asdict(config) | {
            "embedding": vectors.fingerprint,
            "training_pictures": len(data.training),
            "validation_pictures": len(data.validation),
        }
        class_words = None
        if config.needs_class_words:
            path = job.class_words or Path(job.embedding).with_name(CLASS_WORDS_FILE)
            class_words = ClassWords.load(path, vectors)
            stamp["class_words"] = class_words.fingerprint
        with _claimed(out, stamp, job.resume, cluster):
            plan = trainable(config, vectors, data, class_words)
            if cluster.chief:
                _write_claim(out, stamp, vectors, job)
            plan.prepare()
            prior = decoder_prior(config, vectors, class_words)
            decoder = dataclasses.replace(Decoder.plain(vectors), prior=prior)
            run = _Run(config, plan, data, decoder, out)
            history = _fit(run, job.resume, callbacks, verbose if cluster.chief else 0)
            try:
                cluster.barrier()  # a worker that left early would be missed
            except tf.errors.OpError:
                if not cluster.chief:
                    raise
                # All that the run leaves behind is written: whoever is gone by now is not missed.
            if not cluster.chief:
                shutil.rmtree(data.own, ignore_errors=True)  # where its disk is not the chief's
    return history


@dataclass(frozen=True)
class _Run:
    """A run that is set up: its settings, what is trained on which pictures, and its folder."""

    config: TrainConfig
    plan: Trainable
    data: Data
    decoder: Decoder
    out: Path


# --- the run's folder ---------------------------------------------------------------------------


@contextlib.contextmanager
def _claimed(out: Path, stamp: dict[str, Any], resume: bool, cluster: Cluster) -> Iterator[None]:
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
            raise refused or UserError("training.chief_refused")
        if not cluster.chief and not resume:
            # Of an earlier run, killed, on a disk of this worker's own: the chief's has none yet.
            shutil.rmtree(out / SOFT_FOLDER, ignore_errors=True)
        cluster.agree([stamp, resume])
        yield


def _check_claim(out: Path, stamp: dict[str, Any], resume: bool) -> None:
    path = out / "config.json"
    if path.exists():
        if LATER_SETTINGS | read_json(path, Settings) != stamp:
            raise UserError("training.another_run", out=out, name=path.name)
        if not resume:
            raise UserError("training.add_resume", out=out)
        if (out / "model.keras").exists():
            _clear(out)
            raise UserError("training.finished", out=out)
    elif resume:
        raise UserError("training.nothing_to_resume", out=out)
    elif out.is_file() or any(path.name != LOCK_FILE for path in out.glob("*")):
        raise UserError("training.not_empty", out=out)


def _write_claim(out: Path, stamp: dict[str, Any], vectors: WordVectors, job: TrainJob) -> None:
    if not (out / "config.json").exists():
        write_json(out / "config.json", stamp)
    if not (out / PROVENANCE_FILE).exists():  # of the start, not of a resumption
        learned_from = account([*job.folders], [*job.auxiliary])
        write_json(out / PROVENANCE_FILE, provenance(job.command) | {"learned_from": learned_from})
    if not (out / EMBEDDING_FILE).exists():
        vectors.save(out / EMBEDDING_FILE)
    lexicon = Path(job.embedding).with_name(LEXICON_FILE)
    if preset_of(stamp["preset"]).sorts_words and lexicon.is_file():
        Lexicon.load(lexicon, vectors).save(out / LEXICON_FILE)


def _keep_rows(history: Path, epochs: int) -> None:
    """Drop rows of epochs that will run again: a kill may fall between log and checkpoint."""
    if history.exists():
        lines = history.read_text().splitlines(keepends=True)
        with atomic_path(history) as temporary:
            temporary.write_text("".join(lines[: epochs + 1]) if epochs else "")


def _clear(out: Path) -> None:
    """Delete what only the training needed; a kill may have prevented it."""
    checkpoints.clear(out)
    shutil.rmtree(out / SOFT_FOLDER, ignore_errors=True)


# --- fitting ------------------------------------------------------------------------------------


def _fit(
    run: _Run, resume: bool, callbacks: Sequence[keras.callbacks.Callback], verbose: int
) -> History:
    """Train the epochs that are still to come, and write what the run leaves behind."""
    config, plan, cluster = run.config, run.plan, run.data.cluster
    network = _compiled(config, plan, cluster)
    first_epoch = 0
    if resume and cluster.chief:
        first_epoch = checkpoints.restore(run.out / checkpoints.FOLDER, network)
    first_epoch = int(cluster.gather(first_epoch)[0])
    cluster.share_state(network)
    # Callbacks run on the chief only, so they evaluate a copy that is not distributed.
    eval_model = network if cluster.strategy is None else _compiled_alone(plan)
    chain: list[keras.callbacks.Callback] = [keras.callbacks.TerminateOnNaN()]
    if cluster.chief:
        log = run.out / "history.csv"
        _keep_rows(log, first_epoch)
        chain = [
            # First, so that the figures it adds reach the checkpoint and the logs.
            ValidationF1(plan.columns, eval_model, run.data, run.decoder),
            checkpoints.BestWeights(run.out, config.recipe.keep_best),
            keras.callbacks.CSVLogger(str(log), append=first_epoch > 0),
            keras.callbacks.TensorBoard(str(run.out / "tensorboard")),
            checkpoints.Checkpoint(run.out / checkpoints.FOLDER),
            *chain,
            *callbacks,
        ]
    schedule = Schedule(config.steps, range(first_epoch, config.epochs), verbose)
    history = _fit_epochs(run, network, eval_model, schedule, chain)
    if not np.all(np.isfinite(history.history.get("loss", [0.0]))):
        raise UserError("training.no_number")
    if cluster.chief:
        _finish(run, network)
    found: History = history.history
    return found


def _fit_epochs(
    run: _Run,
    network: keras.Model,
    eval_model: keras.Model,
    schedule: Schedule,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.callbacks.History:
    """Train some epochs; `eval_model` measures them."""
    config, plan, cluster, epochs = run.config, run.plan, run.data.cluster, schedule.epochs
    training = training_batches(config, plan, run.data, epochs)
    validation = batches_in_order(plan.columns, run.data.validation, config.batch_size)

    def validate() -> dict[str, float]:
        # On every worker, so that all have drawn the same negatives when they go on.
        eval_model.set_weights(network.get_weights())
        loss = float(eval_model.evaluate(validation, verbose=0))
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
                verbose=schedule.verbose,
                callbacks=callbacks,
            )
        return distributed.fit(cluster, network, training, schedule, validate, callbacks)
    except tf.errors.OpError:
        if plan.columns.failures:
            raise plan.columns.failures[0] from None
        raise


def training_batches(
    config: TrainConfig, plan: Trainable, data: Data, epochs: range
) -> tf.data.Dataset:
    """This worker's parts of the batches of some epochs, in the order that `config` asks for."""
    if not config.stream:
        return batches_at_random(plan.columns, data, config, epochs.start)
    weights = np.zeros(len(data.pictures), np.float32)
    weights[data.training] = data.weights
    draws = stream.Draws(
        weights, data.pictures.start, config.steps * config.batch_size, config.seed
    )
    return stream.batches(plan.columns, draws, config.batch_size, epochs, data.cluster.task)


def _finish(run: _Run, network: keras.Model) -> None:
    """Write what a run leaves behind, and delete what only its training needed."""
    out, plan, data = run.out, run.plan, run.data
    if (out / checkpoints.BEST_WEIGHTS).exists():
        network.load_weights(out / checkpoints.BEST_WEIGHTS)
    # Built anew: without optimizer and loss the file has a third of the size and needs no code of
    # training, and whatever the precision of training, the model that ships computes in float32.
    trained = plan.build()
    trained.set_weights(network.get_weights())
    predicted = predict(trained, plan.columns, data.calibration)
    true = true_words_of(data, data.calibration, run.decoder)
    fitted = fit_decoder(run.decoder, predicted, true)
    write_learning_curves(out)
    with atomic_path(out / "model.keras") as temporary:  # the last: it says that all is there
        plan.finish(trained).save(temporary)
        fitted.save(out / ("model" + DECODER_SUFFIX), model=sha256_of(temporary))
    _clear(out)


# --- the network --------------------------------------------------------------------------------


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
