"""How far summed class probabilities are to be believed: a `Taxonomy` fitted to pairs.

The classifier never saw the pairs, so those of the training split count too; those of the test
split don't. A source of n pictures weighs √n, or the largest would speak for all.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.shards import ShardIndex, read_shards, settings_of
from img2prompt.data.splits import hash64
from img2prompt.embedding.class_names import ClassName, NamedClasses, read_class_names
from img2prompt.embedding.taxonomy import Taxonomy, build_taxonomy, log_odds
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.hedging import best_nouns
from img2prompt.models import gaze
from img2prompt.models.backbones import load_classifier
from img2prompt.models.features import cache_features, float_feature_reader
from img2prompt.models.tower import class_probabilities

RIGHT = 0.6  # share of the hedges offered that are to be right, on sources left out in turn
FOLDS = 8  # the sources are left out in so many groups
# A source whose prompts hardly name things ("style of ARTIST") cannot tell what is right.
NAMING, MIN_PICTURES = 0.2, 100
LEAST = 0.05  # a sum below it is evidence of nothing
# Strong, because most nouns are seen in few pictures: they go by how often prompts hold them.
REGULARISATION = 0.03
THRESHOLDS = np.arange(0.3, 0.96, 0.01)
BINS = 10  # of the expected calibration error
BLOCK = 1_024  # pictures


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pictures as the classifier sees them, and what their prompts say.

    Attributes:
        probabilities: float32 (n, C), of the classes.
        borne_out: bool (n, M), whether the prompt holds each noun or a word below it.
        weights: float64 (n,); 0 where a source's prompts hardly name anything.
        folds: int (n,), in which a picture's source is left out.
    """

    probabilities: NDArray[np.float32]
    borne_out: NDArray[np.bool_]
    weights: NDArray[np.float64]
    folds: NDArray[np.int64]

    def take(self, kept: NDArray[np.bool_]) -> "Pairs":
        """Some of the pictures."""
        return Pairs(
            self.probabilities[kept], self.borne_out[kept], self.weights[kept], self.folds[kept]
        )


def make_taxonomy(
    folders: Sequence[str | os.PathLike[str]], vectors: WordVectors, backbone: str
) -> tuple[Taxonomy, dict[str, float]]:
    """The taxonomy of ImageNet's classes, fitted to prepared pictures; and `fit`'s figures.

    Args:
        folders: prepared folders; features that are not cached yet are computed.
        vectors: the vocabulary.
        backbone: whose classifier looks.

    Raises:
        UserError: bad folders, no pictures that count, or a backbone without a classifier.
    """
    pictures = read_shards(folders)
    counted = np.flatnonzero(~pictures.in_split("test"))
    if not len(counted):
        raise UserError("training.no_pictures")
    probabilities = _probabilities(pictures, counted, backbone)
    taxonomy, evidence = build_taxonomy(vectors)
    texts = pictures.texts(counted)
    prompts = texts.prompts
    pairs = pairs_of(probabilities, prompts, texts.sources, evidence)
    fitted, figures = fit(taxonomy, pairs)
    figures["class_right"] = _class_right(fitted, pairs, read_class_names(), prompts)
    return fitted, figures


def pairs_of(
    probabilities: NDArray[np.float32],
    prompts: Sequence[str],
    sources: Sequence[str],
    evidence: Sequence[frozenset[str]],
) -> Pairs:
    """What `fit` takes.

    Args:
        probabilities: (n, C).
        prompts, sources: of the n pictures.
        evidence: of the M nouns, as `build_taxonomy` gives it.
    """
    nouns: dict[str, list[int]] = {}
    for number, words in enumerate(evidence):
        for word in words:
            nouns.setdefault(word, []).append(number)
    borne_out = np.zeros((len(prompts), len(evidence)), bool)
    for row, prompt in zip(borne_out, prompts, strict=True):
        for word in set(text.words(prompt)):
            row[nouns.get(word, [])] = True
    _, source, count = np.unique(np.array(sources), return_inverse=True, return_counts=True)
    folds = np.array([hash64(name) % FOLDS for name in sources])
    weights = 1.0 / np.sqrt(count.astype(np.float64))
    naming = np.bincount(source, borne_out.any(axis=1)) / count
    silent = (count >= MIN_PICTURES) & (naming < NAMING)
    weights = np.where(silent & ~silent.all(), 0.0, weights)[source]
    return Pairs(probabilities, borne_out, weights, folds)


def fit(taxonomy: Taxonomy, pairs: Pairs) -> tuple[Taxonomy, dict[str, float]]:
    """Fit the chances, and the threshold from which a noun is offered.

    The threshold is the least at which `RIGHT` of the nouns offered are right, on sources that the
    chances were not fitted to.

    Returns:
        the taxonomy, and figures of such sources, shares of weighted pictures: `offered` a noun,
        of these `right`, their mean `chance`, the expected `calibration_error`, and `threshold`.
    """
    chances = np.zeros(pairs.borne_out.shape, np.float32)
    sums = taxonomy.sums(pairs.probabilities)
    for fold in np.unique(pairs.folds):
        out = pairs.folds == fold
        if not out.all():
            chances[out] = _fitted(taxonomy, pairs.take(~out)).chances(sums[out])
    # Of several nouns the one whose chance is overrated is taken too often.
    shift = _overrated(taxonomy, pairs, chances)
    chances = _moved(chances, shift)
    fitted, figures = _fitted(taxonomy, pairs), {}
    fitted = dataclasses.replace(fitted, offsets=fitted.offsets + shift)
    for threshold in THRESHOLDS:
        fitted = dataclasses.replace(fitted, threshold=np.array(threshold, np.float32))
        best = best_nouns(fitted, pairs.probabilities, chances)
        said = _counted(best, pairs)
        chance, right = chances[said, best[said]], pairs.borne_out[said, best[said]]
        figures = _figures(chance, right, pairs.weights[said])
        figures |= {
            "threshold": float(threshold),
            "offered": float(pairs.weights[said].sum() / pairs.weights.sum()),
        }
        if figures["right"] >= RIGHT:
            break
    return fitted, figures


