"""Streams of shards: what is drawn, in what order, and what it costs in memory."""

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT
from sharding import SIDE, numbers_of, write_shards
from waiting import PATIENCE

from img2prompt.core.errors import UserError
from img2prompt.data import rows as rows_of_files
from img2prompt.data.shards import ShardIndex, pixel_path
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.presets import PRESETS
from img2prompt.training import stream, trainer
from img2prompt.training.config import TrainJob, default_config
from img2prompt.training.distributed import Task
from img2prompt.training.inputs import Columns, read_index
from img2prompt.training.stream import Draws


def draws_of(weights: list[float], cuts: list[int], per_epoch: int, seed: int = 1) -> Draws:
    return Draws(np.array(weights, np.float32), np.array(cuts, np.int64), per_epoch, seed)


def drawn(draws: Draws, epochs: range, lanes: int = 1, window: int = 7) -> np.ndarray:
    return np.concatenate(
        [
            part
            for epoch in epochs
            for lane in range(lanes)
            for part in draws.positions(epoch, lane, lanes, window)
        ]
    )


# --- what is drawn ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    weights=st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=4, max_size=40).filter(any),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    per_epoch=st.sampled_from([4, 8, 24]),
    lanes=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 3),
)
def test_a_pass_draws_every_picture_as_often_as_its_weight_says(
    weights: list[float], cuts: list[int], per_epoch: int, lanes: int, seed: int
) -> None:
    """Cuts may leave shards empty, and shards may weigh nothing."""
    n = len(weights)
    draws = draws_of(weights, [0, *sorted(min(c, n) for c in cuts), n], per_epoch, seed)
    found = drawn(draws, range(draws.epochs_a_pass), lanes)
    assert len(found) == per_epoch * draws.epochs_a_pass
    counts = np.bincount(found, minlength=n)
    expected = np.array(weights) / sum(weights) * len(found)
    # One draw in each of equal pieces of the pass: a picture that is k pieces long in each visit is
    # drawn by the k - 1 that lie in it, and perhaps by the two that reach over its ends.
    visits = np.repeat(draws.visits, np.diff(draws.start))
    assert (counts >= visits * np.floor(expected / visits - 1 + 1e-4)).all()
    assert (counts <= visits * np.ceil(expected / visits + 1 - 1e-4)).all()
    assert not counts[np.array(weights) == 0].any()


def test_many_passes_draw_in_proportion_to_the_weights() -> None:
    weights = np.array([1, 2, 3, 4, 0, 0.1] * 5, np.float32)
    draws = Draws(weights, np.array([0, 7, 12, 30]), 32, 5)
    found = drawn(draws, range(400))
    share = np.bincount(found, minlength=30) / len(found)
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.003)


def test_a_few_heavy_shards_are_a_part_of_every_epoch() -> None:
    """A fifth of the draws from two shards, as auxiliary pictures have, over ten epochs a pass."""
    sizes = [50] * 20 + [20] * 2
    cuts = [0, *itertools.accumulate(sizes)]
    weights = [0.8 / 1000] * 1000 + [0.2 / 40] * 40
    draws = draws_of(weights, cuts, 100)
    assert draws.epochs_a_pass == 10
    shares = [np.mean(drawn(draws, range(epoch, epoch + 1)) >= 1000) for epoch in range(20)]
    assert np.mean(shares) == pytest.approx(0.2, abs=0.02)
    assert max(shares) < 0.7  # unspread, an epoch is all of one heavy shard
    assert np.mean(np.array(shares) > 0) > 0.6


