"""What the Map tab tells in words: a word's card, a sum's answer, the map as tables."""

import json
from collections.abc import Sequence
from typing import Any

from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.embedding.analogy import Solution
from img2prompt.embedding.word_map import VocabularyMap
from img2prompt.inference.export import table_as_csv
from img2prompt.inference.prediction import Prediction

HTML = macros("ui/map/card")
THEME_WORDS = 12  # of each theme, in the table
SUMS = ("portrait - painting + photo", "king - man + woman", "castle + night", "cat + robot")


def word_html(
    word: str, near: Sequence[tuple[str, float, int]], facts: list[str], part: Any, text: Texts
) -> str:
    """A word's card.

    Args:
        word: in the vocabulary.
        near: (word, cosine, count) of its nearest words.
        facts: its kind, its theme and how often prompts use it, where they are known.
        part: what of it lies on the map.
        text: the language.
    """
    saved = table_as_csv(("word", "near", "cosine", "count"), [(word, *row) for row in near])
    return HTML.word(word, near, facts, saved, json.dumps(part), text)


def beginnings_html(typed: str, words: Sequence[str], text: Texts) -> str:
    """What stands in the card's place while the word is not (yet) one that the vocabulary has."""
    if not typed.strip():
        return HTML.waiting(text)
    told = text("map.begins" if words else "map.unknown", word=typed.strip()[:40])
    return HTML.beginnings(told, words)


def sum_html(solution: Solution, part: dict[str, Any], text: Texts) -> str:
    """What a sum is near."""
    rows = [(*near, count) for near, count in zip(solution.words, solution.counts, strict=True)]
    title = text("map.sum_near", sum=solution.expression)
    return HTML.sum(title, rows, json.dumps(part), text)


def picture_html(
    prediction: Prediction,
    truth: Sequence[str],
    themes: dict[str, str],
    part: dict[str, Any],
    text: Texts,
) -> str:
    """A picture's answer on the map, as a table.

    Args:
        prediction: the answer.
        truth: the words of the true prompt, where they are known.
        themes: word → the name of the region it lies in.
        part: what of it lies on the map.
        text: the language.
    """
    rows = [(w, themes.get(w.word, "–"), w.word in truth) for w in prediction.words]
    said = {word.word for word in prediction.words}
    missed = [word for word in truth if word not in said]
    return HTML.picture(rows, missed, json.dumps(part), bool(truth), text)


def themes_html(vocabulary: VocabularyMap, text: Texts) -> str:
    """Every region of the map with its most frequent words."""
    by_theme: list[list[str]] = [[] for _ in vocabulary.labels]
    for word, theme in zip(vocabulary.words, vocabulary.themes, strict=True):
        by_theme[theme].append(word)
    themes = sorted(zip(vocabulary.labels, by_theme, strict=True), key=lambda theme: theme[0])
    return HTML.themes(themes, THEME_WORDS, text)