def _fitted(taxonomy: Taxonomy, pairs: Pairs) -> Taxonomy:
    """A logistic regression of the sum's log-odds, with an offset for each noun.

    The offset is drawn to one that goes by the share of prompts that bear the noun out.
    """
    from sklearn.linear_model import LogisticRegression

    sums = taxonomy.sums(pairs.probabilities)
    picture, noun = np.nonzero(sums >= LEAST)
    right, weights = pairs.borne_out[picture, noun], pairs.weights[picture]
    if right.all() or not right.any() or not weights.any():
        return taxonomy
    share = log_odds(np.average(pairs.borne_out, axis=0, weights=pairs.weights))
    shape = (len(picture), 2 + len(share))
    columns = np.zeros(shape, np.float32)
    columns[:, 0], columns[:, 1] = log_odds(sums[picture, noun]), share[noun]
    columns[np.arange(len(picture)), 2 + noun] = 1.0
    model = LogisticRegression(C=REGULARISATION, solver="newton-cholesky")
    model.fit(columns, right, sample_weight=weights / weights.mean())
    (slope, of_share, *own), (intercept,) = model.coef_[0], model.intercept_
    offsets = intercept + of_share * share + np.array(own)
    return dataclasses.replace(
        taxonomy, slope=np.array(slope, np.float32), offsets=offsets.astype(np.float32)
    )


def _overrated(taxonomy: Taxonomy, pairs: Pairs, chances: NDArray[np.float32]) -> np.float32:
    """What to add to the log-odds of chances, so that those taken are right as often as they say.

    Of the nouns taken at a chance of one half; 0 where there are none.
    """
    half = dataclasses.replace(taxonomy, threshold=np.array(0.5, np.float32))
    best = best_nouns(half, pairs.probabilities, chances)
    said = _counted(best, pairs)
    if not len(said):
        return np.float32(0)
    weights = pairs.weights[said]
    right = np.average(pairs.borne_out[said, best[said]], weights=weights)
    low, high = -5.0, 5.0
    for _ in range(30):  # halved to a billionth
        middle = (low + high) / 2
        moved = _moved(chances[said, best[said]], np.float32(middle))
        low, high = (middle, high) if np.average(moved, weights=weights) < right else (low, middle)
    return np.float32(middle)


def _counted(best: NDArray[np.int64], pairs: Pairs) -> NDArray[np.int64]:
    """Which pictures that count are offered a noun, of what `best_nouns` gave."""
    return np.flatnonzero((best >= 0) & (pairs.weights > 0))


def _moved(chances: NDArray[np.float32], shift: np.float32) -> NDArray[np.float32]:
    return (1.0 / (1.0 + np.exp(-(log_odds(chances) + shift)))).astype(np.float32)


def _figures(
    chance: NDArray[np.float32], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[str, float]:
    if not len(chance):
        return {"right": 0.0, "chance": 0.0, "calibration_error": 0.0}
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights * (right - chance), BINS)
    return {
        "right": float(np.average(right, weights=weights)),
        "chance": float(np.average(chance, weights=weights)),
        "calibration_error": float(np.abs(gaps).sum() / weights.sum()),
    }


def _probabilities(
    pictures: ShardIndex, counted: NDArray[np.integer], backbone: str
) -> NDArray[np.float32]:
    """Class probabilities (n, C) of the prepared pictures at n positions."""
    classifier = load_classifier(backbone)
    if classifier is None:
        raise UserError("training.no_class_probabilities", backbone=backbone)
    side = settings_of(pictures.folders[0]).size
    cache_features(gaze.build_tower(backbone, side), backbone, pictures.places())
    read = float_feature_reader(pictures, backbone)
    kernel, bias = gaze.tempered(classifier)
    blocks = [
        class_probabilities(read(counted[at : at + BLOCK]), kernel, bias)
        for at in range(0, len(counted), BLOCK)
    ]
    return np.concatenate(blocks).astype(np.float32)


def _class_right(
    taxonomy: Taxonomy, pairs: Pairs, names: Sequence[ClassName], prompts: Sequence[str]
) -> float:
    """Of pictures offered a noun, those whose prompt names the likeliest class instead.

    By its head noun or its whole name, not by its kind.
    """
    bare = NamedClasses(dataclasses.replace(name, kind="") for name in names)
    chances = taxonomy.chances(taxonomy.sums(pairs.probabilities))
    said = _counted(best_nouns(taxonomy, pairs.probabilities, chances), pairs)
    if not len(said):
        return 0.0
    likeliest = pairs.probabilities[said].argmax(axis=1)
    right = [
        int(number) in dict(bare.named(prompts[int(at)]))
        for at, number in zip(said, likeliest, strict=True)
    ]
    return float(np.average(right, weights=pairs.weights[said]))
