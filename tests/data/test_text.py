"""Prompt → words, the same for the embedding, the targets and the metrics."""

import doctest
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.data import text


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A Portrait of a DOG", "a portrait of a dog"),
        ("oil-painting, (highly detailed:1.3)", "oil painting highly detailed 1 3"),
        ("cat's eye; the artist’s cats", "cat eye the artist cats"),
        ("woman <lora:add_detail:0.8> smiling", "woman smiling"),
        ("a < b > c", "a b c"),
        ("snake_case __wild__", "snake case wild"),
        ("café Łódź 東京", "café łódź 東京"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("trending on artstation!!! 🚀", "trending on artstation"),
        ("", ""),
        (" ,.;:!? ", ""),
    ],
)
def test_words_of_a_prompt(prompt: str, expected: str) -> None:
    assert text.words(prompt) == expected.split()


def test_documented_examples_hold() -> None:
    assert doctest.testmod(text).failed == 0


@given(st.text())
def test_words_are_lower_case_and_hold_no_symbols(prompt: str) -> None:
    for word in text.words(prompt):
        assert word.isalnum() and word == word.lower()


@given(st.text())
def test_words_joined_by_spaces_give_the_same_words(prompt: str) -> None:
    # The corpus file of the embedding holds them so.
    words = text.words(prompt)
    assert text.words(" ".join(words)) == words


@pytest.mark.parametrize("prompt", ["<" + ":" * 200_000, "<a:" * 70_000, "'s" * 100_000])
def test_a_hostile_prompt_takes_no_time(prompt: str) -> None:
    started = time.process_time()
    text.words(prompt)
    assert time.process_time() - started < 60  # less than one; what looks back takes hours


LETTERS = string.ascii_letters + string.digits + " ,.-()éÜßæ東"


@given(prompt=st.text(LETTERS), spaces=st.sampled_from([" ", "  ", "\t", "\n", " \u00a0 "]))
def test_case_and_spaces_fold_away(prompt: str, spaces: str) -> None:
    folded = text.fold(prompt)
    assert text.fold(prompt.upper()) == folded
    assert text.fold(prompt.lower()) == folded
    assert text.fold(spaces + prompt.replace(" ", spaces) + spaces) == folded
    assert text.fold(folded) == folded


def test_fold_keeps_symbols_and_order() -> None:
    assert text.fold("a cat, a dog") != text.fold("a cat a dog")
    assert text.fold("a cat, a dog") != text.fold("a dog, a cat")


def test_content_words_are_distinct_and_in_order() -> None:
    prompt = "The Dog and the cat, a dog of 1999, x, 8k"
    assert text.content_words(prompt) == ["dog", "cat", "8k"]


@pytest.mark.parametrize("word", ["the", "of", "with", "s", "x", "2022", "7"])
def test_words_that_say_nothing(word: str) -> None:
    assert not text.is_content_word(word)


@pytest.mark.parametrize("word", ["dog", "8k", "1980s", "by2", "猫", "image", "photo"])
def test_words_that_say_something(word: str) -> None:
    assert text.is_content_word(word)


def test_stop_words_are_words_as_the_tokenizer_gives_them() -> None:
    assert all(text.words(word) == [word] for word in text.STOP_WORDS)
