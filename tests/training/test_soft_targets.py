"""The teacher's readers, against the closed form and on data whose answer is known."""

import numpy as np
import pytest

from img2prompt.embedding.class_words import ClassWords
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training import soft_targets


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


def test_ridge_in_blocks_is_the_closed_form(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_targets, "BLOCK", 64)
    features, true = data(vectors)
    training = np.arange(len(features))
    weights = np.random.default_rng(1).uniform(0.1, 2, len(features))
    ridge = soft_targets._Ridge(lambda rows: features[rows], training, weights, true, vectors)
    weights = weights * len(weights) / weights.sum()
    sample = features[:: max(1, len(features) // 4096)]
    x = np.clip((features - sample.mean(0)) / (sample.std(0) + 1e-4), -6, 6).astype(np.float64)
    y = np.stack([np.isin(ridge.words, words) for words in true]).astype(np.float64)
    mean, base = np.average(x, 0, weights), np.average(y, 0, weights)
    gram = (x - mean).T @ ((x - mean) * weights[:, None]) + soft_targets.RIDGE * np.eye(6)
    cross = (x - mean).T @ ((y - base) * weights[:, None])
    expected = (x - mean) @ np.linalg.solve(gram, cross) + base
    got = ridge.predict(features)
    np.testing.assert_allclose(got[:, ridge.words], expected, atol=1e-4)
    rest = np.setdiff1d(np.arange(len(vectors)), ridge.words)
    assert not got[:, rest].any()


def test_the_linear_reader_sees_what_is_there(
    vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft_targets, "RIDGE", 1.0)
    features, true = data(vectors)
    words, shares = soft_targets.soft_targets(
        lambda rows: features[rows], np.arange(400), np.ones(400), true, vectors
    )
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
        words, shares = soft_targets.soft_targets(
            lambda rows: features[rows],
            np.arange(400),
            np.ones(400),
            true,
            vectors,
            class_words=classes,
            probabilities=lambda x: np.ones((len(x), 1), np.float32),
            class_weight=weight,
        )
        return float(np.where(words == robot, shares, 0).sum(axis=1).mean())

    assert robots(0.0) == 0
    assert 0 < robots(0.5) < robots(2.0) < 1
