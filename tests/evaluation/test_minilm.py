"""MiniLM in numpy against what `transformers` 5 with PyTorch 2.13 computed from the same files."""

import importlib.util

import numpy as np
import pytest

from img2prompt.evaluation.minilm import PACKAGE, MiniLM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="make train-setup"),
]


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


TEXTS = [
    "a cat",
    "portrait of an old man, oil on canvas, highly detailed",
    "a dog bites a man",
    "A red fox in the snow, cinematic lighting, artstation",
    "x " * 400,  # longer than the 256 tokens that count
]
REFERENCE = [
    [1.0, -0.02351, 0.2743, 0.24631, 0.1103],
    [-0.02351, 1.0, 0.11136, 0.26417, 0.01771],
    [0.2743, 0.11136, 1.0, -0.01071, -0.01183],
    [0.24631, 0.26417, -0.01071, 1.0, 0.10243],
    [0.1103, 0.01771, -0.01183, 0.10243, 1.0],
]


def test_similarities_are_the_references(minilm: MiniLM) -> None:
    vectors = minilm(TEXTS)
    np.testing.assert_allclose(vectors @ vectors.T, REFERENCE, atol=2e-5)


def test_vectors_are_unit_and_batching_changes_nothing(minilm: MiniLM) -> None:
    texts = ["a cat", "portrait of an old man, oil on canvas, highly detailed", "x " * 400]
    together = minilm(texts)
    assert together.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, np.concatenate([minilm([t]) for t in texts]), atol=1e-5)


def test_alike_sentences_are_near(minilm: MiniLM) -> None:
    cat, kitten, market = minilm(["a cat on a mat", "a kitten on a rug", "the stock market fell"])
    assert cat @ kitten > 0.5 > 0.3 > cat @ market


def test_word_order_and_case(minilm: MiniLM) -> None:
    lower, upper = minilm(["a dog bites a man", "A DOG BITES A MAN"])
    np.testing.assert_allclose(lower, upper, atol=1e-6)  # the model is uncased
    other = minilm(["a man bites a dog"])[0]
    assert 0.8 < lower @ other < 0.9999
