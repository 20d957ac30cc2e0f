"""`Hedge`: where the CNN is torn between classes, the noun above them (bird, not seagull).

Deng et al. 2012, "Hedging your bets: optimizing accuracy-specificity trade-offs in large scale
visual recognition": of the nouns that are sure enough, the one that tells most.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.embedding.class_names import ClassName, read_class_names
from img2prompt.embedding.taxonomy import Taxonomy
from img2prompt.embedding.vectors import WordVectors

SURE = 0.8  # a class of this probability is no torn one
CHILDREN = 4  # of the classes below are named, each of at least this share of their sum
CHILD_SHARE = 0.1


@dataclass(frozen=True)
class Hedge:
    """A noun above the classes that a picture's CNN is torn between.

    Attributes:
        word: in lower case, as in the vocabulary.
        chance: share of pictures with such a sum below the noun whose prompt holds the noun or a
            word below it, in [0, 1].
        children: names of the likeliest classes below it, best first.
    """

    word: str
    chance: float
    children: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "word": self.word,
            "chance": round(self.chance, 4),
            "children": list(self.children),
        }


class Hedger:
    """Class probabilities → hedges.

    Args:
        taxonomy: the nouns above the classes.
        vectors: the vocabulary; the words that it hides are neither offered nor named.
        classes: their names; unset, ImageNet's.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        vectors: WordVectors,
        classes: list[ClassName] | None = None,
    ) -> None:
        shown = vectors.shown[taxonomy.words]
        self.taxonomy = dataclasses.replace(
            taxonomy,
            words=taxonomy.words[shown],
            members=taxonomy.members[shown],
            offsets=taxonomy.offsets[shown],
        )
        self._words = [vectors.words[position] for position in self.taxonomy.words]
        self._classes = classes if classes is not None else read_class_names()
        self._named = [vectors.hidden.isdisjoint(row.words) for row in self._classes]

    def fits(self, classes: int) -> bool:
        """Whether a classifier of so many classes is the one that the nouns stand above."""
        return classes == self.taxonomy.members.shape[1] == len(self._classes)

    def __call__(self, probabilities: NDArray[np.floating]) -> list[tuple[Hedge, ...]]:
        """The hedge of each picture, one or none.

        Args:
            probabilities: (n, C), of the classes that the taxonomy stands above.
        """
        chances = self.taxonomy.chances(self.taxonomy.sums(probabilities))
        chosen = best_nouns(self.taxonomy, probabilities, chances)
        return [
            () if noun < 0 else (self._hedge(int(noun), row, float(chance[noun])),)
            for noun, row, chance in zip(chosen, probabilities, chances, strict=True)
        ]

    def _hedge(self, noun: int, probabilities: NDArray[np.floating], chance: float) -> Hedge:
        below = np.where(self.taxonomy.members[noun], probabilities, 0.0)
        order = np.argsort(-below, kind="stable")[:CHILDREN]
        least = CHILD_SHARE * below.sum()
        named = [number for number in order if below[number] >= least and self._named[number]]
        children = tuple(self._classes[number].name for number in named)
        return Hedge(self._words[noun], chance, children)


def best_nouns(
    taxonomy: Taxonomy, probabilities: NDArray[np.floating], chances: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Of the nouns whose chance reaches the threshold the one that tells most: int64 (n,).

    −1 where none does, or where one class is sure. Of two that tell as much, the likelier.

    Args:
        taxonomy: M nouns above C classes.
        probabilities: (n, C), of the classes.
        chances: (n, M), as `Taxonomy.chances` gives them.
    """
    if not len(taxonomy.words):
        return np.full(len(chances), -1)
    torn = probabilities.max(axis=1) < SURE
    # A chance decides only between nouns whose bits differ by less than a hundredth.
    worth = np.where(chances >= taxonomy.threshold, taxonomy.information + 0.01 * chances, -1.0)
    best = worth.argmax(axis=1)
    found = torn & (worth.max(axis=1) >= 0)
    return np.where(found, best, -1)
