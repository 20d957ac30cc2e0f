"""`Taxonomy`: everyday nouns above the ImageNet classes, up WordNet's tree.

A CNN torn between a seagull and an albatross is sure of a bird. Class probabilities summed up the
tree say so (Deng et al. 2012, "Hedging your bets"); this is the tree, with the nouns that nobody
writes in a prompt left out.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import TEXT, ArrayFile, Form
from img2prompt.embedding.class_names import ClassName, read_class_names
from img2prompt.embedding.vectors import OfEmbedding, WordVectors

TAXONOMY_FILE = "taxonomy.npz"
# WordNet 3.0 (Princeton University), what of its nouns lies around the classes; its head tells the
# form of a line. Written by scripts/dev/extract_nouns.py.
NOUNS_FILE = Path(__file__).with_name("wordnet_nouns.txt")

# A noun is an answer where it is an everyday word ("bird", not "placental"): the embedding's
# prompts use it this often, WordNet gives this sense of it first, and it stands for two classes at
# the least and for at most this share of them ("animal" for 398 of 1,000; "object" for 958).
MIN_USES = 70
MOST = 0.4
LARGEST = 1e6  # a number of `chances`; a fitted slope is below 10
# Frequent, but they tell what a thing is for or made of, not what is seen.
NOT_SEEN = frozenset(
    "device container structure equipment system solid liquid fluid part piece stick transport "
    "instrument substance material".split()
)

_FILE = ArrayFile(
    "embedding.kind_taxonomy",
    "scripts/build_taxonomy.py",
    {
        "words": Form("i", (None,)),
        "members": Form("b", (None, None)),
        "slope": Form("f", ()),
        "offsets": Form("f", (None,)),
        "threshold": Form("f", ()),
        "embedding": TEXT,
    },
)


@dataclass(frozen=True)
class Taxonomy(OfEmbedding):
    """M nouns above C classes, and how far the classifier is to be believed about each.

    Attributes:
        words: int32 (M,), positions in the vocabulary.
        members: bool (M, C), the classes below each noun.
        slope, offsets: float32 () and (M,), of `chances`.
        threshold: float32 (), the chance from which a noun is offered.
        embedding: `WordVectors.fingerprint` of the vocabulary.
    """

    FILE = _FILE
    COMPRESSED = True

    words: NDArray[np.int32]
    members: NDArray[np.bool_]
    slope: NDArray[np.float32]
    offsets: NDArray[np.float32]
    threshold: NDArray[np.float32]
    embedding: str

    def sums(self, probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
        """Class probabilities (n, C) → the sum below each noun, float32 (n, M)."""
        return np.asarray(probabilities, np.float32) @ self.members.T.astype(np.float32)

    def chances(self, sums: NDArray[np.floating]) -> NDArray[np.float32]:
        """What `sums` gave → the share of such pictures whose prompt holds the noun: (n, M).

        The noun or a word below it. 1 / (1 + exp(-(slope · log-odds of the sum + offset))); not
        fitted, slope 1 and offset 0, it is the sum.
        """
        shifted = np.clip(self.slope * log_odds(sums) + self.offsets, -80.0, 80.0)
        return (1.0 / (1.0 + np.exp(-shifted))).astype(np.float32)

    @property
    def information(self) -> NDArray[np.float64]:
        """Bits that each noun tells of the class, float64 (M,): log2 of classes over those left."""
        return np.log2(self.members.shape[1] / self.members.sum(axis=1))

    def _is_sound(self, vectors: WordVectors) -> bool:
        """Whether the arrays fit one another and the embedding."""
        numbers = (self.slope, self.offsets, self.threshold)
        return (
            len(self.words) == len(self.members) == len(self.offsets)
            and len(np.unique(self.words)) == len(self.words)
            and bool(((self.words >= 0) & (self.words < len(vectors))).all())
            and bool(self.members.any(axis=1).all())
            and all(bool((np.abs(array) <= LARGEST).all()) for array in numbers)
        )


def log_odds(shares: NDArray[np.floating]) -> NDArray[np.float32]:
    """log(p / (1 − p)) of shares in [0, 1], kept within those of 0.001 and 0.999."""
    kept = np.clip(np.asarray(shares, np.float32), 1e-3, 1.0 - 1e-3)
    return np.log(kept / (1.0 - kept))


@dataclass(frozen=True)
class Noun:
    """A synset of WordNet.

    Attributes:
        above: the synsets that it is a kind of.
        names: its names that are single words and mean this first.
        words: such names of those below it that are not listed themselves.
    """

    above: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def read_nouns(path: str | os.PathLike[str] = NOUNS_FILE) -> dict[str, Noun]:
    """Synset ("n02084071") → `Noun`, of all classes of ImageNet and what is above them."""
    nouns = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            synset, above, names, words = line.split(";")
            kinds = tuple(f"n{each}" for each in above.split())
            nouns[f"n{synset}"] = Noun(kinds, tuple(names.split()), tuple(words.split()))
    return nouns


def build_taxonomy(
    vectors: WordVectors,
    classes: Sequence[ClassName] | None = None,
    nouns: Mapping[str, Noun] | None = None,
    min_uses: int = MIN_USES,
) -> tuple[Taxonomy, list[frozenset[str]]]:
    """The everyday nouns above the classes, the widest first.

    Args:
        vectors: the vocabulary.
        classes: with their synsets; unset, ImageNet's.
        nouns: unset, WordNet's.
        min_uses: of a noun in the embedding's prompts, at the least.

    Returns:
        the taxonomy, not fitted; and for each noun the words that bear it out where a prompt holds
        one: itself, what is below it in the tree, and their plurals.
    """
    classes = classes if classes is not None else read_class_names()
    nouns = nouns if nouns is not None else read_nouns()
    above = {synset: _above(synset, nouns) for synset in nouns}
    members: dict[str, list[int]] = {}
    for number, row in enumerate(classes):
        for synset in above[row.synset]:
            members.setdefault(synset, []).append(number)
    chosen = {}
    for synset, own in members.items():
        usual = [name for name in nouns[synset].names if _is_usual(name, vectors, min_uses)]
        if usual and 1 < len(own) <= MOST * len(classes):
            chosen[synset] = usual[0]
    order = sorted(chosen, key=lambda synset: (-len(members[synset]), synset))
    table = np.zeros((len(order), len(classes)), bool)
    for below, synset in zip(table, order, strict=True):
        below[members[synset]] = True
    words = vectors.positions(chosen[synset] for synset in order).astype(np.int32)
    plain = np.zeros(len(order), np.float32)
    one, half = np.array(1, np.float32), np.array(0.5, np.float32)
    taxonomy = Taxonomy(words, table, one, plain, half, vectors.fingerprint)
    heads = {row.synset: row.head for row in classes if row.head is not None}
    return taxonomy, [_evidence(synset, nouns, above, heads) for synset in order]


def _is_usual(name: str, vectors: WordVectors, min_uses: int) -> bool:
    if name in NOT_SEEN or name not in vectors:
        return False
    position = vectors.index[name]
    return bool(vectors.answerable[position] and vectors.counts[position] >= min_uses)


def _above(synset: str, nouns: Mapping[str, Noun]) -> frozenset[str]:
    """All synsets above one."""
    found: set[str] = set()
    todo = list(nouns[synset].above)
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += nouns[each].above
    return frozenset(found)


def _evidence(
    synset: str,
    nouns: Mapping[str, Noun],
    above: Mapping[str, frozenset[str]],
    heads: Mapping[str, str],
) -> frozenset[str]:
    """Words that bear a noun out: its names and those below, none of which is said above it too."""
    words: set[str] = set()
    for each, noun in nouns.items():
        if each == synset or synset in above[each]:
            words.update(noun.names, noun.words)
            if each in heads:
                words.add(heads[each])
    # "german shepherd dog" is a sheepdog, but a dog is not.
    wider = {name for each in above[synset] for name in nouns[each].names}
    return frozenset(_with_plurals(words - wider))


def _with_plurals(words: Iterable[str]) -> set[str]:
    forms = set()
    for word in words:
        forms |= {word, f"{word}s", f"{word}es"}
        if word.endswith("y"):
            forms.add(f"{word[:-1]}ies")
    return forms
