"""How similar two answers are: the words they share, and the cosine of their predicted vectors.

A model that uses the picture answers differently to different pictures; one whose vectors are near
the mean word answers nearly the same to all.
"""

from dataclasses import dataclass

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.inference.prediction import Prediction


@dataclass(frozen=True)
class Similarity:
    """What two predictions have in common.

    Attributes:
        words: in both answers, in the order of the first.
        share: their share of the answer's words, in [0, 1]. Over many pairs of pictures its mean
            is *overlap* in the evaluation (`metrics.answer_overlap`).
        cosine: of the two mean predicted vectors, in [−1, 1]; 0 where one has no direction.
    """

    words: tuple[str, ...]
    share: float
    cosine: float


def similarity(first: Prediction, second: Prediction) -> Similarity:
    """Compare two answers, of one preset or of two.

    The share is of the longer answer, so the order of the two does not change it.

    Raises:
        UserError: the predictions belong to embeddings of different dimensions.
    """
    if first.vectors.shape[1] != second.vectors.shape[1]:
        raise UserError("inference.two_embeddings")
    others = {word.word for word in second.words}
    words = tuple(word.word for word in first.words if word.word in others)
    longest = max(len(first.words), len(second.words))
    return Similarity(words, len(words) / longest if longest else 0.0, _mean_cosine(first, second))


def _mean_cosine(first: Prediction, second: Prediction) -> float:
    a, b = (np.asarray(p.vectors, dtype=np.float64).mean(axis=0) for p in (first, second))
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / lengths, -1.0, 1.0)) if lengths > 0 else 0.0
