"""More pictures than memory holds: shards on disk → tf.data batches, drawn by their weights.

An epoch draws `images_per_epoch` pictures. The shards lie end to end in an order that is shuffled
anew for every pass over them, each picture as long as its weight; the length of a pass is cut into
equal pieces and one point is drawn in each (stratified resampling, Kitagawa 1996). A shard whose
pictures are drawn several times a pass is visited as often, so that a few heavy ones, auxiliary
pictures say, are not a stretch of epochs by themselves but a part of every one. So every picture
is drawn in proportion to its weight, an epoch reads a stretch of the shards from front to back, and
nothing has to be remembered from one epoch to the next: seed and epoch alone decide the draws.

An epoch's stretch is dealt to `LANES` lanes. Each reads its own shards in blocks and shuffles a
window of pictures; a batch takes the same number from every lane. Workers of a distributed run
share the lanes out, so each reads only its part of the disk and the batches stay the same.

Of a picture memory holds 28 bytes: split, source, weights, position, a hash of its prompt. The
words of the prompts lie beside the shards, `PREPARED/targets/<embedding>-<form>/part-000001.npy`,
int32.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from img2prompt.core.backend import tf
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, sweep
from img2prompt.data import text
from img2prompt.data.rows import read_rows, row_form
from img2prompt.data.shards import (
    PathOf,
    ShardIndex,
    check_alike,
    prompt_hashes,
    read_table,
    shard_files,
)
from img2prompt.data.splits import SPLITS, source_group
from img2prompt.embedding.vectors import WordVectors

# Shards read side by side; also the most workers that can share a stream out.
LANES = 8
# Pictures shuffled together in a lane: at most this many, and no more than fit this many bytes.
WINDOW, WINDOW_BYTES = 256, 16 << 20
# Of one shard in a pass. Each visit reads the shard again, ever more sparsely.
MOST_VISITS = 256


@dataclass(frozen=True)
class TargetForm:
    """Which words of a prompt are kept as its target.

    Attributes:
        content: distinct content words, or all words in their order.
        positions: at most so many; −1 fills up the rest.
    """

    content: bool
    positions: int

    def of(self, prompt: str, vectors: WordVectors) -> np.ndarray:
        """Positions in the vocabulary of a prompt's known words: int32 (positions,)."""
        known = vectors.prompt_positions(prompt, self.content)[: self.positions]
        row = np.full(self.positions, -1, np.int32)
        row[: len(known)] = known
        return row

    def path_of(self, vectors: WordVectors) -> PathOf:
        """Where a shard's targets lie."""
        kind = "content" if self.content else "words"
        # The tokenizer's rules decide a target as much as the embedding does.
        name = f"{vectors.fingerprint}-{kind}{self.positions}-v{text.STOP_WORDS_VERSION}"
        return lambda folder, shard: folder / "targets" / name / f"{shard}.npy"


def read_index(
    folders: Sequence[Path], vectors: WordVectors, forms: Sequence[TargetForm], hashes: bool
) -> ShardIndex:
    """Look through all shards once, and compute the targets that are not there yet.

    Args:
        folders: prepared folders.
        vectors: the embedding to predict.
        forms: the targets that are needed; content words must be among them.
        hashes: whether prompts that repeat must be known.

    Raises:
        UserError: a folder holds no prepared shards, or their picture sizes differ.
    """
    folders = tuple(Path(folder) for folder in folders)
    content = next(form for form in forms if form.content)
    shards: list[tuple[int, str]] = []
    splits, groups, knowns, prompts = [], [], [], []
    number: dict[str, int] = {}
    for position, folder in enumerate(folders):
        for form in forms:
            sweep(form.path_of(vectors)(folder, "").parent)
        for path in shard_files(folder):
            table = read_table(path, ["prompt", "source", "split"])
            own = table.column("prompt").to_pylist()
            for form in forms:
                _cache_targets(form.path_of(vectors)(folder, path.stem), form, own, vectors)
            rows = np.arange(len(own))
            targets = read_rows(content.path_of(vectors)(folder, path.stem), rows)
            knowns.append(targets[:, 0] >= 0)
            splits.append(_codes(table.column("split"), SPLITS.index, np.uint8))
            groups.append(
                _codes(
                    table.column("source"),
                    lambda name: number.setdefault(source_group(name), len(number)),
                    np.int16,
                )
            )
            if hashes:
                prompts.append(prompt_hashes(own))
            shards.append((position, path.stem))
    check_alike(folders)
    return ShardIndex(
        folders,
        tuple(shards),
        np.concatenate([[0], np.cumsum([len(split) for split in splits])]).astype(np.int64),
        np.concatenate(splits),
        np.concatenate(groups),
        tuple(number),
        np.concatenate(knowns),
        np.concatenate(prompts) if hashes else None,
    )


