"""How prompts use each word: shares, generic words, and words that belong together.

Memory holds some twenty bytes a word of the prompts. Needs SciPy (requirements-train.txt).
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.prompts import iter_prompts
from img2prompt.data.splits import hash64, source_group, split_of
from img2prompt.embedding.class_words import MIN_PROMPTS, MIN_WORDS
from img2prompt.embedding.kinds import KINDS, Kinds
from img2prompt.embedding.vectors import WordVectors

GENERIC = 60  # words, besides subjects that are as generic as half of them
# Half of all sources have a generic word in at least this share of their prompts.
USED_EVERYWHERE = 0.005
# Shares of the words whose company is compared: rarer ones are noise, commoner ones filler.
COMPANY = (1e-4, 5e-3)
PRIOR_COMPANY = 50.0  # uses of company added to each word's, spread as in all prompts
MOST_USES = 300  # of one source count towards a word's company; the large would drown the rest
# Rarer words keep narrower company, generic or not. That a word is e times as common is worth this
# many bits; a regression over the common words gives twice as many, and corrected by that much the
# measure no longer tells filler from what is merely rare.
ALLOWANCE = 0.25
SPECIFIC_KINDS = ("artist", "style")  # their words say something of the picture, however common

SOURCE_POWER = 0.5  # a source of n prompts weighs n to this, as training draws pictures
SMOOTHING = 20.0  # prompts' worth of the background added to base rates
LEAST_RATE = 1e-6  # a base rate is something to divide by

PAIR_USES, PAIR_STRENGTH = 5, 0.5  # the least of two words that belong together
ORDER = 10.0  # how many times as often they stand in this order as in the other
# What stands between two phrases. Hyphens, apostrophes and the inside of numbers do not.
_BREAK = re.compile(r"[^\w\s'’<>:.-]+|\.(?!\d)|\s[-–—]+\s|\n", re.UNICODE)


@dataclass(frozen=True)
class PromptTable:
    """Prompts as positions in a vocabulary.

    Attributes:
        vectors: the embedding.
        words: int32 (T,), all prompts' words one after another; −1 for a word that the vocabulary
            lacks, and between phrases and prompts.
        row: int32 (T,), the prompt that each belongs to, 0 to `prompts` − 1, rising.
        source: int32 (prompts,), position in `sources`.
        sources: their names; each repository is one.
        written: bool (prompts,), False for one rebuilt from a template.
    """

    vectors: WordVectors
    words: NDArray[np.int32]
    row: NDArray[np.int32]
    source: NDArray[np.int32]
    sources: list[str]
    written: NDArray[np.bool_]

    @property
    def prompts(self) -> int:
        """How many there are."""
        return len(self.source)

    @cached_property
    def held(self) -> Any:
        """Which prompt holds which content word: a sparse matrix of 0 and 1, (prompts, V)."""
        from scipy.sparse import csr_matrix

        content = np.fromiter(map(text.is_content_word, self.vectors.words), bool)
        known = self.words >= 0
        known[known] = content[self.words[known]]
        cells = (np.ones(int(known.sum()), np.float32), (self.row[known], self.words[known]))
        held = csr_matrix(cells, shape=(self.prompts, len(self.vectors)))
        held.sum_duplicates()
        held.data[:] = 1
        return held

    @cached_property
    def by_source(self) -> list[Any]:
        """`held` of the written prompts of each source group that says something of all prompts.

        One of fewer than `MIN_PROMPTS` says little, and one of prompts shorter than `MIN_WORDS`
        is a list of terms. If there is no other, all groups that have written prompts.
        """
        groups, number = np.unique(
            [source_group(name) for name in self.sources], return_inverse=True
        )
        of_prompt = number[self.source]
        rows = [
            self.held[np.flatnonzero(self.written & (of_prompt == group))]
            for group in range(len(groups))
        ]
        rows = [some for some in rows if some.shape[0]]
        large = [
            some
            for some in rows
            if some.shape[0] >= MIN_PROMPTS and some.nnz >= MIN_WORDS * some.shape[0]
        ]
        return large or rows

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of the prompts that hold each word: float64 (sources of `by_source`, V)."""
        return np.stack([np.asarray(some.mean(axis=0)).ravel() for some in self.by_source])


