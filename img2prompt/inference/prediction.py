"""`Prediction`: the answer to one picture, plain data."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.embedding.lexicon import join_pairs
from img2prompt.inference.gallery import SimilarPicture
from img2prompt.inference.hedging import Hedge


@dataclass(frozen=True)
class PredictedWord:
    """One answer.

    Attributes:
        word: in lower case, as in the vocabulary.
        score: cosine of `vector` and the word's own vector, in [−1, 1].
        confidence: share of validation answers with this ranking value that stood in the prompt,
            in [0, 1]; None where the model's decoder is not calibrated.
        vector: the predicted vector (D,) nearest to the word, as plain floats.
        step: the output step of the model that gave the vector, from 0.
        alternatives: the next nearest words of the same vector, (word, cosine), best first.
        generic: prompts of any picture use it (`Lexicon.generic`); it says little of this one.
    """

    word: str
    score: float
    confidence: float | None
    vector: tuple[float, ...]
    step: int
    alternatives: tuple[tuple[str, float], ...]
    generic: bool = False


@dataclass(frozen=True)
class Prediction:
    """The answer to one picture: plain data, the best word first.

    Attributes:
        preset: the model's name.
        words: none twice, by falling score; with a lexicon as the decoder ranks them, specific
            words first, then generic ones.
        vectors: float32 (steps, D), all predicted vectors.
        parents: the noun above the classes that the model's CNN is torn between; none where it is
            not, or where the model has no classes.
        similar: training pictures that resemble it, most alike first; empty unless asked for.
        pairs: words that belong together in this order ("new", "york"), the strongest pair first.
    """

    preset: str
    words: tuple[PredictedWord, ...]
    vectors: NDArray[np.float32]
    similar: tuple[SimilarPicture, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    parents: tuple[Hedge, ...] = ()

    @property
    def prompt(self) -> str:
        """The words as a prompt, pairs said together: "new york, portrait, oil painting"."""
        phrases = join_pairs([word.word for word in self.words], self.pairs)
        return ", ".join(" ".join(phrase) for phrase in phrases)

    def to_dict(self, vectors: bool = True) -> dict[str, Any]:
        """JSON-ready; without `vectors`, what the command line prints.

        `confidence` is left out where it is not known, `generic` where it is not true.
        """
        words = []
        for word in self.words:
            row = dataclasses.asdict(word)
            row["score"] = round(word.score, 4)
            if word.confidence is None:
                del row["confidence"]
            else:
                row["confidence"] = round(word.confidence, 4)
            row["alternatives"] = [[other, round(score, 4)] for other, score in word.alternatives]
            if not word.generic:
                del row["generic"]
            if not vectors:
                del row["vector"], row["step"]
            words.append(row)
        told: dict[str, Any] = {"preset": self.preset, "words": words}
        if self.parents:
            told["parents"] = [parent.to_dict() for parent in self.parents]
        if self.similar:
            told["similar"] = [picture.to_dict() for picture in self.similar]
        return told