class Draws:
    """Which pictures an epoch draws.

    Args:
        weights: float32 (n,), how often each picture is drawn, in any unit; 0 for never.
        start: int64 (S + 1,), where each shard begins, see `ShardIndex`.
        images_per_epoch: draws an epoch.
        seed: of the order of shards and the draws.

    Attributes:
        visits: int64 (S,), how often a pass comes to each shard, a part of its weight each time.
    """

    def __init__(
        self, weights: np.ndarray, start: np.ndarray, images_per_epoch: int, seed: int
    ) -> None:
        self.weights, self.start = weights, start
        self.images_per_epoch, self.seed = images_per_epoch, seed
        self._length = np.array(
            [weights[first:last].sum(dtype=np.float64) for first, last in itertools.pairwise(start)]
        )
        # A pass of about as many draws as pictures. An epoch that is smaller than the data is a
        # part of a pass, and reads only its own part of the disk.
        self.epochs_a_pass = max(1, round(np.count_nonzero(weights) / images_per_epoch))
        # As often as its heaviest picture is drawn, so that no visit draws one many times over.
        heaviest = np.array([weights[a:b].max(initial=0.0) for a, b in itertools.pairwise(start)])
        draws = heaviest / self._length.sum() * images_per_epoch * self.epochs_a_pass
        self.visits = np.clip(np.rint(draws), 1, MOST_VISITS).astype(np.int64)

    def positions(
        self, epoch: int, lane: int = 0, lanes: int = 1, window: int = 1 << 16
    ) -> Iterator[np.ndarray]:
        """The draws of one lane, `images_per_epoch // lanes`, in windows.

        Yields:
            int64 (≤ window,), positions in the order in which the disk is read. They ascend within
            a visit of a shard; where another begins they may go back.
        """
        number, part = divmod(epoch, self.epochs_a_pass)
        shards = np.repeat(np.arange(len(self._length)), self.visits)
        # Of k visits of a shard one falls in each k-th of the pass.
        which = np.arange(len(shards)) - np.repeat(np.cumsum(self.visits), self.visits)
        which += self.visits[shards]
        rng = np.random.default_rng((self.seed, 0, number))
        order = shards[np.argsort((which + rng.random(len(shards))) / self.visits[shards])]
        lengths = self._length[order] / self.visits[order]
        ends = np.cumsum(lengths)
        last = int(np.flatnonzero(lengths)[-1])
        share = self.images_per_epoch // lanes
        piece = ends[-1] / (self.images_per_epoch * self.epochs_a_pass)
        rng = np.random.default_rng((self.seed, 1, epoch, lane))
        first = part * self.images_per_epoch + lane * share
        for done in range(0, share, window):
            count = min(window, share - done)
            points = (first + done + np.arange(count) + rng.random(count)) * piece
            place = np.minimum(np.searchsorted(ends, points, side="right"), last)
            cuts = np.flatnonzero(np.diff(place)) + 1
            firsts = place[np.concatenate([[0], cuts])].tolist()
            yield np.concatenate(
                [
                    self._rows(order[number], own - (ends[number - 1] if number else 0.0))
                    for number, own in zip(firsts, np.split(points, cuts), strict=True)
                ]
            )

    def _rows(self, shard: int, points: np.ndarray) -> np.ndarray:
        """Positions of the pictures at some points of a visit, from its start."""
        points = points * self.visits[shard]
        weights = self.weights[self.start[shard] : self.start[shard + 1]]
        ends = np.cumsum(weights, dtype=np.float64)
        # To the right of all that end at or before the point, so never one of no weight.
        rows = np.searchsorted(ends, np.maximum(points, 0.0), side="right")
        return self.start[shard] + np.minimum(rows, np.flatnonzero(weights)[-1])


@dataclass(frozen=True)
class Columns:
    """The files that a batch is read from.

    Attributes:
        paths: of each kind of file, where a shard's lies.
        decode: the rows of each, a tensor (b, …) in the files' dtype → inputs and targets.
    """

    paths: tuple[PathOf, ...]
    decode: Callable[..., tuple[tf.Tensor, tf.Tensor]]


def lanes_of(batch_size: int) -> int:
    """How many lanes a batch is made of: a divisor of its size."""
    return math.gcd(batch_size, LANES)