def read_prompts(files: Iterable[str | os.PathLike[str]], vectors: WordVectors) -> PromptTable:
    """Read prompts, each once; those of the test split are left out.

    Args:
        files: parquet with a column `prompt` or text, as `prompts.iter_prompts` takes them.
        vectors: the embedding.

    Raises:
        UserError: files that cannot be read, or none with a written prompt of known words.
    """
    seen: set[int] = set()
    lines: list[NDArray[np.int32]] = []
    source: list[int] = []
    written: list[bool] = []
    sources: dict[str, int] = {}
    for path in files:
        for prompt, exact, name in iter_prompts(path):
            key = hash64(text.fold(prompt))
            if key in seen or split_of(prompt) == "test":
                continue
            seen.add(key)
            line = _positions(prompt, vectors)
            if (line >= 0).any():
                lines.append(line)
                source.append(sources.setdefault(name, len(sources)))
                written.append(exact)
    if not any(written):
        raise UserError("embedding.no_written_prompt")
    row = np.repeat(np.arange(len(lines), dtype=np.int32), [len(line) for line in lines])
    words, number = np.concatenate(lines), np.array(source, np.int32)
    return PromptTable(vectors, words, row, number, [*sources], np.array(written))


def _positions(prompt: str, vectors: WordVectors) -> NDArray[np.int32]:
    found: list[int] = []
    for phrase in _BREAK.split(text.without_commands(prompt)):
        found += [vectors.index.get(word, -1) for word in text.words(phrase)]
        found.append(-1)
    return np.array(found, np.int32)


def base_rates(pairs: PromptTable | None, background: NDArray[np.float64]) -> NDArray[np.float32]:
    """How likely a prompt of a pair holds each word, before its picture is seen: float32 (V,).

    The share of the written prompts with the word, each source weighed by its size to the power
    of `SOURCE_POWER`, and smoothed by `SMOOTHING` prompts of the background; at least
    `LEAST_RATE`.

    Args:
        pairs: the pairs' prompts; None for the background alone.
        background: (V,), share of all prompts with each word.
    """
    if pairs is None:
        return np.maximum(background, LEAST_RATE).astype(np.float32)
    of_source = pairs.source[pairs.written]
    sizes = np.bincount(of_source, minlength=len(pairs.sources))
    weights = sizes[of_source] ** (SOURCE_POWER - 1)
    shares = weights @ pairs.held[np.flatnonzero(pairs.written)] / weights.sum()
    prompts = weights.sum() ** 2 / (weights**2).sum()  # as many equally weighed ones tell as much
    smoothed = (prompts * shares + SMOOTHING * background) / (prompts + SMOOTHING)
    return np.maximum(smoothed, LEAST_RATE).astype(np.float32)


def generic_words(table: PromptTable, vectors: WordVectors, kinds: Kinds) -> NDArray[np.bool_]:
    """The words that prompts of any picture use: bool (V,).

    A generic word is common in most sources, and the words beside it are those of all prompts. The
    second is measured as query clarity (Cronen-Townsend et al. 2002): the Kullback-Leibler
    divergence, in bits, of the word's company from that of its source's prompts, averaged over
    sources. It is low for "detailed" and high for "dog", which stands beside "puppy" and "fur".
    Of the words that half of the sources hold in `USED_EVERYWHERE` of their prompts, the `GENERIC`
    with the lowest clarity, rarity allowed for (`ALLOWANCE`), are generic. Artists and styles never
    are; a subject is, if its clarity is below half of those ("woman").

    Nothing is generic where prompts are too few to tell, fewer than `MIN_PROMPTS`.
    """
    sources = [some for some in table.by_source if some.shape[0] >= MIN_PROMPTS]
    generic = np.zeros(len(vectors), bool)
    if not sources:
        return generic
    shares = table.shares
    typical, background = np.median(shares, axis=0), shares.mean(axis=0)
    specific = np.isin(kinds.codes, [1 + KINDS.index(kind) for kind in SPECIFIC_KINDS])
    common = np.flatnonzero(vectors.answerable & ~specific & (typical >= USED_EVERYWHERE))
    company = np.setdiff1d(
        np.flatnonzero((background >= COMPANY[0]) & (background < COMPANY[1])), common
    )
    score = _clarity(sources, common, company) + ALLOWANCE * np.log(typical[common])
    subject = kinds.codes[common] == 1 + KINDS.index("subject")
    chosen = np.sort(score[~subject])[:GENERIC]
    if len(chosen):
        generic[common[~subject & (score <= chosen[-1])]] = True
        generic[common[subject & (score < np.median(chosen))]] = True
    return generic


