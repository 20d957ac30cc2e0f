"""`WordVectors`: the vocabulary and its vectors, their file, and the words nearest to a vector.

An embedding file is an `.npz` of plain arrays, never a pickle: `words` (UTF-8, one a line, as
uint8), `vectors` (float32, (V, 100)) and `counts` (int64, (V,)), most frequent word first.
"""

import copy
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from img2prompt.core.arrays import UTF8, ArrayFile, Form, load_arrays, save_arrays
from img2prompt.core.errors import UserError
from img2prompt.data import text

# An answer is a content word that makes up at least this share of the corpus: 18 times among
# 4.4 million words. Below it misspellings ("fogy", "stromy") outnumber words, and the F1@10 of a
# first `gaze` on the validation split rose a little without them.
ANSWER_MIN_SHARE = 4e-6

EMBEDDING_FILE = "embedding.npz"
_FILE = ArrayFile(
    "embedding.kind_embedding",
    "scripts/train_embedding.py",
    {"words": UTF8, "vectors": Form("f", (None, None)), "counts": Form("iu", (None,))},
)


class WordVectors:
    """A vocabulary and its vectors.

    Attributes:
        words: (V,) list of str, most frequent first.
        vectors: float32 (V, D), as trained, not normalised.
        counts: int64 (V,), how often the training prompts hold each word.
        hidden: words that are never answers nor neighbours, see `hiding`; by default none.
    """

    hidden: frozenset[str] = frozenset()

    def __init__(self, words: Sequence[str], vectors: ArrayLike, counts: ArrayLike) -> None:
        vectors, counts = np.asarray(vectors), np.asarray(counts)
        if vectors.ndim != 2 or len(vectors) != len(words) or counts.shape != (len(words),):
            raise UserError("embedding.uneven")
        if len(words) < 2:
            raise UserError("embedding.too_small")
        self.words = list(words)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.counts = np.asarray(counts, dtype=np.int64)
        self.index = {word: position for position, word in enumerate(self.words)}
        if len(self.index) != len(self.words):
            raise UserError("embedding.word_twice")
        if not np.isfinite(self.vectors).all():
            raise UserError("embedding.not_finite")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> NDArray[np.float32]:
        """The word's vector, float32 (D,); KeyError for a word it does not know."""
        return self.vectors[self.index[word]]

    def positions(self, words: Iterable[str]) -> NDArray[np.int64]:
        """Positions in the vocabulary of those words that it knows, in order: int64 (n,)."""
        return np.array([self.index[word] for word in words if word in self.index], np.int64)

    def prompt_positions(self, prompt: str, content: bool = True) -> NDArray[np.int64]:
        """Positions of a prompt's known words, in order: int64 (n,).

        Args:
            prompt: any text.
            content: its distinct content words; else all its words, repetitions included.
        """
        return self.positions(text.content_words(prompt) if content else text.words(prompt))

    @property
    def dimensions(self) -> int:
        """D, 100 as in the original."""
        return self.vectors.shape[1]

    @cached_property
    def minimum(self) -> float:
        """The smallest value over all vectors: the lower end of the scaled tanh."""
        return float(self.vectors.min())

    @cached_property
    def maximum(self) -> float:
        """The largest value over all vectors: the upper end of the scaled tanh."""
        return float(self.vectors.max())

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """float32 (V, D): every vector divided by its length."""
        return _normalise(self.vectors)

    @cached_property
    def answerable(self) -> NDArray[np.bool_]:
        """bool (V,): what may be an answer, content words that are not rare.

        Never stop words and plain numbers, nor words below `ANSWER_MIN_SHARE`, nor hidden ones.
        """
        content = np.fromiter((text.is_content_word(word) for word in self.words), bool, len(self))
        return content & self.shown & (self.counts >= ANSWER_MIN_SHARE * self.counts.sum())

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """bool (V,): which words are not hidden."""
        return np.fromiter((word not in self.hidden for word in self.words), bool, len(self))

    def hiding(self, words: Iterable[str]) -> "WordVectors":
        """The same embedding with some words hidden.

        Hidden words are never answers or neighbours. Metrics still see them: `similarities`,
        `index` and `in` are as before, and so is the fingerprint. The arrays are shared.

        Args:
            words: as `text.words` gives them; those that the vocabulary lacks are ignored.
        """
        view = copy.copy(self)
        view.__dict__ |= {"unit": self.unit, "fingerprint": self.fingerprint}
        view.__dict__.pop("answerable", None)
        view.__dict__.pop("shown", None)
        view.hidden = frozenset(word for word in words if word in self.index)
        return view

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the contents; a model names the embedding it belongs to."""
        digest = hashlib.sha256("\n".join(self.words).encode("utf-8"))
        digest.update(self.vectors.tobytes())
        return digest.hexdigest()[:16]

    def similarities(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Cosine of each of (n, D) vectors with every word: float32 (n, V) in [−1, 1]."""
        queries = _normalise(np.atleast_2d(np.asarray(vectors, dtype=np.float32)))
        return np.clip(queries @ self.unit.T, -1.0, 1.0)

    def nearest(
        self, vectors: ArrayLike, k: int = 10, answers_only: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k nearest words by cosine of each of (n, D) vectors, in one matrix product.

        Hidden words are left out; fewer than k come where fewer words may.

        Returns:
            positions int64 (n, k) and cosines float32 (n, k), best first.
        """
        scores = self.similarities(vectors)
        allowed = self.answerable if answers_only else self.shown
        if not allowed.all():
            scores = np.where(allowed, scores, np.float32(-2.0))
        return top_k(scores, min(k, int(allowed.sum())))

    def neighbours(
        self, word: str, k: int = 10, answers_only: bool = False
    ) -> list[tuple[str, float]]:
        """The k words nearest to a word and their cosines, itself left out.

        Raises:
            UserError: the vocabulary lacks the word, or hides it.
        """
        if word not in self.index or word in self.hidden:
            raise UserError("embedding.unknown_word", word=word)
        positions, scores = self.nearest(self[word], min(k + 1, len(self)), answers_only)
        pairs = zip(positions[0], scores[0], strict=True)
        return [(self.words[p], float(s)) for p, s in pairs if self.words[p] != word][:k]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        arrays = {"words": "\n".join(self.words), "vectors": self.vectors, "counts": self.counts}
        save_arrays(path, _FILE, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "WordVectors":
        """Read what `save` wrote.

        Raises:
            UserError: missing file, or not an embedding of ours.
        """
        arrays = load_arrays(path, _FILE)
        words = arrays["words"].split("\n")
        return cls(words, arrays["vectors"].astype(np.float32), arrays["counts"].astype(np.int64))


def top_k(scores: NDArray[Any], k: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Positions int64 (n, k) and values (n, k) of the k largest of each row (n, V), best first."""
    k = min(k, scores.shape[1])
    chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(values, order, axis=1)


def _normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


@dataclass(frozen=True)
class OfEmbedding:
    """Arrays that belong to an embedding, kept as an `.npz`: the base of their dataclasses.

    Attributes:
        FILE: what such a file holds, one form a field.
        COMPRESSED: whether its arrays are.
    """

    FILE: ClassVar[ArrayFile]
    COMPRESSED: ClassVar[bool] = False

    def _is_sound(self, vectors: WordVectors) -> bool:
        """Whether the arrays fit one another and the embedding."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an `.npz`, atomically."""
        save_arrays(path, self.FILE, dataclasses.asdict(self), self.COMPRESSED)

    @classmethod
    def load(cls, path: str | os.PathLike[str], vectors: WordVectors) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: missing, damaged, or of another embedding.
        """
        loaded = cls(**load_arrays(path, cls.FILE, vectors.fingerprint))
        if not loaded._is_sound(vectors):
            raise cls.FILE.unfit(path, UserError("core.uneven"))
        return loaded
