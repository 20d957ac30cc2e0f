"""From evidence for every word to the words of an answer, in their order.

The words with most evidence answer. Of two forms of one word the better one does. A generic word
("detailed"), which prompts of any picture use, has to be likelier for this picture than for any,
and comes after the words that are specific to the picture.
"""

import numpy as np
from numpy.typing import NDArray

from img2prompt.embedding.lexicon import Lexicon
from img2prompt.embedding.vectors import WordVectors, top_k

# How many times as likely as in any prompt a generic word has to be to answer.
MARGIN = 1.25
_LAST = np.float32(1e6)  # taken from the evidence of words that answer only if no other is left


def generic_floor(lexicon: Lexicon) -> NDArray[np.float32]:
    """The probability from which a generic word answers: float32 (V,)."""
    return np.float32(MARGIN) * lexicon.base_rate


def rank_words(
    evidence: NDArray[np.float32],
    k: int,
    vectors: WordVectors,
    lexicon: Lexicon | None = None,
    floor: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The words that answer for each picture.

    Only content words that are not rare can be an answer (`WordVectors.answerable`): stop words
    are near every prompt, and among rare words most are misspellings.

    Args:
        evidence: float32 (n, V), for each word; more is better. Probabilities, cosines, or what
            else grows with how sure one is.
        k: how many words; fewer come if the vocabulary has fewer.
        vectors: the embedding.
        lexicon: which words are generic, and which are forms of one word; unset, neither is known.
        floor: float32 (V,), the least evidence with which a generic word answers: `generic_floor`
            where evidence is a probability; unset, generic words answer as others do.

    Returns:
        positions int64 (n, k) and their evidence float32 (n, k): specific words first, then generic
        ones, best first in each. At most one form of a word.
    """
    answerable = vectors.answerable
    order = np.where(answerable, evidence, -np.inf)
    if lexicon is None:
        return top_k(order, min(k, int(answerable.sum())))
    generic = np.flatnonzero(lexicon.generic & answerable)
    if floor is not None:
        order[:, generic] -= _LAST * (order[:, generic] < floor[generic])
    _, forms = np.unique(lexicon.lemma[answerable], return_counts=True)
    k = min(k, len(forms))
    best, _ = top_k(order, min(k * int(forms.max()), int(answerable.sum())))
    chosen = np.stack([_each_word_once(row, lexicon.lemma, k) for row in best])
    last = np.argsort(lexicon.generic[chosen], axis=1, kind="stable")
    chosen = np.take_along_axis(chosen, last, axis=1)
    return chosen, np.take_along_axis(evidence, chosen, axis=1)


def _each_word_once(
    positions: NDArray[np.int64], lemma: NDArray[np.int32], k: int
) -> NDArray[np.int64]:
    """The first k of some positions that are forms of different words."""
    _, first = np.unique(lemma[positions], return_index=True)
    return positions[np.sort(first)[:k]]
