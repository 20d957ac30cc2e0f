"""The block list: what stands on it, that answers and neighbours leave it out, and the mask."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.block_list import BLOCKED_WORDS, MASK, mask
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.artifacts import Assets

HIDDEN = frozenset({"nude", "gore", "8k"})
DIFFICULT = (
    "nude NUDE Nude_gore _8k_ ｎｕｄｅ nude's <lora:nude:1> İnude nudes goreng .gore. "
    "nu\u00adde n\u200bude nude\u200bnu\u00adde".split()
)


@pytest.fixture(scope="module")
def shipped() -> WordVectors:
    return Assets().embedding()


def test_the_list_is_made_of_words_that_the_tokenizer_gives() -> None:
    assert len(BLOCKED_WORDS) > 300
    for word in BLOCKED_WORDS:
        assert text.words(word) == [word]


@pytest.mark.parametrize("word", "nude porn fuck nigger gore suicide cocaine swastika rape".split())
def test_every_class_of_words_is_on_the_list(word: str) -> None:
    assert word in BLOCKED_WORDS


def test_harmless_words_stay(shipped: WordVectors) -> None:
    harmless = """portrait bust hanging skull skeleton zombie blood killer virgin gay lesbian
    oriental japanese grass dark witch sword battle smoke wine latex body girl""".split()
    assert BLOCKED_WORDS.isdisjoint(harmless)
    # What the class's model answers with stays rich: the list is no more than a hundredth of it.
    hidden = shipped.answerable & ~shipped.hiding(BLOCKED_WORDS).answerable
    assert 20 < hidden.sum() < shipped.answerable.sum() / 100


def test_inflections_of_blocked_words_are_blocked_too(shipped: WordVectors) -> None:
    endings = ("s", "es", "ed", "ing", "er", "ers", "y")
    longer = {word + ending for word in BLOCKED_WORDS for ending in endings} & set(shipped.words)
    innocent = "brass bray breasted butter cocker cocky gores gorey weeding"
    assert longer - BLOCKED_WORDS == set(innocent.split())


def test_hidden_words_are_no_answers_and_no_neighbours(vectors: WordVectors) -> None:
    view = vectors.hiding(["dog", "8k", "unheard"])
    assert view.hidden == {"dog", "8k"} and vectors.hidden == frozenset()
    dog = vectors.index["dog"]
    assert vectors.answerable[dog] and not view.answerable[dog]
    assert (view.answerable == (vectors.answerable & ~np.isin(vectors.words, ["dog", "8k"]))).all()
    for answers_only in (False, True):
        rows, _ = view.nearest(vectors["dog"], len(vectors), answers_only=answers_only)
        assert dog not in rows and len(rows[0])
    assert vectors.words[vectors.nearest(vectors["dog"], 1)[0][0, 0]] == "dog"
    for word in ("cat", "forest"):
        before = [pair for pair in vectors.neighbours(word, 29) if pair[0] not in view.hidden]
        assert view.neighbours(word, 29) == before
    with pytest.raises(UserError, match="lacks the word"):
        view.neighbours("dog")


def test_metrics_see_hidden_words(vectors: WordVectors) -> None:
    view = vectors.hiding(["dog"])
    assert "dog" in view and view.index is vectors.index
    assert view.vectors is vectors.vectors and view.unit is vectors.unit
    assert view.fingerprint == vectors.fingerprint
    query = vectors["dog"][None]
    assert (view.similarities(query) == vectors.similarities(query)).all()


def test_hiding_again_replaces_what_was_hidden(vectors: WordVectors) -> None:
    again = vectors.hiding(["dog"]).hiding(["cat"])
    assert again.hidden == {"cat"}
    assert again.answerable[vectors.index["dog"]] and not again.answerable[vectors.index["cat"]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a Nude, study", "a •••, study"),
        ("oil_NUDE_8K.", "oil_•••_•••."),
        ("the nude’s pose", "the •••’s pose"),
        ("nudes of Goreng stay", "nudes of Goreng stay"),
        ("½ a cake, ﬁne", "½ a cake, ﬁne"),
        ("", ""),
        # Characters that nobody sees hide nothing, and elsewhere they stay.
        (
            "a nu\u00adde, n\u200bude; \u2060NUDE\u2060 soft\u00adly",
            "a •••, •••; \u2060•••\u2060 soft\u00adly",
        ),
        ("👩\u200d🎨 paints\u200b", "👩\u200d🎨 paints\u200b"),
        ("nu\u200b de \u200b", "nu\u200b de \u200b"),
    ],
)
def test_hidden_words_are_masked(before: str, after: str) -> None:
    assert mask(before, HIDDEN) == after


@given(st.lists(st.one_of(st.sampled_from(DIFFICULT), st.text(max_size=8))).map(" ".join))
def test_no_hidden_word_survives_the_mask(prompt: str) -> None:
    masked = mask(prompt, HIDDEN)
    assert HIDDEN.isdisjoint(text.words(masked))
    seen = "".join(letter for letter in masked if unicodedata.category(letter) != "Cf")
    assert HIDDEN.isdisjoint(text.words(seen))
    assert mask(masked, HIDDEN) == masked
    if MASK not in masked:
        assert masked == prompt and HIDDEN.isdisjoint(text.words(prompt))
    assert mask(prompt, frozenset()) == prompt
