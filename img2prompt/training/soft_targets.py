"""Soft targets: likely words of each picture, from two weak predictors that do not overfit.

A prompt's words alone teach a network to repeat the training prompts. A ridge regression from the
features to each word's indicator, and the words that go with the ImageNet classes which the CNN
sees (`class_words.py`), are combined into a distribution over words for each picture, and the
network learns it beside the true words (knowledge distillation, Hinton et al. 2015, arXiv
1503.02531). So it answers with what those two predict for pictures unlike any it was trained on.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.files import atomic_path
from img2prompt.core.scaler import Scaler
from img2prompt.data.shards import PathOf
from img2prompt.embedding.class_words import Classes
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.evaluation.baselines import Ridge
from img2prompt.training.inputs import Data

WORDS = 32  # soft targets a picture
# Of the ridge regression; 3e3, 1e4 and 3e4 were within 0.003 of each other on validation pictures.
PENALTY = 1e4
MIN_PICTURES = 3  # a word of fewer training pictures is not predicted
BLOCK = 2_000  # pictures at a time, so that memory stays flat


@dataclass(frozen=True)
class Taught:
    """What the ridge regression is fitted to.

    Attributes:
        features: positions (b,) → float32 (b, F).
        training: positions (n,) of the training pictures.
        weights: (n,), how often each is drawn.
        words_of: positions (b,) → the true words of each, positions in the vocabulary.
    """

    features: Callable[[NDArray[np.integer]], NDArray[np.float32]]
    training: NDArray[np.integer]
    weights: NDArray[np.floating]
    words_of: Callable[[NDArray[np.integer]], Sequence[NDArray[np.integer]]]


@dataclass(frozen=True)
class Mixture:
    """How the two predictors are combined.

    Attributes:
        linear: weight of the ridge regression.
        class_words: what each class says; None leaves it out.
        probabilities: features (b, F) → class probabilities (b, C).
        class_weight: weight of the class words.
    """

    linear: float = 1.0
    class_words: Classes | None = None
    probabilities: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    class_weight: float = 1.0


class Teacher:
    """Predicts likely words from each picture's features.

    Args:
        taught: what it is fitted to.
        vectors: the embedding.
        mixture: how its two predictors are combined.

    Attributes:
        words: how many words it gives a picture, `WORDS` or the whole vocabulary.
    """

    def __init__(
        self, taught: Taught, vectors: WordVectors, mixture: Mixture | None = None
    ) -> None:
        self.vectors, self.mixture = vectors, mixture or Mixture()
        self.words = words_of_teacher(vectors)
        self._ridge = _WordRidge(taught, vectors) if self.mixture.linear else None

    def __call__(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
        """Features (b, F) → words int (b, `words`) and shares float32 (b, `words`), sum 1."""
        scores = np.zeros((len(features), len(self.vectors)), np.float32)
        mixture = self.mixture
        if self._ridge is not None:
            scores += mixture.linear * np.maximum(self._ridge.predict(features), 0.0)
        if mixture.class_words is not None and mixture.probabilities is not None:
            expected = mixture.class_words.expected(mixture.probabilities(features))
            scores += mixture.class_weight * expected
        best, values = top_k(scores * self.vectors.answerable, self.words)
        return best, values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9)


def words_of_teacher(vectors: WordVectors) -> int:
    """How many words a teacher gives a picture."""
    return min(WORDS, len(vectors))


def soft_path(data: Data) -> PathOf:
    """Where the soft targets of a shard lie: in the run's folder, for no other run can use them."""
    number = {folder: str(place) for place, folder in enumerate(data.pictures.folders)}
    return lambda folder, shard: data.own / number[folder] / f"{shard}.npy"