def _clarity(
    sources: list[Any], words: NDArray[np.int64], company: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How far each word's company is from everybody's, in bits: float64 (len(words),).

    Args:
        sources: `PromptTable.by_source`.
        words: positions of the words that are measured.
        company: positions of the words that are counted beside them.
    """
    total, weight = np.zeros(len(words)), np.zeros(len(words))
    for held in sources:
        beside = held[:, company]
        all_uses = np.asarray(beside.sum(axis=0)).ravel()
        if not all_uses.any():
            continue
        everybody = all_uses / all_uses.sum()
        counts = (held[:, words].T @ beside).toarray()  # (words, company)
        uses = counts.sum(axis=1) + PRIOR_COMPANY
        share = (counts + PRIOR_COMPANY * everybody) / uses[:, None]
        ratio = np.divide(share, everybody, out=np.ones_like(share), where=everybody > 0)
        bits = (share * np.log2(np.maximum(ratio, 1e-12))).sum(axis=1)
        # What chance alone adds to the divergence of a sample (Miller 1955).
        bits -= (counts > 0).sum(axis=1) / (2 * np.log(2) * uses)
        known = np.minimum(np.asarray(held[:, words].sum(axis=0)).ravel(), MOST_USES)
        total += known * bits
        weight += known
    return total / np.maximum(weight, 1)


def word_pairs(
    table: PromptTable, vectors: WordVectors
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Ordered pairs of answerable words that belong together, "new york", the strongest first.

    Their strength is normalised pointwise mutual information (Bouma 2009) of standing side by side
    in a phrase, which is 1 for two words that are never apart: at least `PAIR_STRENGTH`, in at
    least `PAIR_USES` places, and `ORDER` times as often in this order as in the other.

    Returns:
        first int32 (P,), second int32 (P,) and strength float32 (P,).
    """
    size = len(vectors)
    known = table.words[table.words >= 0]
    uses = np.bincount(known, minlength=size)
    before, after = table.words[:-1].astype(np.int64), table.words[1:].astype(np.int64)
    both = (before >= 0) & (after >= 0) & (before != after)  # −1 parts prompts and phrases
    keys, counts = np.unique(before[both] * size + after[both], return_counts=True)
    first, second = keys // size, keys % size
    enough = (counts >= PAIR_USES) & vectors.answerable[first] & vectors.answerable[second]
    place = np.searchsorted(keys, second * size + first)
    place[place == len(keys)] = 0
    turned = np.where(keys[place] == second * size + first, counts[place], 0)
    enough &= counts >= ORDER * turned
    first, second, counts = first[enough], second[enough], counts[enough]
    together = counts / max(len(known), 1)
    chance = uses[first] / len(known) * (uses[second] / len(known))
    strength = np.log(together / chance) / -np.log(together)
    order = np.argsort(-strength, kind="stable")
    order = order[strength[order] >= PAIR_STRENGTH]
    return (
        first[order].astype(np.int32),
        second[order].astype(np.int32),
        strength[order].astype(np.float32),
    )
