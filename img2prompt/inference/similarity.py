"""How alike two answers are: the words they share, and the angle between what the model said.

A model that looks at the picture answers differently to different pictures; one that was pulled
to the mean word says nearly the same to all.
"""

from dataclasses import dataclass

import numpy as np

from img2prompt.core.errors import UserError
from img2prompt.inference.predictor import Prediction


@dataclass(frozen=True)
class Likeness:
    """What two predictions have in common.

    Attributes:
        words: in both answers, in the order of the first.
        share: their share of the answer's words, in [0, 1]. Over many pairs of pictures its mean
            is the column *alike* of the evaluation (`evaluation.mean_overlap`).
        cosine: of the two mean predicted vectors, in [−1, 1]; 0 where one has no direction.
    """

    words: tuple[str, ...]
    share: float
    cosine: float


def likeness(first: Prediction, second: Prediction) -> Likeness:
    """Compare two answers, of one preset or of two.

    Of answers with different numbers of words the longer one counts, so the order of the two does
    not change the figures.

    Raises:
        UserError: the predictions live in different embeddings' spaces.
    """
    if first.vectors.shape[1] != second.vectors.shape[1]:
        raise UserError("These answers are of two embeddings; compare answers of one.")
    others = {word.word for word in second.words}
    words = tuple(word.word for word in first.words if word.word in others)
    longest = max(len(first.words), len(second.words))
    return Likeness(words, len(words) / longest if longest else 0.0, _mean_cosine(first, second))


def _mean_cosine(first: Prediction, second: Prediction) -> float:
    a, b = (np.asarray(p.vectors, dtype=np.float64).mean(axis=0) for p in (first, second))
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / lengths, -1.0, 1.0)) if lengths > 0 else 0.0
