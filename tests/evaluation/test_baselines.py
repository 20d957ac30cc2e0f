"""The baselines on data made for the purpose, and against scikit-learn and plain numpy."""

import numpy as np
import pytest
import scipy.sparse

from img2prompt.core.scaler import CLIP, Scaler
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation.baselines import (
    NEIGHBOURS,
    Ridge,
    TrainingSet,
    knn_answers,
    linear_answers,
    nearest_pictures,
)


def test_knn_and_linear_read_the_features(axes: WordVectors) -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(4), 40)
    features = np.eye(4)[kinds] * 4 + rng.normal(size=(160, 4)) * 0.3
    training = TrainingSet(features, [np.array([kind]) for kind in kinds])
    test = np.eye(4) * 4.0
    knn = knn_answers(test, training, axes)
    assert knn.words[:, 0].tolist() == [0, 1, 2, 3]
    assert all(len(set(row)) == 10 for row in knn.words)
    linear = linear_answers(test, training, axes)
    assert linear.vectors.shape == (4, 1, 12)


@pytest.fixture
def features() -> np.ndarray:
    """Of 500 pictures, eight numbers each of its own centre and spread, some far out."""
    drawn = np.random.default_rng(1).standard_t(2, size=(500, 8)) * np.arange(1, 9) + np.arange(8)
    return drawn.astype(np.float32)


def test_the_nearest_are_those_of_the_largest_cosines(features: np.ndarray) -> None:
    own, other = features[:50], features[50:]
    near, cosines = nearest_pictures(own, other)
    scaled = [Scaler.fit(other)(rows) for rows in (own, other)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in scaled]
    every = unit[0] @ unit[1].T
    order = np.argsort(-every, axis=1)[:, :NEIGHBOURS]
    np.testing.assert_array_equal(near, order)
    np.testing.assert_allclose(cosines, np.take_along_axis(every, order, axis=1), atol=1e-6)


def test_fewer_pictures_than_neighbours_are_all_near(features: np.ndarray) -> None:
    assert nearest_pictures(features[:4], features[:3])[0].shape == (4, 3)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge_in_blocks_is_scikit_learns_on_all_rows(
    features: np.ndarray, sparse: bool, weighted: bool
) -> None:
    from sklearn import linear_model

    rng = np.random.default_rng(2)
    targets = (rng.uniform(size=(500, 3)) < 0.3).astype(np.float32)
    weights = rng.uniform(0.1, 2, size=500).astype(np.float32) if weighted else None
    scaler = Scaler.fit(features)
    ridge = Ridge(scaler, 3)
    for start in range(0, 500, 200):
        rows = slice(start, start + 200)
        block = scipy.sparse.csr_matrix(targets[rows]) if sparse else targets[rows]
        ridge.add(features[rows], block, None if weights is None else weights[rows])
    ridge.solve(10.0)
    whole = linear_model.Ridge(alpha=10.0).fit(scaler(features), targets, weights)
    expected = whole.predict(scaler(features))
    np.testing.assert_allclose(ridge.predict(features), expected, atol=2e-5)


def test_features_far_out_are_clipped(features: np.ndarray) -> None:
    scaled = Scaler.fit(features)(features)
    assert scaled.dtype == np.float32
    assert abs(np.abs(scaled).max() - CLIP) < 1e-6
