"""What a run trains on: targets, weights and draws stay what they were."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sharding import numbers_of, texts_of, write_shards

from img2prompt.core.errors import UserError
from img2prompt.data.shards import pixel_path
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.presets import PRESETS
from img2prompt.training import inputs, trainer
from img2prompt.training.config import TrainConfig, default_config
from img2prompt.training.distributed import Cluster, Task
from img2prompt.training.inputs import Columns, Data, load_data, read_index, target_form
from img2prompt.training.presets import Trainable, vector_table


def columns_of(data: Data) -> Columns:
    def floats(pixels: tf.Tensor) -> tf.Tensor:
        return tf.cast(pixels, tf.float32) / 255

    return Columns(data.pictures, pixel_path, (pixel_path,), floats, floats)


def load(
    folders: list[Path], vectors: WordVectors, config: TrainConfig, task: Task | None = None
) -> Data:
    cluster = Cluster(None, task or Task())
    return load_data(config, folders[:1], folders[1:], vectors, folders[0] / "own", cluster)


def drawn(data: Data, config: TrainConfig, epochs: range = range(2)) -> list[list[int]]:
    """The numbers of the pictures of each batch."""
    plan = Trainable(
        keras.Model, columns_of(data), keras.losses.MeanSquaredError(), keras.optimizers.Adam
    )
    batches = trainer.training_batches(config, plan, data, epochs)
    count = config.steps * len(epochs)
    return [numbers_of(x.numpy()).tolist() for x, _ in batches.take(count)]


# Written down once, before pictures drawn at random and those drawn in the order of the shards were
# read in one way: a change here would give every recipe other models.
AT_RANDOM = [
    [17, 54, 1000, 131, 19, 101, 108, 36],
    [165, 24, 93, 116, 101, 131, 166, 1023],
    [57, 96, 83, 100, 121, 1013, 78, 117],
    [169, 140, 131, 64, 82, 1021, 3, 61],
]
IN_ORDER = [
    [2, 5, 7, 9, 11, 14, 17, 19],
    [3, 4, 6, 8, 13, 14, 15, 17],
    [23, 26, 28, 31, 35, 37, 42, 44],
    [23, 24, 26, 29, 36, 38, 39, 45],
]


@pytest.mark.parametrize(("stream", "expected"), [(False, AT_RANDOM), (True, IN_ORDER)])
def test_draws_stay_what_they_were(
    folders: list[Path], vectors: WordVectors, stream: bool, expected: list
) -> None:
    """Seed and epoch alone decide them; workers share each batch out."""
    config = default_config(
        "original", images_per_epoch=16, batch_size=8, seed=3, source_power=0.5,
        auxiliary_weight=0.2, stream=stream,
    )  # fmt: skip
    data = load(folders, vectors, config)
    assert drawn(data, config) == expected
    assert drawn(data, config, range(1, 2)) == expected[2:]
    parts = [drawn(load(folders, vectors, config, Task(rank, 2)), config) for rank in range(2)]
    assert np.hstack(parts).tolist() == expected


WEIGHTS = {  # of a few pictures, by the power of sources
    0.5: [0.007934589916, 0.005570586018, 0.007934589916, 0.005570586018, 0.007692307692],
    1.0: [0.005714285714, 0.005714285714, 0.005714285714, 0.005714285714, 0.007692307692],
}


def test_weights_stay_what_they_were(folders: list[Path], vectors: WordVectors) -> None:
    for power, expected in WEIGHTS.items():
        for stream in (False, True):
            settings = {"source_power": power, "auxiliary_weight": 0.2, "stream": stream}
            data = load(folders, vectors, default_config("gaze", **settings))
            assert data.weights.dtype == (np.float32 if stream else np.float64)
            assert len(data.training) == len(data.weights) == 166
            np.testing.assert_allclose(data.weights[[0, 2, 9, 10, -1]], expected, rtol=1e-6)


def test_sources_can_be_left_out(folders: list[Path], vectors: WordVectors) -> None:
    def data(without: str) -> Data:
        return load(folders[:1], vectors, default_config("original", without=without))

    for name in ("small-repositories", "small/repository"):
        kept = data(name)
        assert set(kept.pictures.texts(kept.training).sources) == {"one"}
    with pytest.raises(UserError, match="There is no source nobody"):
        data("nobody")


# --- targets ------------------------------------------------------------------------------------


def test_targets_beside_the_shards_are_those_of_the_prompts(
    folders: list[Path], vectors: WordVectors
) -> None:
    some = np.array([3, 77, 0, 190, 77])
    for name, preset in PRESETS.items():
        index, known = read_index(folders, vectors, preset)
        assert len(known) == 210 and known.all()
        rows = index.reader(target_form(preset).path_of(vectors))(some)
        assert rows.shape == (5, preset.positions)
        for row, prompt in zip(rows, index.prompts(some), strict=True):
            true = vectors.prompt_positions(prompt, name == "gaze")
            assert row[row >= 0].tolist() == true[: preset.positions].tolist()


def test_words_become_vectors_in_order_and_zeros_follow(vectors: WordVectors) -> None:
    form = target_form(PRESETS["original"])
    sequence = vector_table(vectors)(form.of("Dog, unknownword CAT", vectors)).numpy()
    np.testing.assert_array_equal(sequence[:2], [vectors["dog"], vectors["cat"]])
    assert sequence.shape == (10, 8) and not sequence[2:].any()
    assert vector_table(vectors)(form.of("dog cat " * 9, vectors)).numpy().all()


def test_targets_of_other_prompts_are_made_anew(
    content: list[str], vectors: WordVectors, tmp_path: Path
) -> None:
    ready = write_shards(tmp_path / "ready", content, sizes=(40,))
    read_index([ready], vectors, PRESETS["gaze"])
    other = write_shards(tmp_path / "other", content, sizes=(40,), first=500)
    (ready / "part-000001.parquet").write_bytes((other / "part-000001.parquet").read_bytes())
    index, _ = read_index([ready], vectors, PRESETS["gaze"])
    true = [vectors.prompt_positions(p).tolist() for p in texts_of(ready).prompts]
    rows = index.reader(target_form(PRESETS["gaze"]).path_of(vectors))(np.arange(40))
    assert [row[row >= 0].tolist() for row in rows] == true


# --- batches ------------------------------------------------------------------------------------


def test_what_ails_a_picture_is_kept_for_the_person(
    content: list[str], vectors: WordVectors, tmp_path: Path
) -> None:
    """tf.data wraps what is raised inside it; validation reads pictures too."""
    ready = write_shards(tmp_path / "ready", content, sizes=(50, 50))
    columns = columns_of(load([ready], vectors, default_config("original")))
    (ready / "part-000002.npy").write_bytes(b"damaged")
    with pytest.raises(tf.errors.OpError):
        list(inputs.batches_in_order(columns, np.arange(0, 100, 10), 2))
    assert "part-000002.npy is missing or damaged" in str(columns.failures[0])
