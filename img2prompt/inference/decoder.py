"""`Decoder`: predicted vectors → ranked words and their confidences.

Words are ranked by the cosine to the nearest predicted vector plus a small bonus for words that
prompts use often (log-prior correction). The confidence of a ranking value is the share of such
words on validation pictures that stood in the prompt.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import TEXT, ArrayFile, Form, load_arrays, save_arrays
from img2prompt.core.errors import UserError
from img2prompt.embedding.lexicon import Lexicon
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.ranking import rank_words

DECODER_SUFFIX = ".decoder.npz"  # `gaze.decoder.npz` lies beside `gaze.keras`
DECODER_PROVENANCE = "model.decoder.made.json"  # in a run's folder, of one fitted anew
_FILE = ArrayFile(
    "inference.kind_decoder",
    "scripts/fit_decoder.py",
    {
        "prior": Form("f", (None,)),
        "knots": Form("f", (None,)),
        "confidences": Form("f", (None,)),
        "embedding": TEXT,
        "model": TEXT._replace(optional=True),
    },
)
RARE = 1e-5  # added to shares before the logarithm: a word no prompt holds gets no −∞


@dataclass(frozen=True)
class Decoder:
    """Ranks words by the vectors of one model.

    Attributes:
        vectors: the embedding.
        prior: float32 (V,), added to each word's cosine for the ranking; 0: by cosine alone.
        knots: float32 (n,), rising ranking values.
        confidences: float32 (n,) in [0, 1], not falling: the confidence at each knot, linear in
            between. Both empty where the decoder is not calibrated.
        lexicon: which words are generic and which belong together; None: nothing is known of it.
    """

    vectors: WordVectors
    prior: NDArray[np.float32]
    knots: NDArray[np.float32]
    confidences: NDArray[np.float32]
    lexicon: Lexicon | None = None

    @classmethod
    def plain(cls, vectors: WordVectors) -> "Decoder":
        """By cosine alone, without confidences."""
        nothing = np.zeros(0, np.float32)
        return cls(vectors, np.zeros(len(vectors), np.float32), nothing, nothing)

    @property
    def calibrated(self) -> bool:
        """Whether `confidence` has an answer."""
        return len(self.knots) > 0

    def rank(
        self, cosines: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The words that answer for each picture, see `ranking.rank_words`.

        Args:
            cosines: float32 (n, V), of each word to the nearest of a picture's vectors.
            k: how many; fewer come if the vocabulary has fewer answerable words.

        Returns:
            positions int64 (n, k) and ranking values float32 (n, k), in their order.
        """
        # No floor: the confidence is that of a ranking value, the same for all words, and says
        # nothing of a word's own base rate.
        return rank_words(cosines + self.prior, k, self.vectors, self.lexicon)

    def rank_vectors(
        self, predicted: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `rank`, from predicted vectors (n, steps, D), a block of pictures at a time."""
        blocks = [predicted[start : start + 64] for start in range(0, len(predicted), 64)]
        found = [self.rank(nearest_cosines(block, self.vectors), k) for block in blocks]
        if not found:
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        words, values = zip(*found, strict=True)
        return np.concatenate(words), np.concatenate(values)

    def confidence(self, values: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Ranking values → confidences of the same shape, in [0, 1]; None if not calibrated."""
        return np.interp(values, self.knots, self.confidences) if self.calibrated else None

    def calibrate(self, values: NDArray[np.float32], hits: NDArray[np.bool_]) -> "Decoder":
        """A decoder whose confidences are fitted to answers of validation pictures.

        Isotonic regression (Zadrozny & Elkan 2002): a higher value never means a lower
        confidence, and nothing else is assumed.

        Args:
            values: ranking values (m,) of shown words.
            hits: bool (m,), whether the prompt held the word.
        """
        from sklearn.isotonic import IsotonicRegression

        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        fit.fit(values.astype(np.float64), hits.astype(np.float64))
        return dataclasses.replace(
            self,
            knots=np.asarray(fit.X_thresholds_, np.float32),
            confidences=np.asarray(fit.y_thresholds_, np.float32),
        )

    def save(self, path: str | os.PathLike[str], model: str | None = None) -> None:
        """Write an `.npz`, atomically; the prior in half precision.

        Args:
            model: SHA-256 of the `.keras` file that the decoder was fitted to, 64 hexadecimal
                digits; unset, the file names none, and no model is loaded with it.
        """
        arrays = {
            "prior": self.prior.astype(np.float16),
            "knots": self.knots,
            "confidences": self.confidences,
            "embedding": self.vectors.fingerprint,
        }
        save_arrays(path, _FILE, arrays if model is None else arrays | {"model": model})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], vectors: WordVectors, model: str | None = None
    ) -> "Decoder":
        """Read what `save` wrote.

        Args:
            path: the file.
            vectors: the embedding that its words lie in.
            model: SHA-256 of the model that it must belong to; unset, any.

        Raises:
            UserError: damaged, of another embedding, or not of that model.
        """
        path = Path(path)
        arrays = load_arrays(path, _FILE, vectors.fingerprint)
        prior, knots, confidences = (
            arrays[name].astype(np.float32) for name in ("prior", "knots", "confidences")
        )
        if prior.shape != (len(vectors),):
            raise _FILE.error("core.other_embedding", path)
        if model is not None:
            _check_model(path, arrays.get("model"), model)
        finite = all(np.isfinite(array).all() for array in (prior, knots, confidences))
        # np.interp answers nonsense, and says nothing, where knots fall.
        rising = all((np.diff(array) >= 0).all() for array in (knots, confidences))
        shares = bool(((confidences >= 0) & (confidences <= 1)).all())
        if knots.shape != confidences.shape or not (finite and rising and shares):
            raise _FILE.unfit(path, UserError("core.uneven"))
        return cls(vectors, prior, knots, confidences)

    @staticmethod
    def model_of(path: str | os.PathLike[str]) -> str | None:
        """The SHA-256 of the model that a decoder's file names; None where it names none.

        Raises:
            UserError: damaged.
        """
        return load_arrays(path, _FILE).get("model")


def _check_model(path: Path, told: str | None, model: str) -> None:
    if told is None:
        raise UserError("inference.unbound_decoder", path=path)
    if told != model:
        raise UserError("inference.decoder_of_another_model", path=path)


def prior_of_background(background: NDArray[np.floating], weight: float) -> NDArray[np.float32]:
    """weight · log share, shifted so that the commonest word gets 0: float32 (V,), ≤ 0.

    Args:
        background: share of prompts that hold each word (V,), `ClassWords.background`.
        weight: how much a tenfold share is worth, in units of cosine / ln 10.
    """
    prior = weight * np.log(background + RARE)
    return np.asarray(prior - prior.max(), np.float32)


def nearest_cosines(predicted: NDArray[np.float32], vectors: WordVectors) -> NDArray[np.float32]:
    """Predicted vectors (n, steps, D) → cosine of each word to the nearest of them, (n, V)."""
    scores = vectors.similarities(predicted.reshape(-1, predicted.shape[-1]))
    best: NDArray[np.float32] = scores.reshape(len(predicted), -1, len(vectors)).max(axis=1)
    return best