def check_workers(batch_size: int, workers: int) -> None:
    """Raise `UserError` where the lanes of a batch cannot be shared out evenly among workers."""
    if LANES % workers:
        may = ", ".join(str(n) for n in range(1, LANES + 1) if LANES % n == 0)
        raise UserError(
            f"A stream is shared out among {may} workers, not {workers}; start another number."
        )
    if lanes_of(batch_size) % workers:
        raise UserError(
            f"A stream of --batch-size {batch_size} cannot be shared out among {workers} workers; "
            f"give a multiple of {workers}."
        )


def batches(
    index: ShardIndex,
    columns: Columns,
    draws: Draws,
    batch_size: int,
    epochs: range,
    rank: int = 0,
    workers: int = 1,
    failures: list[UserError] | None = None,
) -> tf.data.Dataset:
    """The batches of these epochs, one after another; of each the part of one worker.

    Args:
        index: of the shards.
        columns: what is read.
        draws: which pictures.
        batch_size: of the whole batch, over all workers.
        epochs: which epochs.
        rank, workers: this worker's number among how many; the batch is the workers' parts end
            to end.
        failures: takes what a person has to be told, which tf.data wraps beyond recognition.

    Raises:
        UserError: more workers than lanes.
    """
    check_workers(batch_size, workers)
    lanes = lanes_of(batch_size)
    own = lanes // workers
    like = [row_form(index.file(0, path_of)) for path_of in columns.paths]
    row_bytes = sum(math.prod(shape[1:]) * dtype.itemsize for shape, dtype in like)
    window = min(WINDOW, max(batch_size // lanes, WINDOW_BYTES // row_bytes))

    readers = [index.reader(path_of) for path_of in columns.paths]

    def windows(epoch: np.ndarray, lane: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        rng = np.random.default_rng((draws.seed, 2, int(epoch), int(lane)))
        for drawn in draws.positions(int(epoch), int(lane), lanes, window):
            mixed = rng.permutation(len(drawn))
            try:
                rows = [reader(drawn) for reader in readers]
            except UserError as error:
                if failures is not None:
                    failures.append(error)
                raise
            yield tuple(part[mixed] for part in rows)

    signature = tuple(
        tf.TensorSpec((None, *shape[1:]), tf.as_dtype(dtype)) for shape, dtype in like
    )

    def lane_of(epoch: tf.Tensor, lane: tf.Tensor) -> tf.data.Dataset:
        stream = tf.data.Dataset.from_generator(
            windows, output_signature=signature, args=(epoch, lane)
        )
        return stream.rebatch(batch_size // lanes, drop_remainder=True)

    def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(rank * own, (rank + 1) * own).interleave(
            functools.partial(lane_of, epoch),
            cycle_length=own,
            block_length=1,
            num_parallel_calls=own,
            deterministic=True,
        )

    def joined(*parts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = [tf.reshape(part, (batch_size // workers, *part.shape[2:])) for part in parts]
        return columns.decode(*rows)

    return (
        tf.data.Dataset.range(epochs.start, epochs.stop)
        .flat_map(of_epoch)
        .batch(own, drop_remainder=True)
        .map(joined, num_parallel_calls=2, deterministic=True)
        # Not AUTOTUNE: it would fill what memory there is.
        .prefetch(2)
    )


def _cache_targets(path: Path, form: TargetForm, prompts: list[str], vectors: WordVectors) -> None:
    if _holds_targets(path, form, prompts, vectors):
        return
    rows = [form.of(prompt, vectors) for prompt in prompts]
    with atomic_path(path) as temporary:
        np.save(temporary, np.array(rows, np.int32).reshape(-1, form.positions))


def _holds_targets(path: Path, form: TargetForm, prompts: list[str], vectors: WordVectors) -> bool:
    """Whether targets are there and are those of these prompts, as far as a few of them tell."""
    if not path.exists():
        return False
    some = np.unique(np.linspace(0, len(prompts) - 1, 8).astype(int)) if prompts else []
    try:
        shape = row_form(path)[0]
        kept = read_rows(path, np.asarray(some, np.int64))
    except UserError:
        return False
    fresh = [form.of(prompts[i], vectors) for i in some]
    return shape == (len(prompts), form.positions) and np.array_equal(
        kept, np.array(fresh, np.int32).reshape(-1, form.positions)
    )


def _codes(column: pa.ChunkedArray, number: Callable[[str], int], dtype: Any) -> np.ndarray:
    """A column of few distinct texts → the number of each row's text."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = np.array([number(name) for name in encoded.dictionary.to_pylist()], dtype)
    return codes[encoded.indices.to_numpy()] if len(codes) else np.empty(0, dtype)