def test_a_small_epoch_reads_its_own_part_of_the_shards() -> None:
    cuts = list(range(0, 1001, 50))
    draws = draws_of([1.0] * 1000, cuts, 100)
    assert draws.epochs_a_pass == 10
    touched = [set(drawn(draws, range(epoch, epoch + 1)) // 50) for epoch in range(10)]
    assert all(len(shards) <= 3 for shards in touched)
    assert set.union(*touched) == set(range(20))
    again = [set(drawn(draws, range(epoch, epoch + 1)) // 50) for epoch in range(10, 20)]
    assert again != touched  # another pass, another order


def test_within_a_shard_the_disk_is_read_forwards() -> None:
    draws = draws_of([1.0] * 300, [0, 100, 200, 300], 300)
    for shard, rows in itertools.groupby(drawn(draws, range(1)), key=lambda i: i // 100):
        rows = list(rows)
        assert rows == sorted(rows), shard


def test_seed_and_epoch_decide_the_draws() -> None:
    weights, cuts = [1.0, 2.0] * 50, [0, 30, 60, 100]
    one, two = draws_of(weights, cuts, 40, seed=3), draws_of(weights, cuts, 40, seed=3)
    drawn(one, range(3))  # what was drawn before does not matter
    np.testing.assert_array_equal(drawn(one, range(3, 6)), drawn(two, range(3, 6)))
    assert drawn(one, range(1)).tolist() != drawn(draws_of(weights, cuts, 40, 4), range(1)).tolist()


# --- what is read -------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    rows=st.lists(st.integers(0, 49), min_size=1, max_size=40).map(sorted),
    block=st.sampled_from([1, 24, 100, 10_000]),
)
def test_rows_are_read_as_they_lie(
    rows: list[int], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    array = np.arange(300, dtype=np.float32).reshape(50, 2, 3)
    path = tmp_path_factory.mktemp("rows") / "array.npy"
    np.save(path, array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_of_files, "BLOCK_BYTES", block)
        found = rows_of_files.read_rows(path, np.array(rows))
    np.testing.assert_array_equal(found, array[rows])


def test_a_shard_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "part-000001.npy"
    np.save(path, np.zeros((10, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-10])
    rows_of_files.read_rows(path, np.array([0, 8]))
    for damaged in (path, tmp_path / "none.npy"):
        with pytest.raises(UserError, match="missing or damaged"):
            rows_of_files.read_rows(damaged, np.array([9]))


@pytest.fixture(scope="module")
def index(folders: list[Path], vectors: WordVectors) -> ShardIndex:
    return read_index(folders, vectors, PRESETS["gaze"])[0]


def batches(index: ShardIndex, draws: Draws, epochs: range, *task: int) -> list:
    columns = Columns(
        index, pixel_path, (), lambda pixels: tf.cast(pixels, tf.float32) / 255, lambda: 0.0
    )
    return [x.numpy() for x, _ in stream.batches(columns, draws, 16, epochs, Task(*task))]


def uniform(index: ShardIndex, per_epoch: int = 96, seed: int = 1) -> Draws:
    return Draws(np.ones(len(index), np.float32), index.start, per_epoch, seed)


def test_batches_are_the_draws_mixed(index: ShardIndex) -> None:
    draws = uniform(index)
    read = batches(index, draws, range(2))
    assert [len(batch) for batch in read] == [16] * 12
    numbers = np.concatenate([numbers_of(batch) for batch in read[:6]])
    lanes = stream.lanes_of(16)
    wanted = drawn(draws, range(1), lanes, stream.WINDOW)
    # Positions 0…179 are pictures 0…179, positions from 180 on pictures from 1000 on.
    wanted = np.where(wanted < 180, wanted, wanted + 820)
    assert Counter(numbers.tolist()) == Counter(wanted.tolist())
    assert numbers.tolist() != wanted.tolist()
    # A batch holds pictures of shards that lie far apart.
    assert min(len(set(numbers_of(batch) // 60)) for batch in read[:6]) > 1


def test_a_resumed_stream_goes_on_as_it_would_have(index: ShardIndex) -> None:
    whole = batches(index, uniform(index), range(4))
    resumed = batches(index, uniform(index), range(2, 4))
    np.testing.assert_array_equal(np.stack(whole[12:]), np.stack(resumed))


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_parts_make_up_the_batch(index: ShardIndex, workers: int) -> None:
    whole = batches(index, uniform(index), range(1))
    parts = [batches(index, uniform(index), range(1), rank, workers) for rank in range(workers)]
    for number, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[number] for part in parts]), batch)
    with pytest.raises(UserError, match="1, 2, 4, 8 workers, not 3"):
        batches(index, uniform(index), range(1), 0, 3)


@pytest.mark.parametrize("streams", [False, True])
def test_a_shard_lost_on_the_way_is_told(
    streams: bool, content: list[str], vectors: WordVectors, tmp_path: Path
) -> None:
    """Damaged while the run goes on: in one sentence, whichever way pictures are drawn."""
    ready = write_shards(tmp_path / "ready", content, sizes=(50, 50))
    vectors.save(tmp_path / "embedding.npz")
    config = default_config(
        "original", stream=streams, epochs=2, images_per_epoch=64, batch_size=16
    )
    path = ready / "part-000002.npy"

    class Damage(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            path.write_bytes(path.read_bytes()[: 10 * SIDE * SIDE * 3])

    job = TrainJob([ready], tmp_path / "embedding.npz", tmp_path / "run")
    with pytest.raises(UserError, match=r"part-000002\.npy is missing or damaged"):
        trainer.train(config, job, [Damage()], verbose=0)


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from img2prompt.data import shards
from img2prompt.training import inputs, stream
side, n = 256, 200
def read(folder, count):
    names = tuple((0, f"part-{i:06}") for i in range(1, count + 1))
    for _, name in names:
        # A file with a hole takes no disk.
        with open(shards.pixel_path(folder, name), "wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (n, side, side, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + n * side * side * 3)
    zeros = np.zeros(n * count, np.uint8)
    index = shards.ShardIndex((folder,), names, np.arange(0, n * count + 1, n), zeros, zeros,
                              ("a",))
    draws = stream.Draws(np.ones(n * count, np.float32), index.start, 12 * n, 1)
    columns = inputs.Columns(index, shards.pixel_path, (), lambda x: x, lambda: 0)
    for _ in stream.batches(columns, draws, 16, range(1)):
        pass
    # Not getrusage, whose maximum is that of the process which started this one.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
read(Path(sys.argv[1]), 1)
read(Path(sys.argv[1]), 12)
"""


def test_memory_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    """As many pictures from one shard of 39 MB, and then from twelve."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    one, twelve = map(int, done.stdout.split())
    assert twelve < one + 150, (one, twelve)  # MB; the twelve hold 472


def test_the_benchmark_measures_and_plans(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "embedding.npz")
    done = subprocess.run(
        [sys.executable, "scripts/dev/benchmark_training.py", "--generate", "1", "--size", "32",
         "--presets", "original", "--shards", "2", "--seconds", "0.3", "--embedding",
         str(tmp_path / "embedding.npz")],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    measured, plan = done.stdout.split("\n\n")
    cells = [cell.strip() for cell in measured.splitlines()[-1].strip("|").split("|")]
    assert cells[:2] == ["original", "2"]
    pipeline, training_rate, ratio = (float(cell.replace(",", "")) for cell in cells[2:5])
    assert ratio == pytest.approx(pipeline / training_rate, rel=0.1)
    (row,) = [line for line in plan.splitlines() if "DiffusionDB Large" in line]
    hours = float(row.split("|")[3].replace(",", ""))
    seconds = 14e6 / training_rate + 14e6 / pipeline  # the same cores do both
    assert hours == pytest.approx(seconds / 3600, rel=0.1, abs=0.1)
    # 32 · 32 · 3 bytes a picture.
    assert "pictures 43" in row or "pictures 44" in row
