"""`ClassWords`: which words appear in prompts together with the name of an ImageNet class.

A pretrained CNN tells a thousand classes apart, far more things than the training pictures show.
The classes' names, and the words that prompts use with them, carry that knowledge into the
vocabulary: the idea of ConSE (Norouzi et al. 2014, arXiv 1312.5650), with whole prompts in place
of the bare name. The same pass counts the background, how often prompts hold each word at all.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import TEXT, ArrayFile, Form
from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.prompts import iter_prompts
from img2prompt.data.splits import split_of
from img2prompt.embedding.class_names import ClassName, NamedClasses, read_class_names
from img2prompt.embedding.vectors import OfEmbedding, WordVectors, top_k

CLASS_WORDS_FILE = "class_words.npz"

WORDS = 64  # kept of each class; beyond them shares are those of the background
SMOOTHING = 20.0  # prompts' worth of background added to each class, so that rare names say little
WHOLE_NAME = 4.0  # a prompt with the whole name counts this often, one with its head noun once
OWN_NAME = 0.5  # the least share of the name's own words: the class *is* what they say

# The background is averaged over sources, because one huge source would speak for all. A source of
# fewer prompts says little, and one of shorter prompts is a list of terms.
MIN_PROMPTS, MIN_WORDS = 1_000, 4.0

# Prompts that do not count: of the test split; another one in other case or spacing; a template
# with a name in it, which nobody wrote; without a word that the vocabulary has.
LEFT_OUT = ("test_prompts", "repeated", "rebuilt", "unknown")

_FILE = ArrayFile(
    "embedding.kind_class_words",
    "scripts/count_class_words.py",
    {
        "words": Form("i", (None, None)),
        "shares": Form("f", (None, None)),
        "names": Form("f", (None, None)),
        "background": Form("f", (None,)),
        "embedding": TEXT,
    },
)


class Classes(Protocol):
    """What the classes of a classifier say about a picture's words."""

    def expected(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (n, C) → expected share of each word, float32 (n, V)."""

    def directions(self, vectors: WordVectors) -> NDArray[np.float32]:
        """Where each class lies in the embedding: float32 (C, M), M of the class's choosing."""


@dataclass(frozen=True)
class WordsAsClasses:
    """Classes that are words of the vocabulary: each says itself.

    Attributes:
        words: int (C,), positions in the vocabulary.
        vocabulary: how many words that has.
    """

    words: NDArray[np.integer]
    vocabulary: int

    def expected(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (n, C) → the same, each at its word's place: float32 (n, V)."""
        shares = np.zeros((len(probabilities), self.vocabulary), np.float32)
        shares[:, self.words] = probabilities
        return shares

    def directions(self, vectors: WordVectors) -> NDArray[np.float32]:
        """The words' unit vectors, float32 (C, D)."""
        return vectors.unit[self.words].astype(np.float32)


@dataclass(frozen=True)
class ClassWords(OfEmbedding):
    """For each of C classes the words that prompts use with its name, and the background.

    Attributes:
        words: int32 (C, K), positions in the vocabulary.
        shares: float32 (C, K) in [0, 1], of the prompts with the class's name those with the word.
        names: float32 (C, D), mean unit vector of the words it is called by; zeros without one.
        background: float32 (V,) in [0, 1], of all prompts those with the word.
        embedding: `WordVectors.fingerprint` of the vocabulary.
    """

    FILE = _FILE

    words: NDArray[np.int32]
    shares: NDArray[np.float32]
    names: NDArray[np.float32]
    background: NDArray[np.float32]
    embedding: str

    def expected(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (n, C) → expected share of each word, float32 (n, V)."""
        return probabilities @ self._table  # (n, C) @ (C, V)

    def directions(self, vectors: WordVectors) -> NDArray[np.float32]:
        """Where each class lies in the embedding: float32 (C, 2D).

        The mean vector of its name, and the unit mean vector of its words, each weighted by how
        far its share exceeds the background.
        """
        excess = self.shares - self.background[self.words]  # (C, K)
        means = np.einsum("ck,ckd->cd", excess, vectors.unit[self.words])
        means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-6
        return np.hstack([self.names, means]).astype(np.float32)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the contents."""
        arrays = (self.words, self.shares, self.names, self.background)
        digest = hashlib.sha256(self.embedding.encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def _is_sound(self, vectors: WordVectors) -> bool:
        """Whether the arrays fit one another and the embedding."""
        words, numbers = self.words, (self.shares, self.names, self.background)
        return (
            words.shape == self.shares.shape
            and self.names.shape == (len(words), vectors.dimensions)
            and self.background.shape == (len(vectors),)
            and bool(((words >= 0) & (words < len(vectors))).all())
            and all(np.isfinite(array).all() for array in numbers)
        )

    @functools.cached_property
    def _table(self) -> NDArray[np.float32]:
        table = np.zeros((len(self.words), len(self.background)), np.float32)
        np.put_along_axis(table, self.words.astype(np.int64), self.shares, axis=1)
        return table


def count_class_words(
    files: Iterable[str | os.PathLike[str]],
    vectors: WordVectors,
    classes: list[ClassName] | None = None,
) -> tuple[ClassWords, dict[str, int]]:
    """Stream prompts and count which words appear with each class's name.

    Prompts of the test split and rebuilt ones are left out, prompts that fold alike count once.

    Args:
        files: parquet with a column `prompt` (and `source`, if it has one) or text.
        vectors: the vocabulary.
        classes: unset, ImageNet's.

    Returns:
        The class words, and the counts `prompts`, `sources` (of the background),
        `classes_unknown`, called by no word of the vocabulary, and those of `LEFT_OUT`.

    Raises:
        UserError: files that cannot be read, or no prompt that counts.
    """
    classes = classes if classes is not None else read_class_names()
    called = [row.called(vectors) for row in classes]
    naming = NamedClasses(classes)
    counts = np.zeros((len(classes), len(vectors)), np.float32)
    prompts_of_class = np.zeros(len(classes))
    by_source: dict[str, NDArray[np.float32]] = {}
    prompts_of_source: Counter[str] = Counter()
    left_out = Counter(dict.fromkeys(LEFT_OUT, 0))
    for prompt, known, source in _counted_prompts(files, vectors, left_out):
        if source not in by_source:
            by_source[source] = np.zeros(len(vectors), np.float32)
        by_source[source][known] += 1
        prompts_of_source[source] += 1
        for number, whole in naming.named(prompt):
            weight = WHOLE_NAME if whole else 1.0
            counts[number, known] += weight
            prompts_of_class[number] += weight
    if not prompts_of_source:
        raise UserError("embedding.no_prompt_counts", left_out=_left_out_counts(left_out))
    background, sources = _background(by_source, prompts_of_source)
    words, shares = _most_frequent(counts, prompts_of_class, background, called, vectors)
    centres = np.zeros((len(classes), vectors.dimensions), np.float32)
    for row, own in zip(centres, called, strict=True):
        if own:
            row[:] = vectors.unit[own].mean(axis=0)
    totals = {
        "prompts": prompts_of_source.total(),
        "sources": sources,
        "classes_unknown": sum(not own for own in called),
    }
    return ClassWords(words, shares, centres, background, vectors.fingerprint), totals | left_out


def _counted_prompts(
    files: Iterable[str | os.PathLike[str]], vectors: WordVectors, left_out: Counter[str]
) -> Iterator[tuple[str, list[int], str]]:
    """Each prompt that counts, its known words (positions) and its source.

    The others are added to `left_out`.
    """
    seen: set[str] = set()
    for path in files:
        for prompt, written, source in iter_prompts(path):
            folded = text.fold(prompt)
            reason = _left_out(prompt, folded, written, seen)
            if reason is not None:
                left_out[reason] += 1
                continue
            seen.add(folded)
            known = vectors.prompt_positions(prompt).tolist()
            if known:
                yield prompt, known, source
            else:
                left_out["unknown"] += 1


def _most_frequent(
    counts: NDArray[np.float32],
    prompts: NDArray[np.float64],
    background: NDArray[np.float32],
    called: list[list[int]],
    vectors: WordVectors,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The `WORDS` most frequent answerable words of each class, and their smoothed shares.

    Args:
        counts: (C, V), of each class how often its prompts hold each word.
        prompts: (C,), of each class how many prompts it has.
        background: (V,), share of all prompts with each word.
        called: positions of the words of each class's own name and kind.
        vectors: the vocabulary.

    Returns:
        positions int32 (C, K) and shares float32 (C, K), largest first.
    """
    smoothed = counts + SMOOTHING * background
    smoothed /= (prompts + SMOOTHING)[:, None]
    for row, own in zip(smoothed, called, strict=True):
        row[own] = np.maximum(row[own], OWN_NAME)
    words, shares = top_k(smoothed * vectors.answerable, min(WORDS, len(vectors)))
    return words.astype(np.int32), shares.astype(np.float32)


def left_out_text(counts: Mapping[str, int]) -> str:
    """How many prompts did not count, and why, in a line of English."""
    return str(_left_out_counts(counts))


def _left_out_counts(counts: Mapping[str, int]) -> UserError:
    numbers = {name: f"{counts[name]:,}" for name in LEFT_OUT}
    return UserError("embedding.left_out", **numbers)


def _left_out(prompt: str, folded: str, written: bool, seen: set[str]) -> str | None:
    """Why a prompt does not count, a name of `LEFT_OUT`; None where it does."""
    if not written:
        return "rebuilt"
    if folded in seen:
        return "repeated"
    return "test_prompts" if split_of(prompt) == "test" else None


def _background(
    by_source: dict[str, NDArray[np.float32]], prompts: Counter[str]
) -> tuple[NDArray[np.float32], int]:
    """Share of prompts with each word, averaged over the sources that hold prompts: (V,)."""
    shares = {source: counts / prompts[source] for source, counts in by_source.items()}
    real = [
        source
        for source, share in shares.items()
        if prompts[source] >= MIN_PROMPTS and share.sum() >= MIN_WORDS
    ]
    chosen = real or list(shares)
    return np.mean([shares[source] for source in chosen], axis=0).astype(np.float32), len(chosen)
