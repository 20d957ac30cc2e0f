"""What a run trains on: the table of its pictures, how often each is drawn, and its batches.

Of a picture memory holds numbers alone, 24 to 32 bytes: split, source, weight, position, a hash of
its prompt. Pictures, features, targets and prompts are read from the shards where they are needed.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.backend import tf
from img2prompt.core.errors import UserError
from img2prompt.core.files import sweep
from img2prompt.data.images import Fit
from img2prompt.data.rows import read_rows
from img2prompt.data.sampling import balanced_weights, cap_mask
from img2prompt.data.shards import PathOf, ShardIndex, read_shards, settings_of
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.presets import Preset
from img2prompt.training.config import TrainConfig
from img2prompt.training.distributed import Cluster, Task
from img2prompt.training.targets import TargetForm

VALIDATION_PICTURES = 1_000
CALIBRATION_PICTURES = 5_000  # of the validation split, for the confidences

Index = NDArray[np.integer]  # positions of pictures (b,)


@dataclass(frozen=True)
class Data:
    """The pictures of a run.

    Attributes:
        pictures: the table of all of them.
        training, validation, calibration: positions of the pictures that teach, that are looked
            at after each epoch, and that confidences are fitted to.
        weights: (len(training),), how often each is drawn, summing to 1.
        own: a folder for what only this run can use.
        cluster: the replicas that train.
    """

    pictures: ShardIndex
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    calibration: NDArray[np.int64]
    weights: NDArray[np.floating]
    own: Path
    cluster: Cluster

    @property
    def form(self) -> tuple[int, Fit]:
        """Side in pixels and fit of the prepared pictures; all folders have the same."""
        settings = settings_of(self.pictures.folders[0])
        return settings.size, settings.fit


def load_data(
    config: TrainConfig,
    folders: Sequence[str | os.PathLike[str]],
    auxiliary: Sequence[str | os.PathLike[str]],
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
    cluster = cluster or Cluster(None, Task())
    everything = [Path(folder) for folder in (*folders, *auxiliary)]
    # The chief first: the targets that it computes, the others find where the folders are shared.
    for mine in (cluster.chief, not cluster.chief):
        if mine:
            pictures, known = read_index(everything, vectors, config.recipe)
        cluster.barrier()
    is_auxiliary = pictures.folder >= len(folders)
    kept = known & ~pictures.of_sources(config.left_out)
    training = np.flatnonzero(kept & pictures.in_split("train"))
    validation = np.flatnonzero(kept & pictures.in_split("validation") & ~is_auxiliary)
    training = training[cap_mask(pictures, config.max_per_prompt, training)]
    if not len(training) or not len(validation):
        raise UserError("training.no_pictures")
    return Data(
        pictures,
        training,
        # Enough to follow a run and choose its epoch; the whole split is for `evaluate.py`.
        validation[:: -(-len(validation) // VALIDATION_PICTURES)],
        calibration_pictures(validation),
        draw_weights(config, pictures, training, is_auxiliary),
        own,
        cluster,
    )


def calibration_pictures(validation: NDArray[np.int64]) -> NDArray[np.int64]:
    """The validation pictures that confidences are fitted to, evenly spread."""
    return validation[:: max(1, -(-len(validation) // CALIBRATION_PICTURES))]


def draw_weights(
    config: TrainConfig,
    pictures: ShardIndex,
    training: Index,
    is_auxiliary: NDArray[np.bool_],
) -> NDArray[np.floating]:
    """How often each training picture is drawn.

    Args:
        config: with the powers of sources and words, and the share of auxiliary pictures.
        pictures: the table.
        training: int (m,), positions of the training pictures.
        is_auxiliary: bool (n,), of all pictures.

    Returns:
        (m,), summing to 1: float64, or float32 for draws in the order of the shards.
    """
    auxiliary = is_auxiliary[training]
    dtype = np.float32 if config.stream else np.float64
    weights: NDArray[np.floating] = np.zeros(len(training), dtype)

    def of(chosen: Index, power: float, word_power: float = 0.0) -> NDArray[np.floating]:
        return balanced_weights(pictures, power, word_power, chosen).astype(dtype)

    main = of(training[~auxiliary], config.source_power, config.word_power)
    share = config.auxiliary_weight if auxiliary.any() else 0.0
    weights[~auxiliary] = main * (1 - share)
    if auxiliary.any():
        weights[auxiliary] = share * of(training[auxiliary], 1.0)
    return weights / weights.sum()


def target_form(preset: Preset) -> TargetForm:
    """The targets that a preset reads."""
    return TargetForm(preset.content, preset.positions)


def read_index(
    folders: Sequence[Path], vectors: WordVectors, preset: Preset
) -> tuple[ShardIndex, NDArray[np.bool_]]:
    """The table of all pictures; writes the targets that are not there yet.

    Args:
        folders: prepared folders.
        vectors: the embedding to predict.
        preset: whose targets are needed.

    Returns:
        the table; and bool (n,), whether a picture's prompt has a content word that the embedding
        knows.

    Raises:
        UserError: a folder holds no prepared shards, or their picture sizes differ.
    """
    form = target_form(preset)
    content = form if form.content else TargetForm(content=True, positions=1)
    pictures = read_shards(folders)
    for folder in folders:
        for each in {form, content}:
            sweep(each.path_of(vectors)(folder, "").parent)
    known = np.empty(len(pictures), bool)
    for shard, (first, last) in enumerate(itertools.pairwise(pictures.start)):
        prompts = pictures.prompts_of(shard)
        for each in {form, content}:
            each.cache(pictures.file(shard, each.path_of(vectors)), prompts, vectors)
        targets = read_rows(pictures.file(shard, content.path_of(vectors)), np.arange(len(prompts)))
        known[first:last] = targets[:, 0] >= 0
    return pictures, known


# --- batches ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """The files that a batch is read from, and what it is made of them.

    Attributes:
        pictures: the table that positions mean.
        inputs: where a shard's input rows lie.
        targets: where its target rows lie, one or more files.
        decode: rows of `inputs`, a tensor (b, …) in the file's dtype → float32 (b, …).
        decode_targets: rows of each of `targets` → what the loss takes, (b, …).
        failures: what a person has to be told, which tf.data wraps beyond recognition.
    """

    pictures: ShardIndex
    inputs: PathOf
    targets: tuple[PathOf, ...]
    decode: Callable[[tf.Tensor], tf.Tensor]
    decode_targets: Callable[..., tf.Tensor]
    failures: list[UserError] = field(default_factory=list)

    @property
    def paths(self) -> tuple[PathOf, ...]:
        """All kinds of files, the inputs' first."""
        return (self.inputs, *self.targets)

    def inputs_of(self, index: Index) -> NDArray[np.float32]:
        """Positions (b,) → inputs float32 (b, …).

        Raises:
            UserError: a shard's file is missing or damaged.
        """
        rows = _in_single(self.pictures.reader(self.inputs)(index))
        inputs: NDArray[np.float32] = self.decode(tf.constant(rows)).numpy()
        return inputs

    def read_all(self) -> Callable[[Index], list[NDArray[Any]]]:
        """Positions (b,) → rows of all files, the inputs' first; what fails is kept, too."""
        readers = [self.pictures.reader(path_of) for path_of in self.paths]

        def read(index: Index) -> list[NDArray[Any]]:
            try:
                return [reader(index) for reader in readers]
            except UserError as error:
                self.failures.append(error)
                raise

        return read

    def decoded(self, rows: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows of all files → inputs and targets."""
        return self.decode(rows), self.decode_targets(*targets)


def batches_in_order(columns: Columns, index: Index, batch_size: int) -> tf.data.Dataset:
    """The pictures at `index`, one batch after the other; the last one may be smaller."""
    return _batches(columns, tf.data.Dataset.from_tensor_slices(index).batch(batch_size))


def batches_at_random(
    columns: Columns, data: Data, config: TrainConfig, first_epoch: int
) -> tf.data.Dataset:
    """Endless batches, each drawn from all training pictures: this worker's part of each.

    Every epoch has its own seed, so a resumed run draws on as it would have.
    """

    def indices() -> Iterator[Index]:
        epoch = first_epoch
        while True:
            rng = np.random.default_rng((config.seed, epoch))
            for _ in range(config.steps):
                drawn = rng.choice(data.training, config.batch_size, p=data.weights)
                yield data.cluster.part(drawn.astype(np.int64))
            epoch += 1

    return _batches(
        columns,
        tf.data.Dataset.from_generator(indices, output_signature=tf.TensorSpec((None,), tf.int64)),
    )


def _in_single(rows: NDArray[Any]) -> NDArray[Any]:
    """Float16 rows as float32: TensorFlow warns of half precision on most processors."""
    return rows.astype(np.float32) if rows.dtype == np.float16 else rows


def _batches(columns: Columns, indices: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of positions → batches of inputs and targets."""
    read_rows = columns.read_all()

    def read(index: Index) -> list[NDArray[Any]]:
        return [_in_single(part) for part in read_rows(index)]

    like = read(np.zeros(1, np.int64))

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.numpy_function(read, [index], [part.dtype for part in like])
        for part, known in zip(rows, like, strict=True):
            part.set_shape((None, *known.shape[1:]))
        return columns.decoded(*rows)

    return indices.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
