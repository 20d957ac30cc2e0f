"""Baselines without a trained network: the most frequent words, nearest neighbours, regression.

`knn` and `linear` read the frozen backbone's features that `gaze` reads. `Ridge` is also the
teacher of `training/soft_targets.py`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.scaler import Scaler
from img2prompt.embedding.vectors import WordVectors, top_k
from img2prompt.evaluation.metrics import WORDS, Answers
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.gallery import NEIGHBOURS, word_votes

PENALTY = 10_000.0  # of the linear baseline, likewise
BLOCK = 2_000  # pictures at a time, so that memory stays flat


@dataclass(frozen=True)
class TrainingSet:
    """What `knn` and `linear` learn from.

    Attributes:
        features: float32 (m, F) of the training pictures.
        words: true words of each.
    """

    features: NDArray[np.float32]
    words: Sequence[NDArray[np.int64]]


class Ridge:
    """Weighted ridge regression with intercepts, from blocks of rows.

    scikit-learn's `Ridge`, whose solution is the same, needs all rows and dense targets in memory
    at once: of ten thousand word indicators and a hundred thousand pictures 4 GB.

    Args:
        scaler: standardises the features.
        outputs: T, how many targets a row has.
    """

    def __init__(self, scaler: Scaler, outputs: int) -> None:
        width = len(scaler.centre)
        self._scaler = scaler
        self._gram = np.zeros((width, width), np.float32)
        self._cross = np.zeros((outputs, width), np.float32)
        self._features, self._targets = np.zeros(width), np.zeros(outputs)
        self._weights: list[NDArray[np.float32]] = []

    def add(
        self,
        features: NDArray[np.float32],
        targets: Any,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        """Add a block of rows.

        Args:
            features: float32 (b, F), not standardised.
            targets: float32 (b, T), an array or a `scipy.sparse` one.
            weights: float32 (b,), of the rows; unset, 1 each.
        """
        x = self._scaler(features)
        weights = np.ones(len(x), np.float32) if weights is None else weights
        # (wᵀ y) and (w ∘ y)ᵀ x as products, which sparse targets know too.
        self._targets += targets.T @ weights
        self._features += weights @ x
        self._weights.append(weights)
        self._cross += targets.T @ (x * weights[:, None])
        x *= np.sqrt(weights)[:, None]
        self._gram += x.T @ x

    def solve(self, penalty: float) -> None:
        """Fit to all blocks added, once; `predict` needs it."""
        total = float(np.concatenate(self._weights).sum())
        self._mean = (self._features / total).astype(np.float32)
        self._base = (self._targets / total).astype(np.float32)
        # Sums about the mean, from sums about zero.
        self._gram -= total * np.outer(self._mean, self._mean)
        self._cross -= total * np.outer(self._base, self._mean)
        self._gram[np.diag_indices(len(self._gram))] += penalty
        self._coefficients = np.linalg.solve(self._gram, self._cross.T)  # (F, T)
        del self._gram, self._cross, self._weights

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (b, F), not standardised → expected targets float32 (b, T)."""
        scaled = self._scaler(features) - self._mean
        return np.asarray(scaled @ self._coefficients + self._base, np.float32)


def constant_answers(
    training: Sequence[NDArray[np.int64]], n: int, vectors: WordVectors
) -> Answers:
    """The ten most frequent content words of the training pictures, for every picture."""
    counts = Counter(int(word) for words in training for word in words)
    ranked = [word for word, _ in counts.most_common(WORDS)]
    # A training split of fewer words is topped up, so that ten words always come.
    ranked += [int(word) for word in np.flatnonzero(vectors.answerable) if word not in counts]
    best = np.array(ranked[:WORDS], np.int64)
    return _word_answers("constant", np.tile(best, (n, 1)), vectors)


def knn_answers(
    features: NDArray[np.float32], training: TrainingSet, vectors: WordVectors
) -> Answers:
    """Words of the nearest training pictures by cosine of standardised features, votes summed.

    Args:
        features: float32 (n, F) of the test pictures.
        training: what is learned from.
        vectors: the embedding.
    """
    words = np.zeros((len(features), WORDS), np.int64)
    popular = constant_answers(training.words, 1, vectors).words[0]
    near, cosines = nearest_pictures(features, training.features)
    for row in range(len(features)):
        one = slice(row, row + 1)
        votes = word_votes(near[one], cosines[one], training.words, len(vectors))
        votes = votes.astype(np.float64)  # single ones are too coarse for what follows
        votes[:, popular] += 1e-9 * np.arange(WORDS, 0, -1)
        words[row] = top_k(votes, WORDS)[0][0]
    return _word_answers("knn", words, vectors)


def nearest_pictures(
    features: NDArray[np.float32], training_features: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `NEIGHBOURS` nearest training pictures by cosine of standardised features.

    Args:
        features: float32 (n, F).
        training_features: float32 (m, F).

    Returns:
        positions int64 (n, k) among the training pictures and cosines float32 (n, k), best first;
        k is `NEIGHBOURS`, or m where that is less.
    """
    from sklearn.neighbors import NearestNeighbors

    scaler = Scaler.fit(training_features)
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(training_features)), metric="cosine")
    distances, near = search.fit(scaler(training_features)).kneighbors(scaler(features))
    return near, 1.0 - distances


def linear_answers(
    features: NDArray[np.float32], training: TrainingSet, vectors: WordVectors
) -> Answers:
    """Ridge regression from the frozen features to the mean vector of the prompt's words.

    Args:
        features, training, vectors: as of `knn_answers`.
    """
    ridge = Ridge(Scaler.fit(training.features), vectors.dimensions)
    known = np.flatnonzero([len(words) > 0 for words in training.words])
    for start in range(0, len(known), BLOCK):
        rows = known[start : start + BLOCK]
        targets = np.stack([vectors.unit[training.words[row]].mean(axis=0) for row in rows])
        ridge.add(training.features[rows], targets)
    ridge.solve(PENALTY)
    predicted = ridge.predict(features)[:, None]  # (n, 1, D)
    return Answers("linear", Decoder.plain(vectors).rank_vectors(predicted, WORDS)[0], predicted)


def _word_answers(name: str, words: NDArray[np.int64], vectors: WordVectors) -> Answers:
    return Answers(name, words, vectors.vectors[words])