def cache_soft_targets(
    data: Data,
    features: Callable[[NDArray[np.integer]], NDArray[np.float32]],
    vectors: WordVectors,
    mixture: Mixture,
) -> None:
    """Write the teacher's words and shares of every shard, float32 (n, 2 · words).

    It is fitted to the whole prompts of the training pictures; zeros where a picture is neither of
    those nor one that is looked at after each epoch. The chief computes them. A worker that does
    not see its disk computes them, too.

    Args:
        data: the pictures.
        features: positions (b,) → float32 (b, F).
        vectors: the embedding.
        mixture: how the teacher is mixed.
    """
    index, path_of = data.pictures, soft_path(data)
    files = [index.file(shard, path_of) for shard in range(len(index.shards))]
    for mine in (data.cluster.chief, not data.cluster.chief):
        if mine and not all(path.exists() for path in files):
            taught = Taught(
                features,
                data.training,
                data.weights,
                lambda chosen: [vectors.prompt_positions(p) for p in index.prompts(chosen)],
            )
            _write(files, data, features, Teacher(taught, vectors, mixture))
        data.cluster.barrier()


def _write(
    files: Sequence[Path],
    data: Data,
    features: Callable[[NDArray[np.integer]], NDArray[np.float32]],
    teacher: Teacher,
) -> None:
    start, training = data.pictures.start, data.training

    def answers(chosen: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.hstack(teacher(features(chosen)))

    @functools.lru_cache(1)
    def block(number: int) -> NDArray[np.float64]:
        # Blocks run across shards: sums of the same pictures in other blocks are rounded otherwise.
        return answers(training[number * BLOCK : (number + 1) * BLOCK])

    for shard, path in enumerate(files):
        if path.exists():
            continue
        rows = np.zeros((start[shard + 1] - start[shard], 2 * teacher.words), np.float32)
        first, last = np.searchsorted(training, start[shard : shard + 2]).tolist()
        for number in range(first // BLOCK, -(-last // BLOCK)):
            own = slice(max(first, number * BLOCK), min(last, (number + 1) * BLOCK))
            begin = own.start - number * BLOCK
            values = block(number)[begin : begin + own.stop - own.start]
            rows[training[own] - start[shard]] = values
        first, last = np.searchsorted(data.validation, start[shard : shard + 2]).tolist()
        if first < last:
            looked_at = data.validation[first:last]
            rows[looked_at - start[shard]] = answers(looked_at)
        with atomic_path(path) as temporary:
            np.save(temporary, rows)


class _WordRidge:
    """Weighted ridge regression from features to the indicators of words that are not too rare."""

    def __init__(self, taught: Taught, vectors: WordVectors) -> None:
        import scipy.sparse

        training = taught.training
        weights = taught.weights * len(training) / taught.weights.sum()
        weights = weights.astype(np.float32)
        self.vocabulary = len(vectors)
        blocks = [slice(start, start + BLOCK) for start in range(0, len(training), BLOCK)]
        counts = np.zeros(self.vocabulary, np.int64)
        for block in blocks:
            held = np.concatenate(taught.words_of(training[block]))
            counts += np.bincount(held, minlength=self.vocabulary)
        self.words = np.flatnonzero((counts >= MIN_PICTURES) & vectors.answerable)
        column = np.full(self.vocabulary, -1)
        column[self.words] = np.arange(len(self.words))
        sample = taught.features(training[:: max(1, len(training) // 4096)])
        self.ridge = Ridge(Scaler.fit(sample), len(self.words))
        for block in blocks:
            columns = [column[words] for words in taught.words_of(training[block])]
            columns = [row[row >= 0] for row in columns]
            rows = np.repeat(np.arange(len(columns)), [len(row) for row in columns])
            indicators = scipy.sparse.csr_matrix(
                (np.ones(len(rows), np.float32), (rows, np.concatenate(columns))),
                shape=(len(columns), len(self.words)),
            )
            self.ridge.add(taught.features(training[block]), indicators, weights[block])
        self.ridge.solve(PENALTY)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (b, F) → expected indicator of every word of the vocabulary (b, V)."""
        scores = np.zeros((len(features), self.vocabulary), np.float32)
        scores[:, self.words] = self.ridge.predict(features)
        return scores
