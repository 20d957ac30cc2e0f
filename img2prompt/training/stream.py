"""Batches in the order of the shards, drawn by weight: for more pictures than memory holds.

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
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.backend import tf
from img2prompt.core.errors import UserError
from img2prompt.data.rows import row_form
from img2prompt.training.distributed import Task
from img2prompt.training.inputs import Columns

# Shards read side by side; also the most workers that can share a stream out.
LANES = 8
# Pictures shuffled together in a lane: at most this many, and no more than fit this many bytes.
WINDOW, WINDOW_BYTES = 256, 16 << 20
# Of one shard in a pass. Each visit reads the shard again, ever more sparsely.
MOST_VISITS = 256


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
        self,
        weights: NDArray[np.float32],
        start: NDArray[np.int64],
        images_per_epoch: int,
        seed: int,
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
    ) -> Iterator[NDArray[np.int64]]:
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

    def _rows(self, shard: int, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions of the pictures at some points of a visit, from its start."""
        points = points * self.visits[shard]
        weights = self.weights[self.start[shard] : self.start[shard + 1]]
        ends = np.cumsum(weights, dtype=np.float64)
        # To the right of all that end at or before the point, so never one of no weight.
        rows = np.searchsorted(ends, np.maximum(points, 0.0), side="right")
        rows = np.minimum(rows, np.flatnonzero(weights)[-1])
        return self.start[shard] + rows.astype(np.int64)


def lanes_of(batch_size: int) -> int:
    """How many lanes a batch is made of: a divisor of its size."""
    return math.gcd(batch_size, LANES)


def check_workers(batch_size: int, workers: int) -> None:
    """Raise `UserError` where the lanes of a batch cannot be shared out evenly among workers."""
    if LANES % workers:
        may = ", ".join(str(n) for n in range(1, LANES + 1) if LANES % n == 0)
        raise UserError("training.stream_workers", may=may, workers=workers)
    if lanes_of(batch_size) % workers:
        raise UserError(
            "training.stream_batch", batch_size=batch_size, workers=workers, multiple=workers
        )


def batches(
    columns: Columns, draws: Draws, batch_size: int, epochs: range, task: Task | None = None
) -> tf.data.Dataset:
    """The batches of these epochs, one after another; of each the part of one worker.

    Args:
        columns: what is read.
        draws: which pictures.
        batch_size: of the whole batch, over all workers.
        epochs: which epochs.
        task: this worker's number among how many; the batch is the workers' parts end to end.
            Unset, there is one.

    Raises:
        UserError: more workers than lanes.
    """
    rank, workers = (task.rank, task.workers) if task is not None else (0, 1)
    check_workers(batch_size, workers)
    lanes = lanes_of(batch_size)
    own = lanes // workers
    like = [row_form(columns.pictures.file(0, path_of)) for path_of in columns.paths]
    row_bytes = sum(math.prod(shape[1:]) * dtype.itemsize for shape, dtype in like)
    window = min(WINDOW, max(batch_size // lanes, WINDOW_BYTES // row_bytes))
    read = columns.read_all()

    def windows(epoch: Any, lane: Any) -> Iterator[tuple[NDArray[Any], ...]]:
        rng = np.random.default_rng((draws.seed, 2, int(epoch), int(lane)))
        for drawn in draws.positions(int(epoch), int(lane), lanes, window):
            mixed = rng.permutation(len(drawn))
            yield tuple(part[mixed] for part in read(drawn))

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
        return columns.decoded(*rows)

    return (
        tf.data.Dataset.range(epochs.start, epochs.stop)
        .flat_map(of_epoch)
        .batch(own, drop_remainder=True)
        .map(joined, num_parallel_calls=2, deterministic=True)
        # Not AUTOTUNE: it would fill what memory there is.
        .prefetch(2)
    )
