"""Which words of a vocabulary are forms of one word: plural and singular, two spellings.

A rule over English endings proposes, and the embedding decides: "flowers" lies beside "flower" and
is merged with it, "news" lies far from "new" and is not.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from img2prompt.data import text
from img2prompt.embedding.vectors import WordVectors

# Cosine of two forms from which they are one word. Above it nearly all pairs that the endings
# propose are (read through by hand: "girls" and "girl" have 0.46), below it names begin ("evans").
SAME_WORD = 0.4
# Near their other form, and yet another thing.
OTHER_MEANING = frozenset(
    "arts browns clothes glasses greens lands marines mars mechanics mens woods works".split()
)
_IRREGULAR = {
    "children": "child",
    "dice": "die",
    "dwarves": "dwarf",
    "feet": "foot",
    "geese": "goose",
    "grey": "gray",
    "mice": "mouse",
    "people": "person",
    "teeth": "tooth",
}
_NO_PLURALS = ("ss", "us", "is", "ous")
_SPELLINGS = {
    "our": "or",
    "ours": "ors",
    "oured": "ored",
    "tre": "ter",
    "tres": "ters",
    "ise": "ize",
    "ised": "ized",
    "ising": "izing",
    "ogue": "og",
}
_MIN_LETTERS = 3  # of the shorter form


def other_forms(word: str) -> Iterator[str]:
    """What the singular of a word may be, or its American spelling.

    >>> list(other_forms("wolves"))
    ['wolf', 'wolfe', 'wolve']
    >>> list(other_forms("colours"))
    ['colour', 'colors']
    """
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    if word.endswith("men"):
        yield f"{word[:-2]}an"
    elif word.endswith("s") and not word.endswith(_NO_PLURALS):
        if word.endswith("ies"):
            yield f"{word[:-3]}y"
        elif word.endswith("ves"):
            yield from (f"{word[:-3]}f", f"{word[:-3]}fe")
        elif word.endswith(("ches", "shes", "xes", "sses", "zes", "oes")):
            yield word[:-2]
        yield word[:-1]
    for british, american in _SPELLINGS.items():
        if word.endswith(british):
            yield word.removesuffix(british) + american


def lemmas(vectors: WordVectors) -> NDArray[np.int32]:
    """The representative of each word, the commonest of its forms: positions, int32 (V,).

    Two forms are one word where an ending makes one of the other and their cosine is at least
    `SAME_WORD`. Only content words have other forms. Forms of forms are merged too, and a
    representative is its own.
    """
    chosen = np.arange(len(vectors), dtype=np.int32)

    def top(place: int) -> int:
        while chosen[place] != place:
            place = int(chosen[place])
        return place

    for place, word in enumerate(vectors.words):
        if word in OTHER_MEANING or not text.is_content_word(word):
            continue
        near = [
            (float(vectors.unit[place] @ vectors.unit[vectors.index[form]]), vectors.index[form])
            for form in other_forms(word)
            if form in vectors and len(form) >= _MIN_LETTERS and text.is_content_word(form)
        ]
        cosine, other = max(near, default=(0.0, place))
        if cosine >= SAME_WORD:
            one, two = top(place), top(other)
            counts = vectors.counts
            keep, drop = (one, two) if counts[one] >= counts[two] else (two, one)
            chosen[drop] = keep
    return np.array([top(place) for place in range(len(chosen))], np.int32)
