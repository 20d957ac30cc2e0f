"""How alike two answers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.evaluation.metrics import answer_overlap
from img2prompt.inference.prediction import PredictedWord, Prediction
from img2prompt.inference.predictor import Predictor
from img2prompt.inference.similarity import similarity

NAMES = "dog cat fox oil neon moon snow robot castle garden ocean red".split()


def prediction_of(words: list[str], vectors: list[list[float]] | None = None) -> Prediction:
    rows = tuple(PredictedWord(word, 0.5, None, (), 0, ()) for word in words)
    return Prediction("gaze", rows, np.array(vectors or [[1.0, 0.0]], np.float32))


def test_shared_words_keep_the_order_of_the_first() -> None:
    alike = similarity(prediction_of(["dog", "oil", "fox"]), prediction_of(["fox", "moon", "dog"]))
    assert alike.words == ("dog", "fox") and alike.share == pytest.approx(2 / 3)


def test_the_same_answer_is_wholly_alike(predictor: Predictor, make_picture) -> None:
    one, two = predictor(make_picture(1)), predictor(make_picture(2))
    same = similarity(one, one)
    assert same.share == 1 and same.cosine == pytest.approx(1)
    assert similarity(one, two).cosine < 1


def test_the_cosine_is_of_the_mean_vectors() -> None:
    right = prediction_of(["dog"], [[2.0, 0.0], [0.0, 0.0]])
    up = prediction_of(["dog"], [[0.0, 3.0]])
    assert similarity(right, up).cosine == pytest.approx(0)
    both = prediction_of(["dog"], [[2.0, 0.0], [0.0, 2.0]])  # its mean lies between them
    assert similarity(right, both).cosine == pytest.approx(np.sqrt(0.5))
    away = prediction_of(["dog"], [[-1.0, 0.0]])
    assert similarity(right, away).cosine == pytest.approx(-1)
    nowhere = prediction_of(["dog"], [[1.0, 0.0], [-1.0, 0.0]])
    assert similarity(right, nowhere).cosine == 0


def test_one_embedding_each_cannot_be_compared() -> None:
    with pytest.raises(UserError, match="two embeddings"):
        similarity(prediction_of(["dog"]), prediction_of(["dog"], [[1.0, 0.0, 0.0]]))


@given(
    st.lists(st.sampled_from(NAMES), unique=True, max_size=12),
    st.lists(st.sampled_from(NAMES), unique=True, max_size=12),
)
def test_order_does_not_matter(first: list[str], second: list[str]) -> None:
    a, b = prediction_of(first), prediction_of(second)
    there, back = similarity(a, b), similarity(b, a)
    assert set(there.words) == set(back.words) == set(first) & set(second)
    assert there.share == back.share and 0 <= there.share <= 1
    assert (there.share == 1) == (bool(first) and set(first) == set(second))


def test_it_is_the_measure_of_the_evaluation() -> None:
    """The mean share over pairs is what `evaluate.py` prints as *alike*."""
    rng = np.random.default_rng(3)
    table = np.stack([rng.permutation(12)[:10] for _ in range(2)])
    answers = [prediction_of([NAMES[i] for i in row]) for row in table]
    assert similarity(*answers).share == pytest.approx(answer_overlap(table))
