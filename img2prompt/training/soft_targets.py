"""Soft targets: what a linear reader and the class words would say of each training picture.

A prompt's words alone teach a network to repeat the training prompts. Two dull readers that do not
memorise are mixed into a distribution over words for each training picture, and the network learns
it beside the true words (knowledge distillation, Hinton et al. 2015, arXiv 1503.02531): ridge
regression from the features to each word's indicator, and the words that prompts put beside the
ImageNet classes the CNN sees (`class_words.py`). What those know, the network says of pictures
unlike any it was trained on.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.vectors import WordVectors, top_k

WORDS = 32  # soft targets a picture
RIDGE = 1e4  # penalty; 3e3, 1e4 and 3e4 were within 0.003 of each other on validation pictures
MIN_PICTURES = 3  # a word of fewer training pictures has no reader
CLIP = 6.0  # standard deviations: statistics have long tails
BLOCK = 2_000  # pictures at a time, so that memory stays flat

TrueWords = Callable[[np.ndarray], Sequence[np.ndarray]]


class Teacher:
    """Says of each picture's features which words are likely.

    Args:
        features: positions (b,) → float32 (b, F).
        training: positions (n,) of the training pictures.
        weights: (n,), how often each is drawn.
        true: the true words of every record, by position; or positions (b,) → their true words.
        vectors: the embedding.
        linear: weight of the ridge regression.
        class_words: what prompts say beside each class; None leaves them out.
        probabilities: features (b, F) → class probabilities (b, C).
        class_weight: weight of the class words.
    """

    def __init__(
        self,
        features: Callable[[np.ndarray], np.ndarray],
        training: np.ndarray,
        weights: np.ndarray,
        true: Sequence[np.ndarray] | TrueWords,
        vectors: WordVectors,
        *,
        linear: float = 1.0,
        class_words: ClassWords | None = None,
        probabilities: Callable[[np.ndarray], np.ndarray] | None = None,
        class_weight: float = 1.0,
    ) -> None:
        self.vectors, self.linear, self.class_weight = vectors, linear, class_weight
        self.class_words, self.probabilities = class_words, probabilities
        self.words = min(WORDS, len(vectors))
        self._ridge = _Ridge(features, training, weights, true, vectors) if linear else None

    def __call__(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (b, F) → words int (b, `words`) and shares float32 (b, `words`), sum 1."""
        scores = np.zeros((len(features), len(self.vectors)), np.float32)
        if self._ridge is not None:
            scores += self.linear * np.maximum(self._ridge.predict(features), 0.0)
        if self.class_words is not None and self.probabilities is not None:
            scores += self.class_weight * self.class_words.expected(self.probabilities(features))
        best, values = top_k(scores * self.vectors.answerable, self.words)
        return best, values / np.maximum(values.sum(axis=1, keepdims=True), 1e-9)


def soft_targets(
    features: Callable[[np.ndarray], np.ndarray],
    training: np.ndarray,
    weights: np.ndarray,
    true: Sequence[np.ndarray] | TrueWords,
    vectors: WordVectors,
    **mixture: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest words of each training picture and their shares.

    Args:
        features, training, weights, true, vectors, mixture: as of `Teacher`.

    Returns:
        words int32 (n, `WORDS`) and shares float32 (n, `WORDS`) that sum to 1.
    """
    teacher = Teacher(features, training, weights, true, vectors, **mixture)
    words = np.zeros((len(training), teacher.words), np.int32)
    shares = np.zeros((len(training), teacher.words), np.float32)
    for start in range(0, len(training), BLOCK):
        rows = slice(start, start + BLOCK)
        words[rows], shares[rows] = teacher(features(training[rows]))
    return words, shares


class _Ridge:
    """Weighted ridge regression from features to word indicators, from blocks of pictures."""

    def __init__(
        self,
        features: Callable[[np.ndarray], np.ndarray],
        training: np.ndarray,
        weights: np.ndarray,
        true: Sequence[np.ndarray] | TrueWords,
        vectors: WordVectors,
    ) -> None:
        import scipy.sparse

        weights = (weights * len(weights) / weights.sum()).astype(np.float32)
        sample = features(training[:: max(1, len(training) // 4096)])
        self.centre, self.spread = sample.mean(axis=0), sample.std(axis=0) + 1e-4
        self.vocabulary = len(vectors)
        words_of = true if callable(true) else lambda chosen: [true[i] for i in chosen]
        counts = np.zeros(self.vocabulary, np.int64)
        for start in range(0, len(training), BLOCK):
            held = np.concatenate(words_of(training[start : start + BLOCK]))
            counts += np.bincount(held, minlength=self.vocabulary)
        self.words = np.flatnonzero((counts >= MIN_PICTURES) & vectors.answerable)
        column = np.full(self.vocabulary, -1)
        column[self.words] = np.arange(len(self.words))
        width = len(self.centre)
        gram = np.zeros((width, width), np.float32)
        cross = np.zeros((len(self.words), width), np.float32)
        total, words_total = np.zeros(width), np.zeros(len(self.words))
        for start in range(0, len(training), BLOCK):
            chosen = training[start : start + BLOCK]
            weight = weights[start : start + BLOCK]
            x = self._standardise(features(chosen))
            columns = [column[words][column[words] >= 0] for words in words_of(chosen)]
            rows = np.repeat(np.arange(len(chosen)), [len(row) for row in columns])
            held = scipy.sparse.csr_matrix(
                (weight[rows], (rows, np.concatenate(columns))),
                shape=(len(chosen), len(self.words)),
            )
            total += weight @ x
            words_total += np.asarray(held.sum(axis=0)).ravel()
            cross += held.T @ x
            x *= np.sqrt(weight)[:, None]
            gram += x.T @ x
        n = float(weights.sum())
        self.mean = (total / n).astype(np.float32)
        self.base = (words_total / n).astype(np.float32)
        # Sums about the mean, from sums about zero.
        gram -= n * np.outer(self.mean, self.mean)
        cross -= n * np.outer(self.base, self.mean)
        gram[np.diag_indices(width)] += RIDGE
        self.coefficients = np.linalg.solve(gram, cross.T)  # (F, words)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Features (b, F) → expected indicator of every word of the vocabulary (b, V)."""
        scores = np.zeros((len(features), self.vocabulary), np.float32)
        x = self._standardise(features) - self.mean
        scores[:, self.words] = x @ self.coefficients + self.base
        return scores

    def _standardise(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.centre) / self.spread, -CLIP, CLIP)
