"""Word arithmetic: "portrait - painting + photo", and the words that its vector is near.

As Mikolov et al. 2013 (arXiv:1301.3781) found: sums and differences of word vectors keep what the
words mean. Needs the embedding alone.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.embedding.vectors import WordVectors

MOST_TERMS = 10  # longer sums are near everything and nothing
MOST_CHARACTERS = 400
SUGGESTED = 8  # words that begin as what was typed

_SIGNS = {"+": 1, "-": -1, "−": -1, "–": -1, "—": -1}
_TOKEN = re.compile(rf"[{re.escape(''.join(_SIGNS))}]|[^\s{re.escape(''.join(_SIGNS))}]+")


@dataclass(frozen=True)
class Solution:
    """An expression worked out.

    Attributes:
        terms: (sign, word) in order, sign 1 or −1.
        vector: float32 (D,), of length 1.
        words: (word, cosine) of the nearest words, none of them a term, best first.
        counts: how often the prompts hold each of `words`.
    """

    terms: tuple[tuple[int, str], ...]
    vector: np.ndarray = field(repr=False)
    words: tuple[tuple[str, float], ...]
    counts: tuple[int, ...]

    @property
    def expression(self) -> str:
        """The terms as a reader writes them: `portrait − painting + photo`."""
        written = "".join(f" {'+' if sign > 0 else '−'} {word}" for sign, word in self.terms)
        return written.removeprefix(" + ").removeprefix(" ")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the expression, and its nearest words with score and count."""
        rows = zip(self.words, self.counts, strict=True)
        return {
            "expression": self.expression,
            "results": [
                {"word": word, "score": round(score, 4), "count": count}
                for (word, score), count in rows
            ],
        }


def solve(expression: str, vectors: WordVectors, k: int = 10) -> Solution:
    """Add and subtract words, each at length 1, and name the k words nearest to the sum.

    Args:
        expression: words joined by + and − (any dash), such as "portrait - painting + photo".
        vectors: the embedding; words that it hides are unknown.
        k: how many words.

    Raises:
        UserError: no word, too long, a sign too many or too few, an unknown word, or
            terms that cancel out.
    """
    terms = parse(expression, vectors)
    total = sum(sign * vectors.unit[vectors.index[word]] for sign, word in terms)
    length = float(np.linalg.norm(total))
    if length < 1e-3:
        raise UserError("embedding.sum_cancelled")
    vector = np.asarray(total / length, dtype=np.float32)
    used = {word for _, word in terms}
    rows, cosines = vectors.nearest(vector, k + len(used), answers_only=True)
    found = [
        (vectors.words[row], float(cosine))
        for row, cosine in zip(rows[0], cosines[0], strict=True)
        if vectors.words[row] not in used
    ][:k]
    counts = tuple(int(vectors.counts[vectors.index[word]]) for word, _ in found)
    return Solution(terms, vector, tuple(found), counts)


def parse(expression: str, vectors: WordVectors) -> tuple[tuple[int, str], ...]:
    """The (sign, word) terms of an expression.

    Raises:
        UserError: as `solve`, but for terms that cancel out.
    """
    if len(expression) > MOST_CHARACTERS:
        raise UserError("embedding.sum_long", most=MOST_CHARACTERS)
    terms: list[tuple[int, str]] = []
    sign: int | None = 1  # None: a sign has to come next
    signed = False  # the sign was written
    for token in _TOKEN.findall(unicodedata.normalize("NFKC", expression)):
        if token in _SIGNS:
            if signed:
                raise UserError("embedding.sum_two_signs")
            sign, signed = _SIGNS[token], True
            continue
        word = _word(token, vectors)
        if sign is None:
            raise UserError("embedding.sum_no_sign", first=terms[-1][1], second=word)
        terms.append((sign, word))
        sign, signed = None, False
    if signed:
        raise UserError("embedding.sum_loose_sign")
    if not terms:
        raise UserError("embedding.sum_empty")
    if len(terms) > MOST_TERMS:
        raise UserError("embedding.sum_many", most=MOST_TERMS)
    return tuple(terms)


def known_word(typed: str, vectors: WordVectors) -> str | None:
    """The vocabulary's word for what a person typed, None where it has (or shows) none."""
    found = text.words(typed)
    if len(found) != 1 or found[0] not in vectors or found[0] in vectors.hidden:
        return None
    return found[0]


def beginning(prefix: str, words: Sequence[str]) -> list[str]:
    """The first `SUGGESTED` of `words` that begin with what a person typed so far."""
    start = "".join(text.words(prefix)[:1])
    return [word for word in words if word.startswith(start)][:SUGGESTED] if start else []


def _word(token: str, vectors: WordVectors) -> str:
    word = known_word(token, vectors)
    if word is None:
        raise UserError("embedding.sum_unknown", word=token)
    return word
