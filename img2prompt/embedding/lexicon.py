"""`Lexicon`: what prompts say of single words, apart from any picture.

How often pairs hold a word, which words are generic, which are forms of one word, and which two
belong together. Built once and offline (`word_use.py`, `word_forms.py`); serving reads the file.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import TEXT, ArrayFile, Form, load_arrays, save_arrays
from img2prompt.core.errors import UserError
from img2prompt.embedding.kinds import Kinds
from img2prompt.embedding.vectors import WordVectors

LEXICON_FILE = "lexicon.npz"
MOST_PAIRS = 16  # for each word of the vocabulary; a dictionary of them takes 200 bytes each
_FILE = ArrayFile(
    "embedding.kind_lexicon",
    "scripts/build_lexicon.py",
    {
        "base_rate": Form("f", (None,)),
        "background": Form("f", (None,)),
        "generic": Form("b", (None,)),
        "lemma": Form("i", (None,)),
        "first": Form("i", (None,)),
        "second": Form("i", (None,)),
        "strength": Form("f", (None,)),
        "embedding": TEXT,
    },
)


@dataclass(frozen=True)
class Lexicon:
    """What prompts say of the words of an embedding.

    Attributes:
        vectors: the embedding.
        base_rate: float32 (V,) in (0, 1], share of the pairs' prompts with the word; of all
            prompts where no pairs were given. See `word_use.base_rates`.
        background: float32 (V,) in [0, 1], the same of all prompts, the mean over their sources.
        generic: bool (V,), words that prompts of any picture use, see `word_use.generic_words`,
            and their other forms.
        lemma: int32 (V,), position of the commonest form of the same word; its own where it has
            no other. See `word_forms.lemmas`.
        first, second: int32 (P,), positions of two words that belong together in this order.
        strength: float32 (P,) in [−1, 1], normalised pointwise mutual information of each pair;
            strongest first. See `word_use.word_pairs`.
    """

    vectors: WordVectors = field(repr=False)
    base_rate: NDArray[np.float32] = field(repr=False)
    background: NDArray[np.float32] = field(repr=False)
    generic: NDArray[np.bool_] = field(repr=False)
    lemma: NDArray[np.int32] = field(repr=False)
    first: NDArray[np.int32] = field(repr=False)
    second: NDArray[np.int32] = field(repr=False)
    strength: NDArray[np.float32] = field(repr=False)

    @cached_property
    def pairs(self) -> dict[tuple[int, int], float]:
        """(first, second), positions in the vocabulary → strength."""
        rows = zip(self.first.tolist(), self.second.tolist(), self.strength.tolist(), strict=True)
        return {(first, second): strength for first, second, strength in rows}

    def pairs_among(self, words: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """The pairs (first, second) of which a list of words holds both, the strongest first."""
        index = self.vectors.index
        known = {index[word]: word for word in words if word in index}
        found = [
            (strength, known[first], known[second])
            for first in known
            for second in known
            if (strength := self.pairs.get((first, second))) is not None
        ]
        found.sort(key=lambda row: -row[0])
        return tuple((first, second) for _, first, second in found)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        arrays = {name: getattr(self, name) for name in _FILE.forms if name != "embedding"}
        save_arrays(path, _FILE, arrays | {"embedding": self.vectors.fingerprint}, compressed=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], vectors: WordVectors) -> "Lexicon":
        """Read what `save` wrote.

        Raises:
            UserError: missing, damaged, or of another embedding.
        """
        arrays = load_arrays(path, _FILE, vectors.fingerprint)
        del arrays["embedding"]
        integers = {name: arrays[name].astype(np.int32) for name in ("lemma", "first", "second")}
        shares = ("base_rate", "background", "strength")
        with np.errstate(over="ignore"):  # what became infinite is refused
            floats = {name: arrays[name].astype(np.float32) for name in shares}
        lexicon = cls(vectors, generic=arrays["generic"], **floats, **integers)
        if not lexicon._is_sound():
            raise _FILE.unfit(path, UserError("core.uneven"))
        return lexicon

    def _is_sound(self) -> bool:
        """Whether the arrays fit one another and the embedding."""
        size, pairs = (len(self.vectors),), self.first.shape
        places = (self.lemma, self.first, self.second)
        floats = (self.base_rate, self.background, self.strength)
        return (
            all(
                array.shape == size
                for array in (self.base_rate, self.background, self.generic, self.lemma)
            )
            and self.second.shape == self.strength.shape == pairs
            and len(self.first) <= MOST_PAIRS * len(self.vectors)
            and all(bool(((array >= 0) & (array < size[0])).all()) for array in places)
            and all(bool(np.isfinite(array).all()) for array in floats)
            and bool((self.base_rate > 0).all())
            and all(
                bool(((shares >= 0) & (shares <= 1)).all())
                for shares in (self.base_rate, self.background)
            )
            and not bool((self.first == self.second).any())
            and np.array_equal(self.lemma[self.lemma], self.lemma)
        )


def join_pairs(words: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Words in phrases: those that belong together side by side.

    A word has one neighbour on each side, that of the first pair that names it, so that three may
    follow one another ("new", "york", "city"). A phrase stands where the first of its words stood.

    Args:
        words: each once.
        pairs: (first, second), the strongest first; those of other words are ignored.

    Returns:
        Every word once, in phrases of one or more words.
    """
    phrase: dict[str, tuple[str, ...]] = {word: (word,) for word in words}
    for first, second in pairs:
        before, after = phrase.get(first, ()), phrase.get(second, ())
        if before[-1:] == (first,) and after[:1] == (second,) and before is not after:
            phrase |= dict.fromkeys(before + after, before + after)
    return list(dict.fromkeys(phrase[word] for word in words))


def build_lexicon(
    files: Iterable[str | os.PathLike[str]],
    vectors: WordVectors,
    kinds: Kinds,
    pairs: Iterable[str | os.PathLike[str]] = (),
) -> tuple[Lexicon, dict[str, int]]:
    """Count prompts, and say what they tell of each word.

    Prompts of the test split are left out, and prompts that fold alike count once.

    Args:
        files: all prompts; parquet with a column `prompt` (and `source`, `prompt_exact`, if it
            has them) or text.
        vectors: the embedding.
        kinds: of the same embedding.
        pairs: those of `files`, or others, whose prompts belong to pictures.

    Returns:
        The lexicon, and the counts `prompts`, `pair_prompts`, `sources` (of the background),
        `generic` (without other forms), `merged` (words whose lemma is another) and `pairs`.

    Raises:
        UserError: files that cannot be read, or no prompt with a known word.
    """
    from img2prompt.embedding import word_use
    from img2prompt.embedding.word_forms import lemmas

    table = word_use.read_prompts(files, vectors)
    shares = table.shares
    background = shares.mean(axis=0)
    of_pairs = word_use.read_prompts(pairs, vectors) if (pairs := [*pairs]) else None
    lemma = lemmas(vectors)
    generic = word_use.generic_words(table, vectors, kinds)
    first, second, strength = word_use.word_pairs(table, vectors)
    lexicon = Lexicon(
        vectors,
        base_rate=word_use.base_rates(of_pairs, background),
        background=background.astype(np.float32),
        generic=np.isin(lemma, lemma[generic]),
        lemma=lemma,
        first=first,
        second=second,
        strength=strength,
    )
    counts = {
        "prompts": table.prompts,
        "pair_prompts": of_pairs.prompts if of_pairs is not None else 0,
        "sources": len(shares),
        "generic": int(generic.sum()),
        "merged": int((lemma != np.arange(len(lemma))).sum()),
        "pairs": len(first),
    }
    return lexicon, counts
