"""A few words against one prompt: the measures of the evaluation, for models and people alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data.shards import Texts
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import metrics as evaluation
from img2prompt.evaluation.score import score_words
from img2prompt.inference.predictor import Predictor

PROMPT = "Portrait of a red fox by Zadkine, oil painting, detailed"


def test_found_missed_invented_and_unknown_stand_in_order(vectors: WordVectors) -> None:
    score = score_words(["painting", "castle", "fox", "neon"], PROMPT, vectors)
    assert score.found == ("painting", "fox")
    assert score.invented == ("castle", "neon")
    assert score.missed == ("portrait", "red", "oil", "detailed")
    assert score.unknown == ("zadkine",)
    assert score.precision == pytest.approx(2 / 4)
    assert score.recall == pytest.approx(2 / 6)
    assert score.f1 == pytest.approx(2 * 2 / (4 + 6))


def test_a_models_ten_words_score_as_in_the_evaluation(
    vectors: WordVectors, predictor: Predictor, make_picture
) -> None:
    for seed in range(3):
        prediction = predictor(np.asarray(make_picture(seed)), evaluation.WORDS)
        words = [word.word for word in prediction.words]
        prompt = f"{PROMPT}, {words[seed]} and {words[5]}"
        positions = np.array([[vectors.index[word] for word in words]])
        answers = evaluation.Answers("model", positions, prediction.vectors[None])
        figures = evaluation.measure(answers, Texts([""], [prompt], [""]), vectors)
        score = score_words(words, prompt, vectors, prediction.vectors)
        assert score.found
        for name in ("precision", "recall", "f1", "soft_recall", "cosine_per_word"):
            assert getattr(score, name) == pytest.approx(figures[name], abs=1e-6), name


def test_a_persons_typing_counts_like_a_models_words(vectors: WordVectors) -> None:
    plain = score_words(["fox", "castle"], PROMPT, vectors)
    typed = score_words(["  FOX ", "a", "fox,", "Castle!"], PROMPT, vectors)
    assert typed == plain


def test_a_true_word_that_no_model_can_say_counts_for_nobody(vectors: WordVectors) -> None:
    assert score_words(["fox", "zadkine"], PROMPT, vectors) == score_words(["fox"], PROMPT, vectors)
    invented = score_words(["fox", "rembrandt"], PROMPT, vectors)
    assert invented.invented == ("rembrandt",) and invented.precision == 0.5


def test_all_right_is_one_and_nothing_said_is_nought(vectors: WordVectors) -> None:
    right = score_words(["portrait", "red", "fox", "oil", "painting", "detailed"], PROMPT, vectors)
    assert right.f1 == right.precision == right.recall == 1.0
    assert right.soft_recall == pytest.approx(1.0) and right.cosine_per_word == pytest.approx(1.0)
    for said in ([], ["of", "the"], ["rembrandt"]):
        nought = score_words(said, PROMPT, vectors)
        assert nought.f1 == nought.soft_recall == nought.cosine_per_word == 0.0
        assert nought.missed == right.found


@pytest.mark.parametrize("prompt", ["", "of the, 2", "Рыжая лиса"])
def test_a_prompt_without_known_words_is_told(vectors: WordVectors, prompt: str) -> None:
    with pytest.raises(UserError, match="no word that we know"):
        score_words(["fox"], prompt, vectors)


@given(words=st.lists(st.text(max_size=12), max_size=12), prompt=st.text(max_size=60))
def test_whatever_is_typed_gives_a_score_in_range(
    vectors: WordVectors, words: list[str], prompt: str
) -> None:
    score = score_words([*words, "fox"], f"{prompt} fox", vectors)
    assert "fox" in score.found and not set(score.found) & set(score.missed)
    assert 0 < score.f1 <= 1 and 0 < score.precision <= 1 and 0 < score.recall <= 1
    assert score.f1 == pytest.approx(
        2 * score.precision * score.recall / (score.precision + score.recall)
    )
