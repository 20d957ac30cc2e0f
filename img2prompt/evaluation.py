"""How good is it: the metrics of DESIGN section 5, baselines, confidence intervals, the report."""

from collections.abc import Sequence

import numpy as np

from img2prompt import text
from img2prompt.embedding import WordVectors, top_k

WORDS = 10  # answers that every metric counts


def true_words(prompt: str, vectors: WordVectors) -> np.ndarray:
    """Positions in the vocabulary of a prompt's distinct content words: int64 (n,)."""
    return np.array([vectors.index[w] for w in text.content_words(prompt, vectors)], np.int64)


def answers_of_vectors(predicted: np.ndarray, vectors: WordVectors, k: int = WORDS) -> np.ndarray:
    """Predicted vectors (n, steps, D) → positions of the k answers, int64 (n, k).

    The same rule as `prediction.choose_words`, for many pictures at once.
    """
    answers = []
    for start in range(0, len(predicted), 64):
        block = predicted[start : start + 64]
        scores = vectors.similarities(block.reshape(-1, block.shape[-1]))
        best = scores.reshape(len(block), -1, len(vectors)).max(axis=1)
        best[:, ~vectors.answerable] = -2.0
        answers.append(top_k(best, k)[0])
    return np.concatenate(answers)


def f1_scores(answers: np.ndarray, true: Sequence[np.ndarray]) -> np.ndarray:
    """F1 of each picture's answers (n, k) against its true words: float64 (n,).

    2 · hits / (k + number of true words); 0 for a prompt without known content words.
    """
    hits = [len(np.intersect1d(row, t)) for row, t in zip(answers, true, strict=True)]
    sizes = np.array([len(t) for t in true])
    return np.where(sizes > 0, 2 * np.array(hits) / (answers.shape[1] + sizes), 0.0)


def f1_of_vectors(
    predicted: np.ndarray, true: Sequence[np.ndarray], vectors: WordVectors
) -> np.ndarray:
    """F1@10 of each picture from its predicted vectors (n, steps, D)."""
    return f1_scores(answers_of_vectors(predicted, vectors), true)
