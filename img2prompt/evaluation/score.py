"""The score of one answer against the true prompt of its picture, by the measures of `metrics.py`.

A model's words and a person's typed ones go through the same function.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.block_list import mask
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import metrics
from img2prompt.inference.export import Truth
from img2prompt.inference.prediction import Prediction


@dataclass(frozen=True)
class Score:
    """How well some words match a prompt.

    Attributes:
        found: words said that stand in the prompt, in the order said.
        invented: words said that don't, in the order said.
        missed: true words not said, in the prompt's order.
        unknown: content words of the prompt that the vocabulary lacks, in the prompt's order. No
            model can say them: they count neither for nor against anybody.
        precision: share of the words said that are true, in [0, 1]; 0 where nothing was said.
        recall: share of the true words that were said, in [0, 1].
        f1: 2 · found / (said + true words), in [0, 1].
        soft_recall: mean over the true words of the best cosine to a word said; 0 where the
            vocabulary knows none of them.
        cosine_per_word: the same to a predicted vector; words without a model have their own.
    """

    found: tuple[str, ...]
    invented: tuple[str, ...]
    missed: tuple[str, ...]
    unknown: tuple[str, ...]
    precision: float
    recall: float
    f1: float
    soft_recall: float
    cosine_per_word: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, figures rounded to four decimals."""
        row = dataclasses.asdict(self)
        return {
            name: round(value, 4) if isinstance(value, float) else list(value)
            for name, value in row.items()
        }


def score_words(
    words: Sequence[str],
    prompt: str,
    vectors: WordVectors,
    predicted: NDArray[np.float32] | None = None,
) -> Score:
    """Score words, a model's or a person's, against the true prompt of one picture.

    Args:
        words: what was said; case, symbols, stop words and repetitions don't count.
        prompt: the true prompt.
        vectors: the embedding whose vocabulary counts.
        predicted: float32 (steps, D), the vectors that a model's words came from.

    Raises:
        UserError: the prompt holds no content word that the vocabulary knows.
    """
    content = text.content_words(prompt)
    true = vectors.prompt_positions(prompt)
    if not len(true):
        raise UserError("evaluation.no_known_word")
    unknown = [word for word in content if word not in vectors]
    spoken = text.content_words("\n".join(words))
    said = [word for word in spoken if word not in unknown]
    # -1 is no word's position: a word that the vocabulary lacks counts as said and never hits.
    positions = np.array([[vectors.index.get(word, -1) for word in said]], np.int64)  # (1, k)
    hits = metrics.is_hit(positions, [true])[0]
    known = positions[:, positions[0] >= 0]
    soft = cosine = 0.0
    if predicted is None:
        predicted = vectors.vectors[known[0]]
    answers = metrics.Answers("said", known, np.asarray(predicted)[None])
    if known.size:
        soft = float(metrics.soft_recall(answers, [true], vectors)[0])
    if answers.vectors.size:
        cosine = float(metrics.cosine_per_word(answers, [true], vectors)[0])
    return Score(
        found=tuple(word for word, hit in zip(said, hits, strict=True) if hit),
        invented=tuple(word for word, hit in zip(said, hits, strict=True) if not hit),
        missed=tuple(word for word in content if word in vectors and word not in said),
        unknown=tuple(unknown),
        precision=float(hits.sum() / max(len(said), 1)),
        recall=float(hits.sum() / len(true)),
        f1=float(metrics.f1_scores(positions, [true])[0]),
        soft_recall=soft,
        cosine_per_word=cosine,
    )


def compare(
    prediction: Prediction, prompt: str, vectors: WordVectors, hidden: frozenset[str] = frozenset()
) -> Truth:
    """How an answer compares to the true prompt of its picture, for `inference.batch.Run`.

    Args:
        prediction: the answer.
        prompt: the true prompt.
        vectors: the model's embedding.
        hidden: words to mask in what is shown.
    """
    shown = mask(prompt, hidden)
    words = [word.word for word in prediction.words]
    try:
        score = score_words(words, prompt, vectors, prediction.vectors)
    except UserError:  # no word of it is known
        return Truth(shown)
    found = tuple(word for word in score.found if word not in hidden)
    return Truth(shown, found, len(score.found) + len(score.missed), score.f1)
