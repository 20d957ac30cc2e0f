"""The teacher's predictors, against the closed form and on data whose answer is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sharding import write_shards

from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training import soft_targets, trainer
from img2prompt.training.config import default_config
from img2prompt.training.distributed import Cluster, Task
from img2prompt.training.inputs import Data, load_data


def data(vectors: WordVectors, n: int = 400) -> tuple[np.ndarray, list[np.ndarray]]:
    """Features whose first two channels say whether a picture shows a dog and the moon."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 6)).astype(np.float32)
    dog, moon, snow = (vectors.index[word] for word in ("dog", "moon", "snow"))
    true = [
        np.array([w for w, there in ((dog, row[0] > 0), (moon, row[1] > 0.5)) if there] + [snow])
        for row in features
    ]
    return features, true


def taught(
    features: np.ndarray, true: list[np.ndarray], weights: np.ndarray | None = None
) -> soft_targets.Taught:
    index = np.arange(len(features))
    weights = np.ones(len(features)) if weights is None else weights
    return soft_targets.Taught(
        lambda rows: features[rows], index, weights, lambda rows: [true[i] for i in rows]
    )


def test_ridge_in_blocks_is_the_closed_form(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_targets, "BLOCK", 64)
    features, true = data(vectors)
    weights = np.random.default_rng(1).uniform(0.1, 2, len(features))
    ridge = soft_targets._WordRidge(taught(features, true, weights), vectors)
    weights = weights * len(weights) / weights.sum()
    sample = features[:: max(1, len(features) // 4096)]
    x = np.clip((features - sample.mean(0)) / (sample.std(0) + 1e-4), -6, 6).astype(np.float64)
    y = np.stack([np.isin(ridge.words, words) for words in true]).astype(np.float64)
    mean, base = np.average(x, 0, weights), np.average(y, 0, weights)
    gram = (x - mean).T @ ((x - mean) * weights[:, None]) + soft_targets.PENALTY * np.eye(6)
    cross = (x - mean).T @ ((y - base) * weights[:, None])
    expected = (x - mean) @ np.linalg.solve(gram, cross) + base
    got = ridge.predict(features)
    np.testing.assert_allclose(got[:, ridge.words], expected, atol=1e-4)
    rest = np.setdiff1d(np.arange(len(vectors)), ridge.words)
    assert not got[:, rest].any()


def test_the_ridge_regression_finds_what_is_there(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_targets, "PENALTY", 1.0)
    features, true = data(vectors)
    words, shares = soft_targets.Teacher(taught(features, true), vectors)(features)
    assert words.shape == shares.shape == (400, len(vectors))  # fewer words than WORDS
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)

    def share(word: str) -> np.ndarray:
        return np.where(words == vectors.index[word], shares, 0).sum(axis=1)

    there = features[:, 0] > 0
    assert share("dog")[there].mean() > 3 * share("dog")[~there].mean()
    # Stop words are never taught, words of no picture have no share.
    assert share("the").max() == 0 and share("robot").max() == 0


def test_class_words_are_mixed_in_by_their_weight(vectors: WordVectors) -> None:
    features, true = data(vectors)
    robot = vectors.index["robot"]
    classes = ClassWords(
        np.array([[robot]], np.int32),
        np.array([[0.5]], np.float32),
        np.zeros((1, 8), np.float32),
        np.zeros(len(vectors), np.float32),
        vectors.fingerprint,
    )

    def robots(weight: float) -> float:
        mixture = soft_targets.Mixture(
            class_words=classes,
            probabilities=lambda x: np.ones((len(x), 1), np.float32),
            class_weight=weight,
        )
        words, shares = soft_targets.Teacher(taught(features, true), vectors, mixture)(features)
        return float(np.where(words == robot, shares, 0).sum(axis=1).mean())

    assert robots(0.0) == 0
    assert 0 < robots(0.5) < robots(2.0) < 1


# --- kept beside the run ------------------------------------------------------------------------


@pytest.fixture
def run(vectors: WordVectors, tmp_path: Path) -> tuple[Data, Callable]:
    """Pictures in three shards, and features that say which words of their prompts are there."""
    content = [word for word, good in zip(vectors.words, vectors.answerable, strict=True) if good]
    ready = write_shards(tmp_path / "ready", content)
    data = load_data(default_config("gaze"), [ready], [], vectors, tmp_path / "own")
    prompts = data.pictures.prompts(np.arange(len(data.pictures)))
    table = np.zeros((len(prompts), len(vectors)), np.float32)
    for row, prompt in zip(table, prompts, strict=True):
        row[vectors.prompt_positions(prompt)] = 1
    return data, lambda index: table[index]


def test_blocks_run_across_shards_and_any_shard_can_be_made_alone(
    run: tuple, vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_targets, "BLOCK", 32)
    data, read = run
    mixture = soft_targets.Mixture()
    soft_targets.cache_soft_targets(data, read, vectors, mixture)
    rows = data.pictures.reader(soft_targets.soft_path(data))
    whole = rows(np.arange(len(data.pictures)))
    examples = soft_targets.Taught(
        read,
        data.training,
        data.weights,
        lambda chosen: [vectors.prompt_positions(p) for p in data.pictures.prompts(chosen)],
    )
    teacher = soft_targets.Teacher(examples, vectors, mixture)
    expected = [
        np.hstack(teacher(read(data.training[start : start + 32])))
        for start in range(0, len(data.training), 32)
    ]
    np.testing.assert_array_equal(whole[data.training], np.concatenate(expected).astype(np.float32))
    # Validation pictures have theirs, so that both losses measure the same; others have none.
    shares = whole[:, teacher.words :].sum(axis=1)
    looked_at = np.union1d(data.training, data.validation)
    np.testing.assert_allclose(shares[looked_at], 1, rtol=1e-5)
    assert not np.delete(shares, looked_at).any()
    (data.own / "0" / "part-000002.npy").unlink()
    soft_targets.cache_soft_targets(data, read, vectors, mixture)
    np.testing.assert_array_equal(rows(np.arange(len(data.pictures))), whole)


def test_the_teacher_sees_whole_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a prompt of sixty-one words the last one, too."""
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(62)]
    monkeypatch.setattr(soft_targets, "WORDS", len(words))
    monkeypatch.setattr(soft_targets, "PENALTY", 1.0)
    vectors = WordVectors(words, np.random.default_rng(0).normal(size=(62, 8)), np.full(62, 9))
    ready = write_shards(tmp_path / "ready", words[:60])
    rows = pq.read_table(ready / "part-000001.parquet").to_pydict()
    rows["prompt"] = [" ".join([*words[:60], words[60 + i % 2]]) for i in range(60)]
    pq.write_table(pa.table(rows | {"split": ["train"] * 60}), ready / "part-000001.parquet")
    data = load_data(default_config("gaze"), [ready], [], vectors, tmp_path / "own")

    def read(index: np.ndarray) -> np.ndarray:
        odd = np.where(index < 60, index % 2, 0.5)
        return np.stack([odd, 1 - odd], axis=1).astype(np.float32)

    soft_targets.cache_soft_targets(data, read, vectors, soft_targets.Mixture())
    found = data.pictures.reader(soft_targets.soft_path(data))(np.arange(60))
    shares = np.where(found[:, :62] == 61, found[:, 62:], 0).sum(axis=1)
    assert (shares[1::2] > 0.01).all() and (shares[::2] < 0.001).all()


class Worker(Cluster):
    """The second of two workers, whose chief agrees."""

    def __init__(self) -> None:
        super().__init__(None, Task(1, 2))

    def gather(self, number: int) -> np.ndarray:
        return np.array([0, number])

    def agree(self, what: object) -> None:
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_a_new_run_never_learns_from_a_workers_soft_targets_of_before(
    tmp_path: Path, resume: bool
) -> None:
    old = tmp_path / trainer.SOFT_FOLDER / "0" / "part-000001.npy"
    old.parent.mkdir(parents=True)
    old.touch()
    with trainer._claimed(tmp_path, {}, resume, Worker()):
        assert old.exists() == resume
